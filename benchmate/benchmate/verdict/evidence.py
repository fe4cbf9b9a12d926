"""Was the machine quiet while a number was measured: what each piece of evidence shows, and from where on.

No single counter does. That the process itself waited is the nearest to what matters, but the time that its children
and the threads of a driver wait is in none of its own counters; the machine's pressure has all of it, but also waiting
that was not the benchmark's; what others took of the CPUs says who it was, and nothing of whether anybody waited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from benchmate.verdict.figures import percent

NoiseVerdict = Literal["quiet", "noisy", "unknown"]
Reason = tuple[str, str]  # what it is about, one of ABOUT, and a sentence for the user
_WORST: Final[tuple[NoiseVerdict, ...]] = ("noisy", "unknown", "quiet")
# What reasons are about, in the order in which they are told: a result that may be wrong is worse than a slow one.
ABOUT: Final = (
    *("memory errors", "pressure", "waiting", "switches", "steal", "clock", "throttled", "neighbours"),
    *("others", "limit", "window"),
)

# Share of the wall time during which some task of the machine was ready and had no CPU (/proc/pressure/cpu). The
# criterion for a busy neighbour: any that costs time makes somebody wait. Wake-ups of an idle machine come to 1 or 2 %.
PRESSURE: Final = 0.05
# Share of its running time that the process's threads were ready and had no CPU (schedstat): how much slower it ran.
WAIT: Final = 0.05
# Share of all CPU time that other processes took. Where cores were left nobody waited for them, so this alone is no
# noise; it is named, since caches, memory bandwidth and the clocks of busy cores are shared.
OTHERS: Final = 0.10
# Involuntary context switches a second, asked only where nothing says how long they lasted: on a quiet machine they
# are few and last microseconds, against a busy task each lasts a scheduler's slice of some milliseconds.
INVOLUNTARY: Final = 50.0
# Share of all CPU time that the hypervisor gave to other guests. A virtual machine that works has some 0.1 %.
STEAL: Final = 0.02
# Lowest clock over highest: what is bound by computing becomes slower by as much. Steps between turbo states are less.
CLOCK: Final = 0.90
# The kernel's counters of CPU time advance by up to 10 ms: in a shorter window no share is known to 10 %.
WINDOW_S: Final = 0.1
# What a process's own threads waited is known to the ns. In a window shorter than a scheduler's slice, one such slice,
# or the way into the measurement, would be all of it.
OWN_WINDOW_S: Final = 0.01
# What measuring costs as a share of a median step: from there on it is a part of what is measured, and told.
OVERHEAD: Final = 0.01
# CPU of a process and time that its threads waited for one, together over wall, up to which it may be one thread's.
ONE_THREAD: Final = 1.05
# Limits that a loaded device runs at all the time. They set its speed and do not disturb it; where they make the
# clock move, the clock shows it. All other reasons (heat, a power brake) come and go.
LIMITS: Final = frozenset({"power cap", "board limit", "current limit", "reliability", "sync boost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a machine while a process measured for ``window_s`` seconds; None is not known.

    ``cpu_share``: the process's CPU over wall; ``wait_share``: time its threads were runnable but not running, over
    wall; ``involuntary_per_s``: context switches it did not ask for; ``others_share``: CPU of all that is not of the
    run, and ``steal_share``: CPU kept by the hypervisor, over cores × wall; ``pressure_share``: growth of ``some`` of
    /proc/pressure/cpu over wall; ``clock_share``: lowest over highest clock seen; ``throttled``: reasons for which a
    device's clock was held down; ``ecc_errors``: uncorrected ones; ``neighbours``: trials that ran side by side.
    """

    window_s: float | None = None
    cpu_share: float | None = None
    wait_share: float | None = None
    involuntary_per_s: float | None = None
    others_share: float | None = None
    pressure_share: float | None = None
    steal_share: float | None = None
    clock_share: float | None = None
    throttled: tuple[str, ...] = ()
    ecc_errors: int | None = None
    neighbours: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The verdict on a machine, and its reasons: sentences for the user. A quiet one may have remarks.

    ``about``: what each reason is about, so that those of several processes can be counted whatever their figures.
    """

    verdict: NoiseVerdict
    reasons: tuple[str, ...] = ()
    about: tuple[str, ...] = ()

    @property
    def told(self) -> Iterator[Reason]:
        """Each reason with what it is about: where that is not said, itself."""
        return zip(self.about or self.reasons, self.reasons, strict=True)


def noise(evidence: Evidence) -> Noise:
    """Judge whether something beside the measured process may have moved its numbers.

    ``quiet`` takes that the process's waiting or the machine's pressure is known, and low; without them, and with
    nothing else against the number, the answer is ``unknown``.
    """
    short = evidence.window_s is not None and evidence.window_s < WINDOW_S
    evidence = _readable(evidence)
    against = (*_memory(evidence), *_waiting(evidence), *_hardware(evidence), *_neighbours(evidence))
    if against:
        return _noise("noisy", against)
    if short:
        told = f"measured for {evidence.window_s:.2g} s, too short for the kernel's counters to show what disturbs"
        return _noise("unknown", [("window", told)])
    if evidence.pressure_share is None and evidence.wait_share is None:
        return _noise("unknown", _remarks(evidence))
    return _noise("quiet", _remarks(evidence))


def _readable(evidence: Evidence) -> Evidence:
    """Return what can be known of a window as long as this one: the kernel's counters go by steps."""
    if evidence.window_s is None or evidence.window_s >= WINDOW_S:
        return evidence
    evidence = replace(evidence, pressure_share=None, others_share=None, steal_share=None, involuntary_per_s=None)
    if evidence.window_s is not None and evidence.window_s < OWN_WINDOW_S:
        return replace(evidence, wait_share=None, cpu_share=None)
    return evidence


