"""What the measuring scripts share: commands timed with their CPU and memory, medians with their spread, one table."""

from __future__ import annotations

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
