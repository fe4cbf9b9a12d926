"""What surrounded a measurement: the process's own account of it, and its node's monitor → evidence and energy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypedDict

from benchmate import verdict
from benchmate.verdict import Evidence, Noise
from benchmate.wire import is_number
from milabench.summary import monitor
from milabench.summary.monitor import Device, Stretch, Window
from milabench.summary.reading import Reading
from milabench.summary.series import Series
from milabench.summary.types import Ecc, Energy, EnergySource, Surroundings


class Account(TypedDict):
    """What a process says of its CPUs while it measured, over the wall time; None is not known."""

    cpu_share: float | None
    wait_share: float | None
    involuntary_per_s: float | None


UNCOVERED: Final = "what its node's monitor saw does not cover the time in which it measured"
_NO_ACCOUNT: Final = Account(cpu_share=None, wait_share=None, involuntary_per_s=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a process ran: its node with what that node's monitor saw, and its devices by number or UUID.

    ``neighbours``: how many trials ran at the same time. ``unseen``: what is wrong with what the monitor wrote.
    ``ahead_ns``: how far the node's clock is ahead of the runner's.
    """

    node: str | None = None
    shown: frozenset[str] = frozenset()
    stretches: Sequence[Stretch] = ()
    neighbours: int = 0
    unseen: str = ""
    ahead_ns: int = 0


def surroundings_of(series: Series, readings: Sequence[Reading], site: Site) -> Surroundings:
    """Return what is known of a process as it measured, by its own reading and those of the ranks that it leads."""
    span = window_of(series, readings[0])
    if span is None:
        unseen = Evidence(neighbours=site.neighbours)
        noise = _noise(unseen, site.unseen)
        return Surroundings(node=site.node, shown=site.shown, evidence=unseen, noise=noise, unseen=site.unseen)
    overhead, ahead_ns = readings[0].measured.get("overhead_ns"), site.ahead_ns
    return replace(
        seen_from(site, (span[0] - ahead_ns, span[1] - ahead_ns), _account(readings)),
        overhead_ns=float(overhead) if is_number(overhead) and overhead >= 0 else None,
    )


def seen_from(site: Site, span: tuple[int, int], account: Account = _NO_ACCOUNT) -> Surroundings:
    """Return what a monitor saw in a window by the runner's clock, with what a process says of itself."""
    seen = monitor.window(site.stretches, span[0] + site.ahead_ns, span[1] + site.ahead_ns)
    devices = [] if seen is None else seen.devices(site.shown)
    own = Evidence(window_s=(span[1] - span[0]) / 1e9, neighbours=site.neighbours, **account)
    evidence = own if seen is None else _with_seen(own, seen, devices)
    why = site.unseen or (UNCOVERED if seen is None and site.stretches else "")
    return Surroundings(
        window_ns=span,
        node=site.node,
        shown=site.shown,
        evidence=evidence,
        noise=_noise(evidence, why),
        unseen=why,
        energy=None if seen is None else energy_of(seen, devices, len(site.shown)),
        errors={} if seen is None else _errors(seen, devices),
    )


def _noise(evidence: Evidence, unseen: str) -> Noise:
    """Return the verdict on evidence: never quiet where a monitor should have seen it and did not."""
    found = verdict.noise(evidence)
    return (
        Noise(verdict="unknown", reasons=(unseen,), about=("monitor",))
        if unseen and found.verdict != "noisy"
        else found
    )


def window_of(series: Series, reading: Reading) -> tuple[int, int] | None:
    """Return when a process measured, by its steps, else by its own word, else by when its rates were told."""
    begin, end = reading.measured.get("begin_ns"), reading.measured.get("end_ns")
    if series.begin_ns is not None and series.end_ns is not None:
        return series.begin_ns, series.end_ns
    if monitor.is_moment(begin) and monitor.is_moment(end) and begin < end:
        return begin, end
    first, last = reading.rated_ns or (0, 0)
    return (first, last) if monitor.is_moment(first) and monitor.is_moment(last) and first < last else None


def _account(readings: Sequence[Reading]) -> Account:
    """Return what a group says of its CPUs: the rank that waited most, since all wait for the slowest."""
    return max((_account_of(reading.measured) for reading in readings), key=lambda each: each["wait_share"] or -1.0)


