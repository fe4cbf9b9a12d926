"""``milabench report``: what run directories say, wherever they lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from milabench.errors import RunDirError
from milabench.paths import expanded, is_folder
from milabench.rundir import RunDir, open_run, runs
from milabench.summary import Summary, summarize

_TIMES = re.compile(r"(\.\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)+$")  # twice where the name has {time} at its end


def report(names: Sequence[str], base: Path) -> Summary:
    """Return the summary of runs given by path or name (several are pooled as repeats); of the newest by default."""
    found = [find_run(name, base) for name in names or (None,)]
    several = {run.path.resolve(): run for run in found}
    if len(several) < len(found):
        raise RunDirError("the same run is given twice: pooled with itself it would seem surer than it is")
    return summarize(list(several.values()))


def find_run(name: str | None, base: Path) -> RunDir:
    """Return a run by its folder or its name, the newest below a base without one. Raises RunDirError for none."""
    found = runs(base)
    if name is None:
        if not found:
            raise RunDirError(f"no run below {base}: give --base, or the folder of a run")
        return open_run(found[-1])
    path = expanded(name)
    if is_folder(path):
        return open_run(path)
    named = [run for run in found if run.name == name or _TIMES.sub("", run.name) == name]
    if not named:
        raise RunDirError(f"no run {name!r}: it is no folder, and no run below {base} has that name")
    if len(named) > 1:
        raise RunDirError(f"several runs are named {name}: give one of {', '.join(run.name for run in named)}")
    return open_run(named[-1])
