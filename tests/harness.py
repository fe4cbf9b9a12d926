"""A project in a temporary folder: write suites and benchmark folders, run milabench in it, read what it did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from benchmate.wire import MEASURED, Steps
from milabench.agent.ender import is_ender
from milabench.agent.processes import children, stat
from milabench.resources import import_path
from milabench.rundir import RunDir, runs

# Prints a step every hundredth of a second: a benchmark that needs neither environment nor torch.
PRINTER = """while true; do echo '{"count": 10, "unit": "items"}'; sleep 0.01; done"""
# A benchmark's main.py that needs nothing but benchmate.
OBSERVED = """
    from benchmate.observe import Observer

    observer = Observer(unit="items")
    for number, batch in enumerate(observer.iterate([[0] * 8] * 1000)):
        observer.record_loss(1.0 / (number + 1))
        sum(range(20_000))
"""


def rates_of(steps: Steps, phase: int = MEASURED) -> list[float]:
    """Return the rate of each good step of a phase, a second."""
    return [count / (ns / 1e9) for count, ns in zip(*steps.work(phase), strict=True)]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Project:
    """``write`` files, ``milabench`` commands, look at ``run()``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "base"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MILABENCH_")}
        self.environ = {**kept, "PYTHONPATH": os.pathsep.join(import_path()), "MILABENCH_BASE": str(self.base)}

    # Files -------------------------------------------------------------------------------------------------------

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    def suite(self, **entries: Mapping[str, Any]) -> Path:
        """Write ``suite.yaml`` with these entries; what JSON can say is YAML too."""
        return self.write("suite.yaml", json.dumps({name.replace("__", "-"): entries[name] for name in entries}))

    def tree(self) -> dict[str, tuple[int, int]]:
        """Return {path: (size, time of change)} of everything in the folder."""
        found = sorted(self.folder.rglob("*"))
        return {
            str(path.relative_to(self.folder)): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in found
            if path.is_file() or not any(path.iterdir())
        }

    # Commands ----------------------------------------------------------------------------------------------------

    def milabench(
        self,
        *arguments: str,
        timeout_s: float = 300,
        offline: bool = False,
        under: Sequence[str] = (),
        **environ: str,
    ) -> Result:
        """Run milabench to its end; ``offline``: where there is no network but the loopback.

        ``under`` is the argv of a program that runs another one.
        """
        alone = [sys.executable, str(Path(__file__).with_name("without_network.py"))] if offline else []
        done = subprocess.run(
            [*alone, *under, *self._argv(arguments)],
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def verb(self, name: str, *arguments: str, **options: Any) -> Result:
        """Run a verb on ``suite.yaml``; options are those of ``milabench``."""
        return self.milabench(name, "--config", "suite.yaml", *arguments, **options)

    def report(self, *arguments: str) -> dict[str, Any]:
        """Return the benchmarks of the JSON report, by name."""
        document = self.milabench("report", "--json", *arguments).json
        return {each["name"]: each for each in document["benchmarks"]}

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start milabench, and end it at the end of the block whatever happens."""
        try:
            with living(self._argv(arguments), cwd=self.folder, env=self.environ) as process:
                yield process
        finally:
            for pid in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Return the living processes that know this project's base: the runner, its agent and all they started."""
        return [pid for pid in _living() if os.fsencode(self.base) in _environ(pid)]

    # Results -----------------------------------------------------------------------------------------------------

    def run(self) -> RunDir:
        """Return the newest run."""
        return RunDir(runs(self.base)[-1])

    def data(self, tag: str, key: str) -> list[Any]:
        """Return what the ``data`` events of a process of the newest run say under a key, in order."""
        events = (event for event in self.run().events(tag) if event.event == "data")
        return [event.data[key] for event in events if key in event.data]

    def _argv(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "milabench", *arguments]


def shell(script: str, *, stop: int = 10, skip: int = 2, **keys: Any) -> dict[str, Any]:
    """Return an entry that runs a line of shell."""
    limit = {"stop": stop, "skip": skip}
    return {"command": {"argv": ["sh", "-c", script]}, "voir": {"options": limit}, **_placed(keys)}


def printing_until(mark: Path) -> str:
    """Return a line of shell that prints steps, as PRINTER does, until there is such a file."""
    return PRINTER.replace("while true", f"while ! test -e {mark}")


def folder(definition: str, *, stop: int = 10, skip: int = 2, **keys: Any) -> dict[str, Any]:
    """Return an entry of a benchmark folder."""
    return {"definition": definition, "voir": {"options": {"stop": stop, "skip": skip}}, **_placed(keys)}


@contextmanager
def living(argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a program in a session of its own, and end it at the end of the block whatever happens."""
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(argv, text=True, start_new_session=True, **piped, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until(happened: Callable[[], object], timeout_s: float = 60) -> None:
    """Wait for something to become true. Raises AssertionError when it does not."""
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def agents(runner: int) -> list[int]:
    """Return the numbers of a runner's agents on this machine: there is one at most."""
    return [pid for pid in children(runner) if _is_named(pid, b"agent.serve")]


def monitors(agent: int) -> list[int]:
    """Return the numbers of an agent's monitors: there is one at most."""
    return [pid for pid in children(agent) if _is_named(pid, b"agent.monitor")]


def benchmarks(agent: int) -> list[int]:
    """Return the processes that an agent has started for benchmarks: all but its monitor and what ends containers."""
    return [pid for pid in children(agent) if not _is_named(pid, b"agent.monitor") and not is_ender(pid)]


def _is_named(pid: int, module: bytes) -> bool:
    try:
        return module in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def assert_whole(project: Project) -> None:
    """Assert that every file of the newest run can be read: complete JSON, complete lines, event files sealed."""
    run = project.run()
    for path in run.path.glob("*.json"):
        json.loads(path.read_text())
    for tag in run.tags():
        events = list(run.events(tag))
        assert [event.event for event in events].count("end") == 1, tag
        assert events[-1].event == "end", tag
        # what writes by DATA_FD itself numbers nothing
        assert all(event.seq in (number, None) for number, event in enumerate(events)), tag
    assert not list(run.path.glob("*.partial"))


def _placed(keys: dict[str, Any]) -> dict[str, Any]:
    return {"plan": {"method": "njobs", "n": 1}, **keys}


def _living() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            found = stat(int(entry.name))
            if found and found[0] not in ("Z", "X"):
                yield int(entry.name)


def _environ(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""
