"""``milabench run``: the benchmarks, one after the other, into a run directory."""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from milabench import plan as planning
from milabench.amounts import many
from milabench.app import preflight, sizing
from milabench.app.facts import facts, resolved
from milabench.app.multirun import Asked, asked
from milabench.app.options import Options
from milabench.app.phases import Operation, operation
from milabench.app.signals import ended_at_once
from milabench.app.unbundle import unpacked
from milabench.app.workspace import put_together
from milabench.console import Console
from milabench.errors import ConfigurationError, DiskFull, ExitCode, PreflightError, UsageError
from milabench.execute import any_side_by_side
from milabench.outcome import GOOD, Outcome
from milabench.paths import expanded
from milabench.plan import Phase, Plan, Workspace
from milabench.preflight import Finding
from milabench.record import Record
from milabench.rundir import RunDir
from milabench.slurm import records
from milabench.system.multirun import TIME

_LONG = 5_000  # trials whose planning takes a second or more
_FIRST = (
    "amber",
    "bold",
    "brisk",
    "calm",
    "clear",
    "eager",
    "fair",
    "keen",
    "lucid",
    "quiet",
    "sharp",
    "swift",
    "vivid",
)
_SECOND = (
    "anvil",
    "badger",
    "comet",
    "falcon",
    "harbor",
    "lantern",
    "maple",
    "otter",
    "raven",
    "summit",
    "tundra",
    "wren",
)


BEGINS: Final = " to run, at most "  # what is told where all is set up and looked at, and a run begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A run that is asked for, what its plan was made of, and the plan."""

    asked: Asked
    ready: Workspace
    plan: Plan


async def run(
    options: Options,
    console: Console,
    ended: Callable[[RunDir], None],
    *,
    everything: bool = False,
    force: bool = False,
) -> ExitCode:
    """Run the suite, once or for each run of a multirun, and hand each run that began to ``ended``.

    With ``everything`` install and prepare first: a benchmark whose environment or data could not be made counts as
    failed; the others run. Return the worst exit code of all runs. What is wrong with any of them, or not there, is
    told before the first begins; ``force`` goes on where that stands in the way.
    """
    options = unpacked(options, console)
    several = asked(options)
    if several[0].variation is not None and options.run_name and options.run_name[0] in "/.~":
        raise UsageError(f"--run-name {options.run_name}: a multirun makes several: give what their names begin with")
    async with operation(options, console) as work:
        spaces = await work.workspaces(several, installing=everything)
        _say_number(console, several, spaces)
        runs = [with_plan(each, ready) for each, ready in zip(several, spaces, strict=True)]
        found = await preflight.check(work, [subject(each, ahead=everything) for each in runs], force=force)
        code = ExitCode.OK
        set_up: list[tuple[object, Mapping[str, str]]] = []
        for number, planned in enumerate(runs, 1):
            if work.interrupt.asked:
                if number > 1:
                    console.note(f"{len(runs) - number + 1} of {len(runs)} runs of the multirun were not begun")
                return ExitCode.INTERRUPTED
            if planned.asked.variation is not None:
                console.note(f"run {number} of {len(runs)}, {planned.asked.title}")
            each = _renewed(planned)
            blocked = await _once(work, each.ready, set_up) if everything else {}
            if work.interrupt.asked:
                console.note("no run has begun: type the same again; what is there already is not made again")
                return ExitCode.INTERRUPTED
            if everything:  # later runs are not held up: what came up meanwhile is told, and recorded
                able = subject(each, without=blocked)
                found = await preflight.check(work, [able], force=force or number > 1, known=found)
            code = max(code, await _carry_out(work, each, blocked, ended, found))
        return code


def _say_number(console: Console, several: Sequence[Asked], spaces: Sequence[Workspace]) -> None:
    """Say how much is planned, where that takes a while."""
    numbers = [each.options.repeats * len(space.suite.benchmarks) for each, space in zip(several, spaces, strict=True)]
    if sum(numbers) > _LONG and max(numbers) <= planning.MOST_JOBS:
        console.note(f"planning {sum(numbers):,} trials")


def with_plan(each: Asked, ready: Workspace) -> Planned:
    """Return a run with its plan. Raises PreflightError where nothing of it can run on the system."""
    with each.told_at_its_place(), ended_at_once():
        plan = planning.plan(ready, "run", repeats=each.options.repeats)
    if not plan.trials:
        which = f"of run {each.name} " if each.variation is not None else ""
        reasons = "; ".join(f"{skip.benchmark}: {skip.reason}" for skip in plan.skipped)
        raise PreflightError(f"nothing {which}can run on this system: {reasons}")
    return Planned(asked=each, ready=ready, plan=plan)


def subject(each: Planned, *, ahead: bool = False, without: Collection[str] = ()) -> preflight.Subject:
    """Return what is looked at before a run; ``ahead``: install and prepare come first."""
    phases: tuple[Phase, ...] = ("install", "prepare") if ahead else ()
    options = each.asked.options
    return each.ready.system, preflight.wanted(options, each.ready, each.plan, ahead=phases, without=without)


def _renewed(each: Planned) -> Planned:
    """Return a run planned with what those before it have added to its scaling file."""
    known = sizing.wanted(each.ready.system)
    return each if known == each.ready.scaling else with_plan(each.asked, replace(each.ready, scaling=known))


