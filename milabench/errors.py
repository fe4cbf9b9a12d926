"""The user's mistakes and what a command exits with: a class has an exit code, its message a way out."""

from __future__ import annotations

import enum
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_TOLD = 800  # characters of a message


class ExitCode(enum.IntEnum):
    """What a command exits with; documented in the README, never a count."""

    OK = 0
    FAILED = 1  # benchmarks ran and some failed, or a check said FAIL
    USAGE = 2  # usage or configuration: found before anything starts
    UNDECIDED = 3
    ENVIRONMENT = 4  # an environment, device or data that is not there
    BUG = 5
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a value was written; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake (or warning) in a file: ``code`` is stable, ``path`` names the value (``resnet50.argv.--lr``)."""

    code: str
    message: str
    mark: Mark | None = None
    path: str = ""
    suggestion: str | None = None

    def __post_init__(self) -> None:
        """Keep what is told short, whatever a file holds."""
        for name in ("message", "path", "suggestion"):
            text = getattr(self, name)
            if text is not None and len(text) > MAX_TOLD:
                object.__setattr__(self, name, f"{text[:MAX_TOLD]}…")

    def __str__(self) -> str:
        where = f"{self.mark}: " if self.mark else ""
        hint = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{where}{self.message}{hint}"


class UserError(Exception):
    """A mistake of the user's, or a state of the machine the user can mend. Printed without a traceback."""

    exit_code: ExitCode = ExitCode.USAGE


class UsageError(UserError):
    """A wrong option or argument."""


class ConfigurationError(UserError):
    """All mistakes of a suite or system file at once; ``warnings`` are what was noted beside them."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)


class PreflightError(UserError):
    """Something a command needs is not there: an environment, prepared data, a device, a free run directory."""

    exit_code = ExitCode.ENVIRONMENT


class HostLost(PreflightError):
    """The agent of a node has ended, or cannot be reached."""


class DiskFull(UserError):
    """There is no room left where a run is written."""

    exit_code = ExitCode.ENVIRONMENT


class RunDirError(UserError):
    """A folder that is no run, or a run whose files cannot be read."""


class NotBegunError(RunDirError):
    """A run that its Slurm job has not begun."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


class AbsentFileError(RunDirError):
    """A file of a run that is not there."""


_REMEDIES = {
    errno.EMFILE: "too many are open for one process: raise `ulimit -n`",
    errno.ENFILE: "too many are open on this machine",
    errno.EAGAIN: "too many processes or threads: raise `ulimit -u`, or the cgroup's pids.max",
}


def told(error: OSError | RuntimeError) -> str:
    """Return what an error of the operating system is, of which file, and what to do where that is known."""
    if isinstance(error, RuntimeError):  # of a thread that cannot be started
        return f"{error}: {_REMEDIES[errno.EAGAIN]}"
    parts = (error.strerror or str(error), error.filename, _REMEDIES.get(error.errno or 0))
    return ": ".join(str(part) for part in parts if part)
