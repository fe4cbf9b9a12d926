"""What squeue says of jobs, and what that means."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from milabench.errors import ExitCode

# Fields that every squeue since 20.02 prints alike. Its JSON does not come of all builds, changes between versions, and
# before 23.02 it has all jobs of the cluster whichever are asked for.
_FIELDS: Final = ("JobID", "State", "Reason", "exit_code", "NodeList", "StartTime", "EndTime", "TimeLimit")
_END: Final = "|"
FORMAT: Final = ",".join(f"{name}:{_END}" for name in _FIELDS)
_NO_OUTPUT: Final = 53  # the signal that slurmd says such a job was killed by
_NEAR_S = 135.0  # an end so short of the time limit is because of it: SIGTERM comes 60 to 120 s before


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A job as squeue has it; times in s since 1970 on the cluster's clock, ``time_limit_s`` None without a limit.

    ``exit_code`` and ``signal`` are those of its script, where that has ended. ``nodes`` are as Slurm lists them.
    """

    job: str
    state: str
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    starts: float | None = None
    ends: float | None = None
    time_limit_s: float | None = None

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

    @property
    def could_not_print(self) -> bool:
        """Whether Slurm could not begin its script, most of the time since it cannot open the file for its output."""
        return self.state == "FAILED" and (self.reason == "JobLaunchFailure" or self.signal == _NO_OUTPUT)

    @property
    def was_cut_off(self) -> bool:
        """Whether its script ended by itself so shortly before the time limit that it was told to."""
        if self.state not in ("FAILED", "COMPLETED") or self.exit_code != ExitCode.INTERRUPTED:
            return False
        if self.starts is None or self.ends is None or self.time_limit_s is None:
            return False
        return self.starts + self.time_limit_s - self.ends < _NEAR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What an end of a job means: in words, and the exit code where its script has none of its own."""

    words: str
    code: ExitCode


_LOST = ExitCode.ENVIRONMENT
_CUT = ExitCode.INTERRUPTED
ENDED: Final[Mapping[str, End]] = MappingProxyType(
    {
        "COMPLETED": End(words="ended", code=ExitCode.OK),
        "FAILED": End(words="failed", code=_LOST),
        "CANCELLED": End(words="was cancelled", code=_CUT),
        "TIMEOUT": End(words="reached its time limit", code=_CUT),
        "DEADLINE": End(words="reached its deadline", code=_CUT),
        "PREEMPTED": End(words="was preempted by another job", code=_CUT),
        "REVOKED": End(words="was revoked", code=_CUT),
        "NODE_FAIL": End(words="lost a node", code=_LOST),
        "BOOT_FAIL": End(words="had a node that did not start", code=_LOST),
        "LAUNCH_FAILED": End(words="could not be started on its nodes", code=_LOST),
        "RECONFIG_FAIL": End(words="had a node that could not be set up", code=_LOST),
        "OUT_OF_MEMORY": End(words="ran out of the memory it was given", code=_LOST),
        "SPECIAL_EXIT": End(words="is held by its exit code", code=_LOST),
        "GONE": End(words="is not known to Slurm any more", code=_LOST),  # Slurm forgets jobs, after some minutes
    }
)

_WITHOUT_NODE: Final = frozenset({"NODE_FAIL", "BOOT_FAIL", "ReqNodeNotAvail", "NodeDown"})
_YOURS = "it does not begin by itself"
_WAITS: Mapping[str, str] = MappingProxyType(
    {
        "None": "",
        "Resources": "what it asks for is in use",
        "Priority": "others come before it",
        "Dependency": "it waits for another job",
        "BeginTime": "its time has not come",
        "Licenses": "a licence it asks for is in use",
        "Reservation": "its reservation has not begun",
        "Cleaning": "Slurm still clears up after the time before",
        "PartitionDown": "the partition is closed",
        "PartitionInactive": "the partition is closed",
        "PartitionTimeLimit": f"{_YOURS}: it asks for more time than the partition allows (--time)",
        "PartitionConfig": f"{_YOURS}: it asks for more than the partition has or allows (--time, --nodes, --gres)",
        "PartitionNodeLimit": f"{_YOURS}: it asks for more nodes than the partition has (--nodes)",
        "BadConstraints": f"{_YOURS}: no node is as it asks for (--constraint, --gres)",
        "InvalidAccount": f"{_YOURS}: there is no such account (--account)",
        "InvalidQOS": f"{_YOURS}: there is no such quality of service (--qos)",
        "AccountNotAllowed": f"{_YOURS}: the account may not use the partition (--account, --partition)",
        "QOSNotAllowed": f"{_YOURS}: the partition does not take this quality of service (--qos)",
        "ReqNodeNotAvail": "a node that it needs is down or reserved",
        "NodeDown": "a node that it needs is down",
        "JobHeldUser": f"{_YOURS}: it is held (scontrol release)",
        "JobHeldAdmin": f"{_YOURS}: it is held by an administrator, or could not be started on its nodes",
    }
)


def lacks_node(seen: Seen) -> bool:
    """Say whether a job ended, or waits, because a node of it is not there."""
    return seen.state in _WITHOUT_NODE or (seen.state == "PENDING" and _name(seen.reason) in _WITHOUT_NODE)


def on_others(seen: Seen) -> str:
    """Return what else can be done than to wait for a node, as the end of what is told; nothing where none lacks."""
    return "; with --other-nodes it waits for no node" if lacks_node(seen) else ""


def _name(reason: str) -> str:
    return reason.partition(",")[0].strip()  # the nodes that are not available come after it


def waiting(reason: str) -> str:
    """Return a reason for which a job waits as Slurm calls it, with what that means where it is known."""
    name = _name(reason)
    meaning = _WAITS.get(name)
    if meaning is None and name.startswith(("Assoc", "QOS")):
        meaning = "a limit of your account or quality of service is reached"
    return f"{reason}: {meaning}" if meaning else reason


def how_it_ended(seen: Seen) -> tuple[ExitCode, str]:
    """Return the exit code of a run by how its job ended, and that in words."""
    if seen.was_cut_off:
        return ExitCode.INTERRUPTED, "was told to end, its time limit being near"
    if seen.state in ("COMPLETED", "FAILED") and seen.exit_code is not None:
        if seen.exit_code in list(ExitCode):
            return ExitCode(seen.exit_code), "has ended"
        return ExitCode.ENVIRONMENT, f"ended with exit code {seen.exit_code}"
    if seen.state == "FAILED" and seen.signal == signal.SIGTERM:
        return ExitCode.INTERRUPTED, "was told to end before it had begun"  # milabench takes that as a wish
    if seen.could_not_print:
        return ExitCode.ENVIRONMENT, f"could not be started ({seen.reason})"
    if seen.state == "FAILED" and seen.signal is not None:
        return ExitCode.ENVIRONMENT, f"was killed by signal {seen.signal}"
    end = ENDED[seen.state]
    reason = f", {seen.reason}" if seen.reason not in ("", "None") else ""
    return end.code, f"{end.words} ({seen.state}{reason})"


def in_words(seen: Seen) -> str:
    """Say how a job is; one without a state is not known, for its reason."""
    if not seen.state:
        return f"not known: {seen.reason}"
    if seen.state == "PENDING":
        return f"waits: {waiting(seen.reason)}" if seen.reason not in ("", "None") else "waits"
    where = f" on {seen.nodes}" if seen.nodes else ""
    return f"{how_it_ended(seen)[1] if seen.is_over else seen.state.lower()}{where}"


def parse(text: str) -> dict[str, Seen]:
    """Return the jobs of what ``squeue --Format=FORMAT`` printed, by number; lines that are none are passed over."""
    found = (line.split(_END) for line in text.splitlines())
    rows = (_seen([value.strip() for value in values]) for values in found if len(values) > len(_FIELDS))
    return {row.job: row for row in rows}


def _seen(values: list[str]) -> Seen:
    # a reason is text of Slurm's own and may hold the sign between fields: it is what is left over in the middle
    after = len(values) - len(_FIELDS) + 2
    (job, state), reason = values[:2], _END.join(values[2:after])
    status, nodes, starts, ends, limit = values[after:-1]
    code, signal = _wait_status(status)
    return Seen(
        job=job,
        state=state.split()[0].rstrip("+") if state else "",
        reason=reason,
        exit_code=code,
        signal=signal,
        nodes=nodes,
        starts=_time(starts),
        ends=_time(ends),
        time_limit_s=_span_s(limit),
    )


def _wait_status(text: str) -> tuple[int | None, int | None]:
    """Return exit code and signal of a wait status, or of ``code:signal``."""
    first, _, second = text.partition(":")
    if not first.isdecimal() or (second and not second.isdecimal()):
        return None, None
    code, signal = (int(first), int(second)) if second else (int(first) >> 8, int(first) & 0x7F)
    return (None, signal) if signal else (code, None)


def _time(text: str) -> float | None:
    """Return a time of day as squeue has it, which is that of this machine's time zone."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _span_s(text: str) -> float | None:
    """Return ``days-hours:minutes:seconds``, of which the first may be missing, in s."""
    days, _, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() for part in (*parts, days or "0")):
        return None
    seconds = 0.0
    for part in parts if len(parts) > 1 else [*parts, "0"]:
        seconds = seconds * 60 + int(part)
    return seconds + int(days or 0) * 86400
