"""``milabench logs``: what the processes of a benchmark printed, in a run or while it was set up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from milabench.app.report import find_run
from milabench.errors import RunDirError
from milabench.problems import nearest
from milabench.rundir import Files, process_tags, tail
from milabench.setuplogs import SetupLogs


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The last lines that a process wrote into one of its files."""

    tag: str
    path: Path
    lines: Sequence[str]


def logs(name: str, run: str | None, base: Path, *, setup: bool = False, lines: int = 0) -> list[Log]:
    """Return what the processes printed whose tag is ``name`` or begins with it; 0 lines: all. Empty files: none.

    Of a run, the newest by default, or (``setup``) of the latest install and prepare, where environments have the names
    of their install groups. Raises RunDirError where no process has the name.
    """
    folder = SetupLogs(base).path if setup else find_run(run, base).path
    tags = process_tags(folder)
    named = [tag for tag in tags if tag == name or tag.startswith(f"{name}.")]
    if not named:
        near = nearest(name, sorted({tag.split(".")[0] for tag in tags}))
        hint = f" (did you mean {near!r}?)" if near else ""
        elsewhere = "" if setup else "; --setup shows what install and prepare printed"
        raise RunDirError(f"no process of {name!r} in {folder}{hint}{elsewhere}")
    files = ((tag, path) for tag in named for path in Files.of(folder, tag).printed)
    return [Log(tag=tag, path=path, lines=found) for tag, path in files if (found := tail(path, lines))]
