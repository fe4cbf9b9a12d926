"""What the measuring scripts share: commands timed with their CPU and memory, medians with their spread, one table."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path[1:1] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[2] / "benchmate")]

from harness import Project  # noqa: E402


@dataclass(frozen=True)
class Cost:
    wall_s: float
    cpu_s: float
    rss_mib: float


def spent(argv: Sequence[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> Cost:
    """Run a command to its end and return what it cost, its children included. Raises CalledProcessError."""
    started = time.perf_counter()
    process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, argv)
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def milabench(project: Project, *arguments: str) -> Cost:
    return spent([sys.executable, "-m", "milabench", *arguments], project.folder, project.environ)


def project() -> Project:
    """Return a project in a folder that lasts as long as the script."""
    folder = tempfile.TemporaryDirectory(prefix="milabench-performance-")
    made = Project(Path(folder.name))
    made._kept = folder  # type: ignore[attr-defined]  # removed with the project
    made.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, as an installation is
    return made


def show(what: str, values: Sequence[float], unit: str, *, goal: str | None = None) -> None:
    """Print one row: the median, the range, and the goal where there is one."""
    low, high = min(values), max(values)
    spread = f"[{low:.4g} … {high:.4g}], n={len(values)}"
    print(f"{what}: median {statistics.median(values):.4g} {unit} {spread}" + (f"; goal {goal}" if goal else ""))


def median_of(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and its 95 % interval by order statistics, which asks nothing of how the values spread.

    Infinite where there are too few (under 6).
    """
    ordered, n = sorted(values), len(values)
    below, chance = -1, 0.0  # so many of the lowest are under the median at most, with 2.5 %
    while chance + math.comb(n, below + 1) / 2**n <= 0.025:
        below += 1
        chance += math.comb(n, below) / 2**n
    if below < 0:
        return statistics.median(ordered), -math.inf, math.inf
    return statistics.median(ordered), ordered[below], ordered[n - 1 - below]


def within(what: str, ratios: Sequence[float], goal: float = 0.01) -> int:
    """Print the median ratio of pairs with its interval; return 0 where all of that is 1 give or take the goal.

    1 where none of it is, 3 where it is too wide to say.
    """
    value, low, high = (each - 1 for each in median_of(ratios))
    inside, outside = -goal <= low and high <= goal, low > goal or high < -goal
    code, word = (0, "within") if inside else (1, "OUTSIDE") if outside else (3, "undecided")
    print(f"{what}: {value:+.3%} [{low:+.3%} … {high:+.3%}], n={len(ratios)} pairs; goal within ±{goal:.0%}: {word}")
    return code