def pooled(several: Sequence[Noise]) -> Noise:
    """Return the noise of several processes: one that is noisy, or else one of which nothing is known, speaks for all.

    What reasons are about is told once, with how many of all the processes it holds for, and the words of the first.
    """
    nothing: NoiseVerdict = "unknown"
    verdict = next((word for word in _WORST if any(noise.verdict == word for noise in several)), nothing)
    found: dict[str, list[str]] = {}
    for noise in several:
        for about, reason in noise.told if noise.verdict == verdict else ():
            found.setdefault(about, []).append(reason)
    kinds = sorted(found, key=lambda about: ABOUT.index(about) if about in ABOUT else len(ABOUT))
    return _noise(verdict, [(about, counted(found[about], len(several))) for about in kinds])


def counted(alike: Sequence[str], total: int) -> str:
    """Return what holds of some of ``total`` processes, in the words of the first of them."""
    if total == 1:
        return alike[0]
    example = ", of one" if len(set(alike)) > 1 else ""  # the figures are not those of all
    return f"{len(alike)} of {total} processes{example}: {alike[0]}"


def _noise(verdict: NoiseVerdict, found: Iterable[Reason]) -> Noise:
    several = tuple(found)
    return Noise(
        verdict=verdict,
        reasons=tuple(reason for _, reason in several),
        about=tuple(about for about, _ in several),
    )


def _memory(evidence: Evidence) -> Iterator[Reason]:
    if evidence.ecc_errors:
        errors = _many(evidence.ecc_errors, "uncorrected memory error")
        yield "memory errors", f"the device had {errors}: its results may be wrong"


def _waiting(evidence: Evidence) -> Iterator[Reason]:
    held_up = _held_up(evidence)
    waited = held_up is not None and held_up >= WAIT
    pressed = _at_least(evidence.pressure_share, PRESSURE)
    if pressed:
        yield "pressure", f"tasks waited for a CPU {percent(evidence.pressure_share)} of the time: {_whose(evidence)}"
    if waited and not pressed:
        yield "waiting", f"its threads waited for a CPU {percent(held_up)} of their time: {_whose(evidence)}"
    elif waited:
        yield "waiting", f"its own threads waited for a CPU {percent(held_up)} of their time"
    unknown = evidence.wait_share is None and evidence.pressure_share is None
    if unknown and _at_least(evidence.involuntary_per_s, INVOLUNTARY):
        yield "switches", f"it had to leave its CPU {evidence.involuntary_per_s:.0f} times a second: {_whose(evidence)}"


def _held_up(evidence: Evidence) -> float | None:
    """Return the share of its running time that a process's threads waited.

    By as many threads as wanted to run on average: 64 of them wait 64 times as long together as one by one. A process
    that sleeps most of the time counts as one thread that wants to run: what delays it must still be 5 % of the wall.
    """
    if evidence.wait_share is None:
        return None
    return evidence.wait_share / max(1.0, evidence.wait_share + (evidence.cpu_share or 0.0))


def _whose(evidence: Evidence) -> str:
    if evidence.others_share is None:
        return "who took it is not known"
    took = f"{percent(evidence.others_share)} of the CPU time"
    if evidence.others_share >= OTHERS:
        return f"other processes took {took}"
    if (evidence.cpu_share or 0.0) + (evidence.wait_share or 0.0) <= ONE_THREAD:
        return f"who took it is not known, for other processes took only {took}"
    return f"other processes took only {took}, so its own threads and processes are more than its CPUs"


def _hardware(evidence: Evidence) -> Iterator[Reason]:
    if _at_least(evidence.steal_share, STEAL):
        yield "steal", f"the hypervisor gave {percent(evidence.steal_share)} of the CPU time to other machines (steal)"
    if evidence.clock_share is not None and evidence.clock_share < CLOCK:
        yield "clock", f"the clock fell to {percent(evidence.clock_share)} of the highest seen"
    if causes := [cause for cause in evidence.throttled if cause not in LIMITS]:
        yield "throttled", f"the device's clock was held down: {', '.join(causes)}"


def _neighbours(evidence: Evidence) -> Iterator[Reason]:
    if evidence.neighbours:
        trials = _many(evidence.neighbours, "other trial")
        yield "neighbours", f"{trials} ran side by side with it: memory bandwidth, caches and power were shared"


def _remarks(evidence: Evidence) -> Iterator[Reason]:
    if _at_least(evidence.others_share, OTHERS):
        known = evidence.pressure_share is not None or evidence.wait_share is not None
        calm = " while nothing waited for one" if known else ""
        yield (
            "others",
            f"other processes took {percent(evidence.others_share)} of the CPU time{calm}: they share caches and"
            " memory",
        )
    if limits := [cause for cause in evidence.throttled if cause in LIMITS]:
        yield "limit", f"the device ran at its limit ({', '.join(limits)}), which sets its clock"


def _at_least(share: float | None, bound: float) -> bool:
    return share is not None and share >= bound


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