def _account_of(measured: Mapping[str, Any]) -> Account:
    seconds = _wall_s(measured)
    return Account(
        cpu_share=_over(measured.get("cpu_s"), seconds),
        wait_share=_over(measured.get("wait_s"), seconds),
        involuntary_per_s=_over(measured.get("involuntary"), seconds),
    )


def _wall_s(measured: Mapping[str, Any]) -> float:
    """Return how long a process's account is of; files that do not say it have the wall clock's word for it only."""
    seconds = measured.get("wall_s")
    if is_number(seconds):
        return float(seconds)
    begin, end = measured.get("begin_ns"), measured.get("end_ns")
    return (end - begin) / 1e9 if monitor.is_moment(begin) and monitor.is_moment(end) else 0.0


def _over(amount: object, seconds: float) -> float | None:
    return amount / seconds if is_number(amount) and amount >= 0 and seconds > 0 else None


def _with_seen(own: Evidence, seen: Window, devices: Sequence[Device]) -> Evidence:
    """Return what a process says of itself with what the monitor of its node saw."""
    errors = _errors(seen, devices)
    return replace(
        own,
        others_share=_others(seen),
        pressure_share=seen.wall_share(seen.growth(seen.stretch.columns.get("pressure_s"))),
        steal_share=seen.cpu_share(seen.growth(seen.stretch.columns.get("steal_s"))),
        clock_share=_clock(seen, devices),
        throttled=tuple(dict.fromkeys(word for each in devices for word in seen.throttled(each))),
        ecc_errors=sum(each.uncorrected for each in errors.values()) if errors else None,
    )


def _others(seen: Window) -> float | None:
    """Return the share of the CPUs that went neither to what the agent started nor to the monitor itself."""
    columns = seen.stretch.columns
    busy, ours = (seen.growth(columns.get(name)) for name in ("busy_s", "ours_s"))
    if busy is None or ours is None or seen.cpu_share(busy) is None:
        return None
    return seen.cpu_share(max(busy - ours - (seen.growth(columns.get("own_cpu_s")) or 0.0), 0.0))


def _clock(seen: Window, devices: Sequence[Device]) -> float | None:
    """Return the lowest clock over the highest: of the device where it fell most, else of the CPUs."""
    several = [each.columns.get("clock_mhz") for each in devices] or [seen.stretch.columns.get("mhz")]
    clocks = [values for values in map(seen.values, several) if values and min(values) > 0]
    return min((min(values) / max(values) for values in clocks), default=None)


def _errors(seen: Window, devices: Sequence[Device]) -> dict[str, Ecc]:
    """Return the memory errors that devices counted in a window, of those that count any."""
    found: dict[str, Ecc] = {}
    for each in devices:
        grown = [seen.growth(each.columns.get(name)) for name in ("corrected", "uncorrected")]
        if grown != [None, None]:
            corrected, uncorrected = (round(value or 0.0) for value in grown)
            found[each.name] = Ecc(corrected=corrected, uncorrected=uncorrected)
    return found


def energy_of(seen: Window, devices: Sequence[Device], wanted: int) -> Energy | None:
    """Return what a window took: of the ``wanted`` devices of a process where it has any, else of the whole machine.

    None where not all of them say: a part of it would be taken for the whole.
    """
    if wanted:
        return _of_devices(seen, devices) if len(devices) == wanted else None
    columns = seen.stretch.columns
    packages = {name.removeprefix("rapl."): column for name, column in columns.items() if name.startswith("rapl.")}
    if packages:
        return _energy(seen, {name: seen.power(each) for name, each in packages.items()}, "RAPL of the whole machine")
    return _energy(seen, {"machine": seen.mean(columns.get("ipmi_w"))}, "IPMI of the whole machine")


def _of_devices(seen: Window, devices: Sequence[Device]) -> Energy | None:
    counted = {each.name: seen.power(each.columns.get("energy_j")) for each in devices}
    sampled = {each.name: seen.mean(each.columns.get("power_w")) for each in devices}
    return _energy(seen, counted, "device counter") or _energy(seen, sampled, "power samples")


def _energy(seen: Window, watts: Mapping[str, float | None], source: EnergySource) -> Energy | None:
    """Return the energy of a window by the mean power of each part; None where one is not known."""
    known = {name: power * seen.asked_s for name, power in watts.items() if power is not None}
    if not known or len(known) < len(watts):
        return None
    return Energy(joules=math.fsum(known.values()), seconds=seen.asked_s, source=source, parts=known)
