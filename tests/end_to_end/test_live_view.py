"""The live view in a terminal, as a terminal sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from harness import PRINTER, Project, printing_until, shell, wait_until

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SLOW = PRINTER.replace("0.01", "0.5")
LONG = shell(SLOW, stop=1_000_000, plan={"method": "njobs", "n": 30})


class Terminal:
    """A milabench in a terminal of its own; ``text`` is all that it has printed."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid, self._descriptor = pid, descriptor
        self.text = ""

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read_until(self, happened: Callable[[str], object], timeout_s: float = 60) -> None:
        """Read until what was printed since this was called is so."""
        begin, end = len(self.text), time.monotonic() + timeout_s
        while not happened(self.text[begin:]):
            assert time.monotonic() < end, self.text[-2000:]
            if not self._read():
                assert happened(self.text[begin:]), self.text[-2000:]
                return

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self._descriptor], [], [], 1)[0]:
            return True
        try:
            chunk = os.read(self._descriptor, 1 << 16)
        except OSError:  # it has ended
            return False
        self.text += chunk.decode(errors="replace")
        return bool(chunk)


@contextmanager
def terminal(
    project: Project, *arguments: str, lines: int = 24, columns: int = 100, **environ: str
) -> Iterator[Terminal]:
    pid, descriptor = pty.fork()
    if pid == 0:
        try:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.chdir(project.folder)
            argv = [sys.executable, "-m", "milabench", *arguments]
            known = {name: value for name, value in project.environ.items() if name not in ("COLUMNS", "LINES")}
            os.execve(argv[0], argv, {**known, "TERM": "xterm-256color", **environ})
        finally:
            os._exit(127)
    try:
        yield Terminal(pid, descriptor)
    finally:
        os.close(descriptor)
        for each in (pid, *project.processes()):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def frames(text: str) -> list[list[str]]:
    """Return the lines of each frame, without what moves the cursor."""
    found = text.split("running  ")[1:]
    return [CONTROL.sub("", each).replace("\r", "").split("\n") for each in found]


def fits(frame: list[str], lines: int, columns: int) -> bool:
    return len(frame) <= lines and max(map(len, frame)) <= columns


def test_frames_fit_a_terminal_that_changes_its_size_and_are_gone_at_the_end(project: Project) -> None:
    project.suite(first=shell(PRINTER), many=LONG)
    with terminal(project, "run", "--config", "suite.yaml") as seen:
        seen.read_until(lambda text: "… and 11 more" in text)
        seen.resize(10, 60)
        seen.read_until(lambda text: any(fits(each, 10, 60) for each in frames(text)[:-1]))  # others were under way
        begin = len(seen.text)
        seen.read_until(lambda text: len(frames(text)) > 2)
        small = frames(seen.text[begin:])[1]
        os.kill(seen.pid, signal.SIGINT)
        assert seen.end() == 130
    assert fits(small, 10, 60), small
    assert any(line.startswith("… and ") for line in small)
    last = frames(seen.text)[-1]
    assert any(line.startswith("run directory: ") for line in last)
    assert seen.text.count("\x1b[?25l") == seen.text.count("\x1b[?25h") == 1  # the cursor is there again


def test_a_frame_shows_what_processes_do_and_take(project: Project) -> None:
    project.suite(long=shell(PRINTER, stop=1_000_000))
    with terminal(project, "run", "--config", "suite.yaml", columns=140) as seen:
        seen.read_until(lambda text: re.search(r"long +\d+/1000002 .*items/s .*[KM]iB .*%", CONTROL.sub("", text)))
        os.kill(seen.pid, signal.SIGINT)
        assert seen.end() == 130
    assert "of 10 min 00 s" in seen.text
    assert COLOUR.search(seen.text)


def test_failures_stand_above_the_frames_and_together_at_the_end(project: Project) -> None:
    project.suite(bad=shell("echo 'no more memory' >&2; exit 3"), long=shell(PRINTER, stop=200))
    with terminal(project, "run", "--config", "suite.yaml") as seen:
        assert seen.end() == 1
    text = CONTROL.sub("", seen.text).replace("\r", "")
    assert text.index("FAIL bad (failed, ") < text.index("ok long") < text.index("failures:\n")
    assert text.index("     | no more memory") < text.index("run directory: ")


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_they_are_not_wanted_and_no_frames_where_they_cannot_be(
    project: Project, environ: dict[str, str]
) -> None:
    project.suite(long=shell(PRINTER, stop=100))
    with terminal(project, "run", "--config", "suite.yaml", **environ) as seen:
        assert seen.end() == 0
    colours = {each for each in COLOUR.findall(seen.text) if re.search(r"\[(?:\d+;)*3\d", each)}
    assert colours == set()
    assert ("\x1b" in seen.text) == ("NO_COLOR" in environ)
    assert ("[1/1] running long" in seen.text) == ("TERM" in environ)


def test_status_follows_in_frames_until_the_run_has_ended(project: Project) -> None:
    go = project.folder / "go"
    project.suite(long=shell(printing_until(go), stop=1_000_000), last=shell(PRINTER))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: list(project.base.glob("runs/*/long.steps")))
        with terminal(project, "status", "--follow") as seen:
            seen.read_until(lambda text: re.search(r"long +\d+/1000002 ", CONTROL.sub("", text)))
            go.touch()
            assert seen.end() == 0
            assert runner.wait(60) == 0
    text = CONTROL.sub("", seen.text).replace("\r", "")
    assert text.rstrip().endswith("trials: 2 of 2 done (1 ok, 1 early stop)")
