"""Containers of agents that were killed together with all that could have ended them: found by the next agent.

A container says by a label which agent it is of; whoever starts containers by the same program looks once for those
of this user and this machine whose agent is gone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from milabench.agent import processes, tools
from milabench.agent.container import LABEL

_STARTED: Final = 19  # where in a process's line in /proc, from its state on, its start stands
_ANSWER_S: Final = 60.0
_TOLD: Final = f'{{{{.Id}}}} {{{{index .Config.Labels "{LABEL}"}}}} {{{{.Name}}}}'


def mark(pid: int) -> str:
    """Return what names a process of this machine, as long as it runs: its user, and where and since when it runs."""
    return f"{_place()}:{pid}:{_start(pid)}"


def is_gone(told: str) -> bool:
    """Say whether the process of a mark is known to be gone: one of this user, this machine and this view of it."""
    place, pid, start = (told.rsplit(":", 2) + ["", ""])[:3]
    return place == _place() and pid.isdigit() and _start(int(pid)) != start


def end_those(request: Mapping[str, Any]) -> dict[str, Any]:
    """End those of a request's ``executable``, and tell its log, where that is there still, which they were."""
    found = _found(request["executable"])
    ended = [name for number, name in found.items() if _run(request["executable"], "rm", "--force", number) is not None]
    if ended:
        with suppress(OSError), open(os.open(request["stderr"], os.O_WRONLY | os.O_APPEND), "w") as file:  # noqa: PTH123
            file.write(f"milabench: of an agent that was killed there were containers, now ended: {', '.join(ended)}\n")
    return {"event": "ended", "names": ended}


def _found(executable: str) -> dict[str, str]:
    """Return the names of those that are there, by their numbers: another of that name may be a living agent's."""
    numbers = (_run(executable, "ps", "--all", "--quiet", "--no-trunc", f"--filter=label={LABEL}") or "").split()
    found = {}
    for number in numbers:  # one by one: one that ends meanwhile hides no other
        words = (_run(executable, "container", "inspect", f"--format={_TOLD}", number) or "").split()
        if len(words) == 3 and is_gone(words[1]):
            found[words[0]] = words[2].removeprefix("/")
    return found


def _run(executable: str, *arguments: str) -> str | None:
    """Return what a program printed, None where it fails: what it is to start says why."""
    return tools.answer(executable, *arguments, within_s=_ANSWER_S)


def _place() -> str:
    """Return the user, the boot of the kernel, and what numbers processes have there."""
    boot, space = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = str(os.stat("/proc/self/ns/pid").st_ino)  # noqa: PTH116
    return f"{os.getuid()}:{boot}:{space}"


def _start(pid: int) -> str:
    fields = processes.stat(pid)
    return fields[_STARTED] if len(fields) > _STARTED and fields[0] not in ("Z", "X") else ""
