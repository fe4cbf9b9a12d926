"""One process: its lines and steps, its place in the plan and the journal's word on its trial → ProcessSummary.

The further ranks of a group that it leads are a part of it: their losses and their memory are its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmate.statistics import Estimate
from benchmate.wire import is_number
from milabench.outcome import GOOD, KINDS, Kind, Outcome, step_of
from milabench.plan.environ import SELECTION_VARIABLES
from milabench.plan.types import Command, Plan
from milabench.summary import legacy
from milabench.summary.measured import measured
from milabench.summary.reading import Reading
from milabench.summary.speed import speed_of, steadiness_of
from milabench.summary.surroundings import Site, surroundings_of
from milabench.summary.types import Losses, Memory, Precision, ProcessSummary, Run
from milabench.summary.watched import Watched

_DEVICE = re.compile(r"D\d+")
_REPEAT = re.compile(r"R(\d+)")
_INTERRUPTS = ("KeyboardInterrupt", "CancelledError")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the plan puts a process: its trial and job, and the devices of it and of the whole job.

    ``node`` is its node's name, where a plan has it; ``several``: the plan has others too. ``shown``: the numbers or
    UUIDs by which its devices are shown to it.
    """

    benchmark: str
    trial: str
    job: str
    repeat: int
    devices: tuple[int | str, ...]
    ngpu: int
    node: str | None = None
    several: bool = False
    shown: frozenset[str] = frozenset()

    @property
    def in_job(self) -> tuple[str, str]:
        """Which job it belongs to."""
        return self.trial, self.job


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known of a run before its processes are read; ``index``: which of the runs that are pooled.

    ``watched``: what monitors saw, by node.
    """

    index: int
    planned: Mapping[str, Place]
    outcomes: Mapping[str, Outcome]
    neighbours: Mapping[str, tuple[str, ...]]
    cpu: bool
    watched: Watched = field(default_factory=Watched)


def places(plan: Plan, *, cpu: bool) -> dict[str, Place]:
    """Return the place of every process of a plan, by tag, in the plan's order; no devices where they are the CPU."""
    found: dict[str, Place] = {}
    nodes = {command.node for trial in plan.trials for job in trial.jobs for command in job.commands}
    for trial in plan.trials:
        for job in trial.jobs:
            used = {(command.node, device) for command in job.commands for device in command.devices}
            for command in job.commands:
                named = (device if len(nodes) == 1 else f"{command.node}:{device}" for device in command.devices)
                found[command.tag] = Place(
                    benchmark=trial.benchmark,
                    trial=trial.id,
                    job=job.tag,
                    repeat=trial.repeat,
                    devices=() if cpu else tuple(named),
                    ngpu=0 if cpu else len(used),
                    node=command.node,
                    several=len(nodes) > 1,
                    shown=frozenset() if cpu else _shown(command),
                )
    return found


def _shown(command: Command) -> frozenset[str]:
    """Return what a command's devices are shown to it by: the variable that selects them, else their numbers.

    Where a GPU is divided the numbers of a plan are not those of the vendor's tool, and that variable has UUIDs.
    """
    shown = [command.env[name] for name in SELECTION_VARIABLES.values() if name in command.env]
    names = ",".join(shown).split(",") if shown else map(str, command.devices)
    return frozenset(name for name in names if name)  # the variable may be empty: no device at all


def summarize_process(run: Run, tag: str, context: Context) -> ProcessSummary | Reading:
    """Return what came of a process, or only the reading of a file that is of none."""
    place = context.planned.get(tag)
    found = measured(run, tag)
    reading, series = found.reading, found.series
    if place is None and (_is_of_none(reading) or legacy.is_setup(reading.config)):
        return reading
    benchmark = place.benchmark if place else str(reading.config.get("name") or tag.split(".", 1)[0])
    parts = parts_of(reading.config, tag, benchmark)
    repeat = place.repeat if place else next((int(m[1]) for part in parts if (m := _REPEAT.fullmatch(part))), 0)
    trial = place.trial if place else f"{benchmark}.R{repeat}" if repeat else benchmark
    place = place or _legacy_place(reading.config, benchmark, trial, repeat, context.cpu)
    outcome = _outcome(reading, context.outcomes.get(trial), measured=len(series) > 0 or bool(found.nothing))
    if found.nothing and outcome.kind in GOOD:
        outcome = Outcome(kind="failed", reason=found.nothing)
    neighbours, speed = context.neighbours.get(trial, ()), replace(speed_of(series), load_s=_load_s(reading))
    return ProcessSummary(
        tag=tag,
        benchmark=benchmark,
        repeat=(context.index, repeat),
        place=without_repeat(parts),
        slot=_slot(reading.config, parts, place, planned=tag in context.planned),
        outcome=outcome.kind,
        reason=outcome.reason,
        series=series,
        losses=_losses(reading, found.ranks),
        memory=Memory.most(map(_memory, (reading, *found.ranks))),
        started=_started(reading),
        seconds=_seconds(reading),
        devices=place.devices,
        ngpu=place.ngpu,
        config=reading.config,
        task=reading.task,
        neighbours=neighbours,
        warnings=(*_damage(run, tag), *_warnings(reading, tag), *found.warnings),
        speed=speed,
        missing_ranks=found.missing,
        precision=_precision(reading, speed.throughput) if len(series) else None,
        steadiness=steadiness_of(series.rates, step_of(reading.task)),
        surroundings=surroundings_of(series, (reading, *found.ranks), _site(place, context, len(neighbours))),
    )


