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

from benchmate.statistics import Estimate  # noqa: E402
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


def within(what: str, logs: Estimate, goal: float = 0.01) -> int:
    """Print the mean ratio of pairs by the estimate of its logarithm; return 0 where it is 1 give or take the goal.

    That is where all of the interval is; 1 where none of it is, 3 where it is too wide to say.
    """
    value, low, high = (math.inf if each is None else math.expm1(each) for each in (logs.value, logs.low, logs.high))
    inside, outside = -goal <= low and high <= goal, low > goal or high < -goal
    code, word = (0, "within") if inside else (1, "OUTSIDE") if outside and logs.low is not None else (3, "undecided")
    print(f"{what}: {value:+.3%} [{low:+.3%} … {high:+.3%}], n={logs.n} pairs; goal within ±{goal:.0%}: {word}")
    return code