async def _carry_out(
    work: Operation,
    each: Planned,
    blocked: Mapping[str, str],
    ended: Callable[[RunDir], None],
    found: Iterable[Finding],
) -> ExitCode:
    """Make one run's directory and fill it."""
    plan = each.plan
    put_together(each.ready, plan)
    known = await facts(work, each.ready, plan, found)
    if each.asked.variation is not None:
        known["multirun"] = {"name": each.asked.name, "options": each.asked.values}
    record = Record.create(path_of(each.asked.options), plan=plan, facts=known, suite=resolved(each.ready))
    return await fill(work, plan, record, ended, blocked)


async def fill(
    work: Operation,
    plan: Plan,
    record: Record,
    ended: Callable[[RunDir], None],
    blocked: Mapping[str, str] = MappingProxyType({}),
) -> ExitCode:
    """Run what is left of a plan into its record, hand that to ``ended``, and return the exit code of the whole run."""
    side_by_side, state = record.facts().get("side_by_side") is True, "failed"  # if what follows raises
    full: DiskFull | None = None
    try:
        await work.hold(record)
        where = "these nodes" if len(work.hosts) > 1 else "this machine"
        work.console.note(f"{len(plan.trials)}{BEGINS}{_span(plan.time_bound_s)} on {where}")
        if side_by_side and not any_side_by_side(plan):
            work.console.note("side by side: no two of them use other devices here, so each runs alone")
        async with work.monitored(record, plan):
            await work.carry_out(plan, record, blocked, side_by_side=side_by_side)
        whole = record.plan()
        left = planning.remaining(whole, record.decided(whole))
        state = "interrupted" if work.interrupt.asked else "incomplete" if left.trials else "complete"
    except DiskFull as error:  # what has ended can be reported all the same
        full, state = error, "incomplete"
    finally:
        record.finish("interrupted" if work.interrupt.asked else state)
        if state != "complete":
            work.console.note(f"{record.path.name} is not complete: {_going_on(record, work.options)}")
    if state == "complete":
        _save_sizes(record, work.console)
    ended(record)
    if full is not None:
        raise full
    return work.exit_code(record.outcomes(), ExitCode.FAILED)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _going_on(record: RunDir, options: Options) -> str:
    """Return the command that goes on with a run: by its name where it lies below the base, else by its path."""
    if records.is_submitted(record.path):
        return records.resuming(record.path)
    below = record.path.parent == options.base / "runs"
    base = [] if options.environ.get("MILABENCH_BASE") == str(options.base) else ["--base", str(options.base)]
    return shlex.join(["milabench", "resume", *([record.path.name, *base] if below else [str(record.path)])])


async def _once(work: Operation, ready: Workspace, known: list[tuple[object, Mapping[str, str]]]) -> Mapping[str, str]:
    """Set everything up unless that has been done for a run that needs the same; ``known`` has what came of it."""
    needed = [planning.plan(ready, phase).trials for phase in ("install", "prepare")]
    for other, blocked in known:
        if other == needed:
            return blocked
    blocked = await _set_all_up(work, ready)
    known.append((needed, blocked))
    return blocked


def _save_sizes(record: RunDir, console: Console) -> None:
    """Write what the run shows of batch sizes where ``sizer.save`` says; the run has ended well if that fails."""
    name = record.facts().get("save_sizes")
    if not isinstance(name, str):
        return
    try:
        count = sizing.save(record.plan(), record, expanded(name))
    except (ConfigurationError, OSError) as error:
        console.note(f"warning: {name} has not taken what the run shows of batch sizes: {error}")
    else:
        console.note(f"{many(count, 'observation')} of batch sizes added to {name}")


async def _set_all_up(work: Operation, ready: Workspace) -> Mapping[str, str]:
    """Install and prepare everything; return the benchmarks that cannot run, with the reason."""
    installed = await work.set_up("install", ready)
    blocked = dict(ready.unfetched) | {
        benchmark.name: f"its environment {benchmark.install_group!r} could not be made: {_reason(outcome, ready)}"
        for benchmark in ready.suite.benchmarks
        if benchmark.definition is not None
        and (outcome := installed.get(benchmark.install_group)) is not None
        and outcome.kind not in GOOD
    }
    if work.interrupt.asked:
        return blocked
    able = tuple(benchmark for benchmark in ready.suite.benchmarks if benchmark.name not in blocked)
    prepared = await work.set_up("prepare", replace(ready, suite=replace(ready.suite, benchmarks=able)))
    failures = {
        name: f"its preparation failed: {_reason(outcome, ready)}"
        for name, outcome in prepared.items()
        if outcome.kind not in GOOD
    }
    return {**blocked, **failures}


def _reason(outcome: Outcome, ready: Workspace) -> str:
    """Return why something could not be made; on several nodes with the process that failed, which names its node."""
    where = f" ({outcome.tag})" if len(ready.system.nodes) > 1 and outcome.tag else ""
    return f"{outcome.reason}{where}"


def path_of(options: Options) -> Path:
    """Return where the run goes: ``runs/<name>.<time>``, or the path itself where the name is one."""
    name = options.run_name
    if name and name[0] in "/.~":
        return expanded(name).absolute()
    now = time.strftime("%Y-%m-%d_%H-%M-%S", time.gmtime())
    name = name.replace(f"{{{TIME}}}", now) if name else None
    while True:
        path = options.base / "runs" / f"{name or f'{random.choice(_FIRST)}_{random.choice(_SECOND)}'}.{now}"
        if name or not path.exists():
            return path