def _load_s(reading: Reading) -> float | None:
    load_s = reading.measured.get("load_s")
    return float(load_s) if is_number(load_s) and load_s >= 0 else None


def _site(place: Place, context: Context, neighbours: int) -> Site:
    node = place.node or ""
    return Site(
        node=place.node,
        shown=place.shown,
        stretches=context.watched.stretches.get(node, ()),
        unseen=context.watched.unseen.get(node, ""),
        ahead_ns=context.watched.ahead_ns.get(node, 0),
        neighbours=neighbours,
    )


def _is_of_none(reading: Reading) -> bool:
    return not (reading.config or reading.start or reading.end or reading.rates)


def parts_of(config: Mapping[str, Any], tag: str, benchmark: str) -> list[str]:
    """Return the parts of a tag after the benchmark's name."""
    written = config.get("tag")
    if isinstance(written, list) and written:
        return [str(part) for part in written[1:]]
    return tag.removeprefix(benchmark).lstrip(".").split(".")


def without_repeat(parts: list[str]) -> str:
    return ".".join(part for part in parts if not _REPEAT.fullmatch(part))


def _slot(config: Mapping[str, Any], parts: list[str], place: Place, *, planned: bool) -> str | None:
    """Return what a process has to itself: its ``D<id>`` (and node), or its node where there is one on each of several.

    In other tools' runs it is the config's device, whatever the tag says.
    """
    device = config.get("device")
    if device is not None and not planned:
        return f"D{device}"
    if any(_DEVICE.fullmatch(part) for part in parts):
        return without_repeat(parts)
    if place.several and _method(config) == "per_node":
        return place.node
    return None if device is None else f"D{device}"


def _method(config: Mapping[str, Any]) -> object:
    plan = config.get("plan")
    return plan.get("method") if isinstance(plan, dict) else None


def _legacy_place(config: Mapping[str, Any], benchmark: str, trial: str, repeat: int, cpu: bool) -> Place:
    """Return the place of a process that no plan knows, from its own config."""
    written = config.get("devices") or [config.get("device")]
    several = map(str, written) if isinstance(written, list) else ()
    devices = tuple(int(device) for device in several if device.isdecimal())
    nodes = config.get("num_machines")
    local = len(devices) if _method(config) == "njobs" else 1
    return Place(
        benchmark=benchmark,
        trial=trial,
        job="",
        repeat=repeat,
        devices=() if cpu else devices,
        ngpu=0 if cpu else local * (nodes if isinstance(nodes, int) else 1),
    )


def _outcome(reading: Reading, journal: Outcome | None, *, measured: bool) -> Outcome:
    end = reading.end
    if end is None:
        return journal or Outcome(
            kind="lost", reason="its end was not recorded: the run was cut off, or is still going"
        )
    kind = end.get("outcome")
    if kind in KINDS:
        return Outcome(kind=kind, reason=str(end.get("reason") or (reading.error if kind == "failed" else "")))
    return _by_exit(reading, end.get("return_code", end.get("code")), measured=measured)


def _by_exit(reading: Reading, code: object, *, measured: bool) -> Outcome:
    """Judge a process by its exit code, as milabench did: one that stopped early was well, whatever followed."""
    nolog = reading.config.get("tag")
    if reading.stopped:
        return Outcome(kind="early_stop")
    if isinstance(nolog, list) and "nolog" in nolog:
        return Outcome(kind="ok")
    if code != 0:
        return _ended_badly(reading, code)
    if reading.nan_loss:
        return Outcome(kind="failed", reason="a loss is NaN")
    if measured:
        return Outcome(kind="ok")
    return Outcome(kind="failed", reason=_why("exit code 0, but no rate was measured", reading))


