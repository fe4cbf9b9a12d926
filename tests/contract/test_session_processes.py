"""Sessions in real processes: by hand, under milabench's variables, killed, forked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from benchmate.wire import read_steps

CONFIG = {"name": "a", "voir": {"options": {"skip": 2, "stop": {"observations": 50, "seconds": 60}}}}


def argv(script: str) -> list[str]:
    source = "import os, sys, time\nfrom benchmate.session import Session, Stop, Target\n" + textwrap.dedent(script)
    return [sys.executable, "-c", source]


def environ(folder: Path | None, config: dict[str, Any] = CONFIG) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILABENCH")}
    if folder is None:
        return {**kept, "MILABENCH_ARCH": "cpu"}
    return {
        **kept,
        "MILABENCH_ARCH": "cpu",
        "MILABENCH_CONFIG": json.dumps(config),
        "MILABENCH_EVENTS": str(folder / "a.data"),
        "MILABENCH_STEPS": str(folder / "a.steps"),
    }


def run(script: str, folder: Path | None, config: dict[str, Any] = CONFIG) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv(script), env=environ(folder, config), capture_output=True, text=True, timeout=120, check=False
    )


def events(folder: Path) -> list[tuple[str, Any]]:
    lines = [json.loads(line) for line in (folder / "a.data").read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    return [(line["event"], line["data"]) for line in lines]


def test_by_hand_it_returns_and_prints_its_result() -> None:
    done = run(
        """
        result = Session(Target(infer=lambda: time.sleep(0.001), items=4), stop=Stop(observations=20)).run()
        print(result.n, result.stop["reason"], 0 < result.throughput.value < 4000)
        """,
        None,
    )
    assert (done.returncode, done.stdout) == (0, "20 observations True\n")
    assert done.stderr.startswith("infer: ")
    assert re.search(r"over 20 inferences\n  latency p50 \d+\.?\d* ms", done.stderr)
    assert "p99 too few" in done.stderr


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("Session(Target(infer=lambda: time.sleep(0.001)), stop=Stop(observations=20)).run()", "infer: "),
        (
            "from benchmate.observe import Observer\nfor _ in Observer().iterate([[0]] * 20): time.sleep(0.001)",
            "train: ",
        ),
    ],
)
def test_by_hand_a_torch_that_is_broken_is_nobodys_who_does_without(tmp_path: Path, script: str, said: str) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch.so: no such file')\n")
    source = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{script}"
    env = {name: value for name, value in environ(None).items() if name != "MILABENCH_ARCH"}
    done = subprocess.run(argv(source), env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(said)


def test_under_milabench_the_suite_ends_it_and_the_script_goes_on(tmp_path: Path) -> None:
    done = run(
        """
        result = Session(Target(infer=lambda: time.sleep(0.0005)), stop=Stop(observations=7)).run()
        print(result.warmup, result.n)
        """,
        tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 50\n", "")
    assert [event for event, _ in events(tmp_path)] == ["hello", "measured", "stop"]
    steps = read_steps(tmp_path / "a.steps")
    assert list(steps.columns["phase"]) == [0] * 2 + [1] * 50
    assert (tmp_path / "a.steps").stat().st_size == 64 + 52 * 40  # closed
    ends, starts = steps.columns["end"], steps.columns["start"]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_seconds_are_overshot_by_little(tmp_path: Path) -> None:
    config = {"name": "a", "voir": {"options": {"skip": 1, "stop": {"seconds": 0.3}}}}
    done = run("Session(Target(infer=lambda: time.sleep(0.002))).run()", tmp_path, config)
    assert done.returncode == 0
    assert events(tmp_path)[-1] == ("stop", {"reason": "seconds"})
    spent = sum(read_steps(tmp_path / "a.steps").work()[1])
    assert 0.25e9 < spent < 3e9  # on a busy machine one inference may take long


def test_an_error_of_the_target_is_the_processes_and_what_was_measured_stays(tmp_path: Path) -> None:
    done = run(
        """
        left = iter(range(20))
        Session(Target(infer=lambda: next(left))).run()
        """,
        tmp_path,
    )
    assert done.returncode == 1
    assert "StopIteration" in done.stderr
    assert [event for event, _ in events(tmp_path)] == ["hello", "measured", "error"]
    assert len(read_steps(tmp_path / "a.steps")) == 20


def test_killed_it_leaves_the_chunks_that_it_had_finished(tmp_path: Path) -> None:
    script = """
        made = 0
        def infer():
            global made
            made += 1
            time.sleep(0.001)
            if made == 200:
                print("there", flush=True)
        Session(Target(infer=infer)).run()
    """
    config = {"name": "a", "voir": {"options": {"skip": 0, "stop": {"seconds": 600}}}}
    process = subprocess.Popen(argv(script), env=environ(tmp_path, config), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    process.stdout.close()
    assert len(read_steps(tmp_path / "a.steps")) >= 50  # all but the last chunk, of 0.1 s at most


def test_a_forked_child_leaves_the_measurement_to_its_parent(tmp_path: Path) -> None:
    done = run(
        """
        forked = 0
        def infer():
            global forked
            forked = forked or os.fork() or -1

        n = Session(Target(infer=infer)).run().n
        if forked > 0:
            os.waitpid(forked, 0)
        print(n, "in", "parent" if forked > 0 else "child", flush=True)
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "50 in parent\n" in done.stdout
    assert "in child\n" in done.stdout
    assert len(read_steps(tmp_path / "a.steps")) == 52
    assert [event for event, _ in events(tmp_path)] == ["hello", "measured", "stop"]
