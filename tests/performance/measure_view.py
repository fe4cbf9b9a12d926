"""CPU that the live view takes in a terminal, beside a run that shows nothing: of the runner, and of its agent.

Processes make a step a second (with 256: every five), each in its own shell, and the terminal has 50 lines.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
import time
from pathlib import Path

from measuring import Project, project, show

FROM_S, TO_S = 4.0, 24.0
TICKS = os.sysconf("SC_CLK_TCK")
SUITE = """
many:
  command: {{argv: [sh, -c, {script}]}}
  plan: {{method: njobs, n: {count}}}
  voir: {{options: {{skip: 1, stop: 1000000}}}}
  max_duration: 600
"""
# In YAML's double quotes.
SCRIPT = r'''"while true; do echo '{\"count\": 10, \"unit\": \"items\"}'; sleep %d; done"'''


def main() -> None:
    where = project()
    for count, period in ((8, 1), (256, 5)):
        where.write("suite.yaml", SUITE.format(count=count, script=SCRIPT % period))
        quiet, live = (_shares(where, *options) for options in (("--quiet",), ()))
        for name, alone, shown in zip(("runner", "agent"), quiet, live, strict=True):
            goal = "≤ 0.01" if name == "runner" and count == 8 else None
            show(f"{count} processes, {name}, a run that shows nothing", [alone], "of a core")
            show(f"{count} processes, {name}, the live view beside it", [shown - alone], "of a core", goal=goal)


def _shares(where: Project, *options: str) -> tuple[float, float]:
    """Return the CPU of the runner and of its agent as shares of a core, over some seconds in mid-run."""
    pid, terminal = pty.fork()
    if pid == 0:
        argv = [sys.executable, "-m", "milabench", "run", "--config", "suite.yaml", *options]
        os.chdir(where.folder)
        os.execve(argv[0], argv, {**where.environ, "TERM": "xterm-256color"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    threading.Thread(target=_drain, args=(terminal,), daemon=True).start()
    time.sleep(FROM_S)
    agent = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    before, began = (_ticks(pid), _ticks(agent)), time.monotonic()
    time.sleep(TO_S - FROM_S)
    after, passed_s = (_ticks(pid), _ticks(agent)), time.monotonic() - began
    os.kill(pid, 2)
    os.kill(pid, 2)
    os.waitpid(pid, 0)
    return (after[0] - before[0]) / TICKS / passed_s, (after[1] - before[1]) / TICKS / passed_s


def _ticks(pid: int) -> int:
    """Return what a process has had, with those it has waited for: an agent looks at others in one of its own."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def _drain(terminal: int) -> None:
    while True:
        try:
            os.read(terminal, 1 << 16)
        except OSError:
            return


main()
