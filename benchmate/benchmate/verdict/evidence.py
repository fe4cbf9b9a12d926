"""Was the machine quiet while a number was measured: what each piece of evidence shows, and from where on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

NoiseVerdict = Literal["quiet", "noisy", "unknown"]

# Share of the wall time during which some task of the machine was runnable without a CPU (/proc/pressure/cpu): the
# criterion for a busy neighbour. A quiet machine's own short wake-ups make up to 2 %.
PRESSURE: Final = 0.05
# Share of the wall time that the process's own threads waited for a CPU (schedstat), summed over its threads.
WAIT: Final = 0.05
# Share of all CPU time that went to other processes. Cores may have been idle all the same, so it is no noise by
# itself; where it is large it is named, since caches, memory bandwidth and turbo clocks are shared.
OTHERS: Final = 0.10
# Involuntary context switches a second, where nothing says how long each lasted: a scheduler's slice is some ms.
INVOLUNTARY: Final = 50.0
# Share of all CPU time that the hypervisor gave to other guests.
STEAL: Final = 0.02
# The lowest clock over the highest: what is bound by computing moves as much.
CLOCK: Final = 0.90
# The kernel's counters advance in steps of up to 10 ms: in a shorter window none is good to 10 %.
WINDOW_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a machine while a process measured for ``window_s`` seconds; None is not known.

    ``cpu_share``: the process's CPU over wall; ``wait_share``: time its threads were runnable but not running, over
    wall; ``involuntary_per_s``: context switches it did not ask for; ``others_share``: CPU of all other processes,
    and ``steal_share``: CPU kept by the hypervisor, over cores × wall; ``pressure_share``: growth of ``some`` of
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
    """The verdict on a machine, and its reasons: sentences for the user. ``quiet`` may have remarks."""

    verdict: NoiseVerdict
    reasons: tuple[str, ...] = ()


def noise(evidence: Evidence) -> Noise:
    """Judge whether something else than the measured process may have moved its numbers.

    ``quiet`` takes that the process's waiting, or the machine's pressure, is known and low.
    """
    against = tuple(_against(evidence))
    if against:
        return Noise(verdict="noisy", reasons=against)
    if evidence.pressure_share is None and evidence.wait_share is None:
        return Noise(verdict="unknown", reasons=tuple(_remarks(evidence)))
    if evidence.window_s is not None and evidence.window_s < WINDOW_S:
        short = f"measured for {evidence.window_s:.3g} s only: too short for the kernel's counters"
        return Noise(verdict="unknown", reasons=(short,))
    return Noise(verdict="quiet", reasons=tuple(_remarks(evidence)))


def _against(evidence: Evidence) -> Iterator[str]:
    yield from _competition(evidence)
    if evidence.steal_share is not None and evidence.steal_share >= STEAL:
        yield f"the hypervisor gave {evidence.steal_share:.0%} of this machine's CPU time to others (steal)"
    if evidence.clock_share is not None and evidence.clock_share < CLOCK:
        yield f"the clock fell to {evidence.clock_share:.0%} of its highest value while measuring"
    if evidence.throttled:
        yield f"the device's clock was held down: {', '.join(evidence.throttled)}"
    if evidence.ecc_errors:
        yield f"{evidence.ecc_errors} uncorrected memory errors (ECC) on the device: results may be wrong"
    if evidence.neighbours:
        yield f"{evidence.neighbours} other trials ran side by side with it: memory bandwidth and power were shared"


def _competition(evidence: Evidence) -> Iterator[str]:
    waited = evidence.wait_share is not None and evidence.wait_share >= WAIT
    pressed = evidence.pressure_share is not None and evidence.pressure_share >= PRESSURE
    if not (waited or pressed):
        if (
            evidence.wait_share is None
            and evidence.pressure_share is None
            and (evidence.involuntary_per_s or 0.0) >= INVOLUNTARY
        ):
            yield f"it was taken off its CPU {evidence.involuntary_per_s:.0f} times a second by other tasks"
        return
    who = _whose(evidence)
    if pressed:
        yield f"tasks of this machine waited for a CPU {evidence.pressure_share:.0%} of the time (pressure){who}"
    if waited:
        yield f"its threads waited for a CPU {evidence.wait_share:.0%} of the time{'' if pressed else who}"


def _whose(evidence: Evidence) -> str:
    if evidence.others_share is None:
        return ""
    if evidence.others_share < OTHERS:
        return f": other processes took only {evidence.others_share:.0%} of the CPU, so its own threads compete"
    return f": other processes took {evidence.others_share:.0%} of the CPU"


def _remarks(evidence: Evidence) -> Iterator[str]:
    if evidence.others_share is not None and evidence.others_share >= OTHERS:
        yield (
            f"other processes took {evidence.others_share:.0%} of the CPU, without making anything wait:"
            " caches, memory bandwidth and clocks were shared"
        )
