"""Observers in real processes: where a pass is made in another thread, and where a process forks."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from benchmate.wire import read_steps

OBSERVER = """
    import os, sys, threading, queue
    from benchmate.context import Context, Limit
    from benchmate.device import Cpu
    from benchmate.observe import Observer

    limit = Limit(skip=1, observations=4)
    context = Context(events=sys.argv[1] + "/a.data", steps=sys.argv[1] + "/a.steps", limit=limit)
    observer = Observer(context=context, accelerator=Cpu())
"""


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    source = textwrap.dedent(OBSERVER) + textwrap.dedent(script)
    argv = [sys.executable, "-c", source, str(folder)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def events(folder: Path) -> list[tuple[str, Any]]:
    lines = [json.loads(line) for line in (folder / "a.data").read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    return [(line["event"], line["data"]) for line in lines]


def test_at_the_limit_a_thread_that_fetches_ahead_ends_the_program(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        batches = queue.Queue(2)

        def fill():
            for batch in observer.iterate([[0]] * 100):
                batches.put(batch)

        threading.Thread(target=fill, daemon=True).start()
        while True:
            batches.get()
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [event for event, _ in events(tmp_path)] == ["hello", "note", "measured", "stop"]
    assert "another thread" in events(tmp_path)[1][1]["message"]
    assert len(read_steps(tmp_path / "a.steps")) == 5
    assert (tmp_path / "a.steps").stat().st_size == 64 + 5 * 40  # closed


def test_a_loop_without_a_loader_ends_the_program_from_another_thread_too(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        def loop():
            end_step = observer.begin()
            while True:
                end_step(1)

        thread = threading.Thread(target=loop)
        thread.start()
        thread.join()
        sys.exit(9)
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [event for event, _ in events(tmp_path)][-1] == "stop"


def test_a_forked_child_leaves_the_measurement_to_its_parent(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        passed = iter(observer.iterate([[0] * n for n in range(1, 9)]))
        end_step = observer.begin()
        next(passed), next(passed), next(passed)  # two steps have ended
        child = os.fork()
        if child == 0:
            observer.record("speed", 1.0)
            observer.record_loss(2.0)
            left = [len(batch) for batch in passed]  # of the pass that its parent has begun
            again = sum(1 for _ in observer.iterate([[0] * 100] * 10))  # a pass of its own
            end_step(7)
            end_step(7)
            print(left, again)
            sys.exit(0 if observer.close() is None else 1)
        os.waitpid(child, 0)
        for _ in passed:
            pass
        """,
    )
    assert (done.returncode, done.stdout) == (0, "[4, 5, 6, 7, 8] 10\n")
    assert done.stderr.count("is not measured: it is a fork of process") == 1
    assert list(read_steps(tmp_path / "a.steps").columns["count"]) == [1, 2, 3, 4, 5]
    assert [event for event, _ in events(tmp_path)] == ["hello", "measured", "stop"]
    assert events(tmp_path)[1][1]["steps"] == 4


def test_an_error_of_a_forked_child_is_none_of_its_parent(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        child = os.fork()
        if child == 0:
            raise RuntimeError("in the child")
        os.waitpid(child, 0)
        list(observer.iterate([[0]] * 2))
        """,
    )
    assert done.returncode == 0
    assert "in the child" in done.stderr
    assert [event for event, _ in events(tmp_path)] == ["hello", "measured"]


def test_a_fork_finds_nothing_to_do_where_the_observer_is_gone(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        import gc, weakref

        observer.close()
        gone = weakref.ref(observer)
        del observer
        gc.collect()
        child = os.fork()
        if child == 0:
            sys.exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) + 2 * (gone() is not None))
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