def _ended_badly(reading: Reading, code: object) -> Outcome:
    """Return what an exit code other than 0 means; milabench wrote ``ERROR`` where the runner itself was ended."""
    if reading.deadline:
        return Outcome(kind="timeout", reason=reading.deadline)
    if not isinstance(code, int):
        kind: Kind = "interrupted" if reading.error.startswith(_INTERRUPTS) else "failed"
        return Outcome(kind=kind, reason=_why("the run was ended before it", reading))
    if code < 0:
        return Outcome(kind="killed", reason=_why(f"signal {-code}", reading))
    return Outcome(kind="failed", reason=_why(f"exit code {code}", reading))


def _why(how: str, reading: Reading) -> str:
    """Return how a process ended with the error that it told, else that it printed, else of its instruments."""
    error = reading.error or reading.said or reading.instrument
    return f"{how}: {error}" if error else how


def _losses(reading: Reading, ranks: Sequence[Reading]) -> Losses | None:
    """Return the losses of a process; of ranks whose own say nothing more only how many and whether any was none."""
    several = (reading, *ranks)
    told = next((each for each in several if each.losses), None)
    if told is None:
        return None
    return Losses(
        first=told.first_loss,
        last=told.last_loss,
        n=sum(each.losses for each in several),
        nan=any(each.nan_loss for each in several),
    )


def _memory(reading: Reading) -> Memory | None:
    if reading.device_bytes:
        return Memory(peak_bytes=reading.device_bytes, source="device")
    resident = (reading.end or {}).get("max_rss_bytes")
    peak = max(int(resident) if is_number(resident) else 0, reading.host_bytes)
    return Memory(peak_bytes=peak, source="host") if peak > 0 else None


def _started(reading: Reading) -> float | None:
    first = (reading.start or {}).get("time")
    return float(first) if is_number(first) else None


def _seconds(reading: Reading) -> float | None:
    end = reading.end or {}
    if is_number(seconds := end.get("seconds")):
        return float(seconds)
    first, last = (reading.start or {}).get("time"), end.get("time")
    return float(last - first) if is_number(first) and is_number(last) else None


def _precision(reading: Reading, found: Estimate) -> Precision | None:
    """Return how precise a rate was to be, by the process's config, and is."""
    asked: Any = reading.config
    for key in ("voir", "options", "stop", "precision"):
        asked = asked.get(key) if isinstance(asked, dict) else None
    if not is_number(asked) or asked <= 0:
        return None
    return Precision(asked=float(asked), reached=found.relative_error, ended_by=reading.limit)


def _damage(run: Run, tag: str) -> Iterator[str]:
    if damage := run.damage(tag):
        yield f"{tag}: {damage}"


def _warnings(reading: Reading, tag: str) -> Iterator[str]:
    """Say what of a file is not in the summary, and why."""
    if reading.bad:
        yield f"{tag}: {reading.bad} lines of its .data file are no events and were left out{_of_bad(reading)}"
    if reading.refused:
        first = f" (the first: {reading.why_refused})" if reading.why_refused else ""
        told = f"{reading.refused} lines that it printed look like metrics and are none"
        yield f"{tag}: {told}: its .data file says why{first}"
    if reading.lost:
        yield f"{tag}: {reading.lost} events are missing from its .data file"
    if reading.torn:
        yield (
            f"{tag}: {reading.torn} lines were torn when they were written (format_error): {reading.torn_rates} rates"
            " in them do not count, as in milabench"
        )
    if reading.nonfinite:
        yield f"{tag}: {reading.nonfinite} rates are no finite numbers and were left out"
    if reading.tasks:
        named = ", ".join(sorted(reading.tasks))
        yield f"{tag}: {reading.tasks.total()} rates are of other tasks than train ({named}) and were left out"
    if reading.units:
        named = ", ".join(sorted(reading.units))
        yield f"{tag}: {reading.units.total()} rates are not in {reading.unit} ({named}) and were left out"
    if reading.unknown:
        named = ", ".join(sorted(reading.unknown))
        yield f"{tag}: {reading.unknown.total()} events are of kinds unknown here ({named}) and were left out"
    if reading.earlier:
        yield (
            f"{tag}: {reading.earlier + 1} attempts wrote its file: the last one counts, {reading.earlier_rates} rates"
            " of the others were left out"
        )
    if reading.instrument:
        yield f"{tag}: an instrument failed: {reading.instrument}"


def _of_bad(reading: Reading) -> str:
    """Say what else is known of the damaged lines."""
    told = []
    if reading.salvaged:
        told.append(f"{reading.salvaged} whole records on them count")
    if reading.lost_rates:
        told.append(f"{reading.lost_rates} rates on them could not be read")
    return f" ({'; '.join(told)})" if told else ""
