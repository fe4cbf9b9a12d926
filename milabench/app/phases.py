"""What the verbs that start processes share: a local agent, its facts, a phase run to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from milabench import plan as planning
from milabench import resources
from milabench.app.multirun import Asked
from milabench.app.options import Options
from milabench.app.signals import ended_at_once, heeded
from milabench.app.workspace import assembled, check_index, indexes, put_together, resolve_suite, resolve_system, site
from milabench.console import Console
from milabench.errors import ExitCode, HostLost, PreflightError
from milabench.execute import Interrupt, Setting, TrialEnded, execute
from milabench.execute.hosts import MONITOR_S, Host
from milabench.execute.hosts.local import LocalHost
from milabench.execute.scheduler import Records
from milabench.options import OPTIONS as SYSTEM_OPTIONS
from milabench.outcome import GOOD, Outcome
from milabench.plan import Once, Phase, Plan, Trial, Workspace
from milabench.plan.environ import redacted_message, secrets
from milabench.record import Record
from milabench.setuplogs import SetupLogs
from milabench.suite import Suite
from milabench.system.types import System

Outcomes = Mapping[str, Outcome]
_HOLD_S = 30  # the ladder of signals and the look that everything is gone take half of it
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A verb at work: its options, the agent of this machine, where it shows what happens, and the wish to stop."""

    options: Options
    console: Console
    host: Host
    interrupt: Interrupt

    async def workspace(self, *, installing: bool = False) -> Workspace:
        """Return what plans are made of on this machine; ``installing`` fetches what definitions name by git first.

        Raises PreflightError when asked-for devices are missing.
        """
        return (await self.workspaces([Asked(options=self.options)], installing=installing))[0]

    async def workspaces(self, runs: Sequence[Asked], *, installing: bool = False) -> list[Workspace]:
        """Return the same for each of several runs, of one suite; warnings that they share are told once."""
        options = self.options
        arch = options.arch
        reach = indexes() if installing and not options.offline else {}
        facts = (await self.host.request("probe", arch=arch, reach=reach))["facts"]
        if reach:
            check_index(facts, options.environ)
        with ended_at_once():
            selected, systems = resolve_suite(options), []
        for each in runs:
            with each.told_at_its_place():
                systems.append(resolve_system(each.options, facts))
            _check_is_built(systems[-1])
            _check_devices(systems[-1], facts)
        unfetched = await self.fetch(selected) if installing else {}
        found = [assembled(options, selected, resolved, unfetched) for resolved in systems]
        laid = (each.at_its_place(told) for each, known in zip(runs, systems, strict=True) for told in known.warnings)
        for warning in dict.fromkeys((*selected.warnings, *laid)):
            self.console.note(f"warning {warning.code}: {redacted_message(str(warning), secrets(options.environ))}")
        return found

    async def set_up_all(self, phase: Phase, several: Sequence[Workspace]) -> Outcomes:
        """Run install or prepare for several runs, once for those that need the same; a failure is kept."""
        done: list[tuple[Trial, ...]] = []
        outcomes: dict[str, Outcome] = {}
        for ready in several:
            trials = planning.plan(ready, phase).trials
            if trials not in done and not self.interrupt.asked:
                done.append(trials)
                failed = {name: outcome for name, outcome in outcomes.items() if outcome.kind not in GOOD}
                outcomes |= {**await self.set_up(phase, ready), **failed}
        return outcomes

    async def fetch(self, selected: Suite) -> dict[str, str]:
        """Fetch the repositories that definitions name; return the benchmarks without theirs, with the reason."""
        sources = {each.name: each.source for each in selected.benchmarks if each.source is not None}
        options = self.options
        plan = planning.fetches(sources.values(), site(options), options.environ, refresh=options.refresh)
        if not plan.trials:
            return {}
        outcomes = await self.carry_out(plan, SetupLogs(options.base))
        unreached = Outcome(kind="interrupted", reason="interrupted by the operator")
        ended = {name: outcomes.get(source.key, unreached) for name, source in sources.items()}
        return {
            name: f"its definition could not be fetched: {outcome.reason}"
            for name, outcome in ended.items()
            if outcome.kind not in GOOD
        }

    async def set_up(self, phase: Phase, ready: Workspace) -> Outcomes:
        """Run install or prepare; their processes log below the base."""
        with ended_at_once():
            plan = planning.plan(ready, phase)
            put_together(ready, plan)
        for note in plan.notes:
            self.console.note(f"unpinned: {note} is installed as written: no lock, or changed since (`milabench pin`)")
        return await self.carry_out(plan, SetupLogs(self.options.base))

    async def carry_out(
        self, plan: Plan, records: Records, blocked: Mapping[str, str] | None = None, *, side_by_side: bool = False
    ) -> Outcomes:
        """Run a phase to its end and return what came of each trial that was reached.

        What was lost with its node's agent is run once more: another agent may be there by then.
        """
        _make_base(self.options.base)
        setting = Setting(
            hosts=dict.fromkeys(_nodes(plan), self.host),
            records=records,
            interrupt=self.interrupt,
            secrets=self.options.environ,
            side_by_side=side_by_side,
        )
        outcomes = await self._executed(plan, setting, blocked or {})
        kept = {trial for trial, outcome in outcomes.items() if outcome.kind != "lost"}
        if len(kept) < len(outcomes) and not self.interrupt.asked:
            lost = planning.remaining(plan, kept)
            self.console.note(f"{len(lost.trials)} went with the agent of their node and are run again")
            outcomes |= await self._executed(lost, setting, {})
        return outcomes

    async def _executed(self, plan: Plan, setting: Setting, blocked: Mapping[str, str]) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        async with self.console.phase(plan, setting.records, lambda: self.host.request("usage")):
            async for happening in execute(plan, setting, blocked):
                self.console.show(happening)
                if isinstance(happening, TrialEnded):
                    outcomes[happening.trial.id] = happening.outcome
        return outcomes

    async def missing(self, onces: Mapping[str, Once]) -> list[str]:
        """Return the names of those whose records do not cover what is asked."""
        reply = await self.host.request("missing", onces={name: asdict(once) for name, once in onces.items()})
        return list(reply["names"])

    async def hold(self, record: Record) -> None:
        """Wait until nothing lives any more that a runner before this one started for the run.

        A runner that was killed leaves its agent, which needs some seconds to end everything. Raises PreflightError
        when that takes too long.
        """
        told = False
        for _ in range(round(_HOLD_S / _LOOK_S)):
            if (await self.host.request("hold", path=str(record.hold_path)))["held"] or self.interrupt.asked:
                return
            if not told:
                self.console.note("waiting for the processes of the runner before to end")
                told = True
            await asyncio.sleep(_LOOK_S)
        raise PreflightError(
            f"processes that an earlier runner started for {record.path} are still alive after {_HOLD_S} s: end them"
        )

    @asynccontextmanager
    async def monitored(self, record: Record, plan: Plan) -> AsyncIterator[None]:
        """Have samples of each node of a plan taken into the run; without them it runs all the same, and says so."""
        facts = record.facts()
        interval_s = facts.get("monitor_interval_s", SYSTEM_OPTIONS["monitor.interval"].default)
        nodes = _nodes(plan) if interval_s else set()
        system = facts.get("system", {})
        settings = {"interval_s": interval_s, "arch": system.get("arch"), "devices": _known(system.get("devices", ()))}
        for node in sorted(nodes):
            path = str(record.monitor_path(node))
            await self._monitor(path=path, node=node, nvml=resources.nvml_binding(), **settings)
        try:
            yield
        finally:
            for _ in nodes:
                await self._monitor(path=None)

    async def _monitor(self, **settings: Any) -> None:
        try:
            await asyncio.wait_for(self.host.request("monitor", **settings), MONITOR_S)
        except (PreflightError, HostLost, asyncio.TimeoutError) as problem:
            if settings["path"] is not None:
                told = str(problem) or f"it has not begun after {MONITOR_S:.0f} s"
                self.console.note(f"warning: the node is not monitored: {told}")

    def exit_code(self, outcomes: Outcomes, bad: ExitCode) -> ExitCode:
        if self.interrupt.asked:
            return ExitCode.INTERRUPTED
        return ExitCode.OK if all(outcome.kind in GOOD for outcome in outcomes.values()) else bad


@asynccontextmanager
async def operation(options: Options, console: Console) -> AsyncIterator[Operation]:
    """Start the agent, and heed who asks for an end."""
    interrupt = Interrupt()
    with heeded(interrupt, console):
        async with LocalHost(resources.import_path(), options.environ) as host:
            yield Operation(options=options, console=console, host=host, interrupt=interrupt)


def _nodes(plan: Plan) -> set[str]:
    return {command.node for trial in plan.trials for job in trial.jobs for command in job.commands}


def _known(devices: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what tells devices apart."""
    names = ("id", "uuid", "gpu_uuid", "parent")
    return [{name: each[name] for name in names if name in each} for each in devices]


def _check_is_built(system: System) -> None:
    """Raise PreflightError where the system asks for what would be passed over: other machines, containers."""
    main = system.main
    look = "`milabench plan` shows what would be started"
    if len(system.nodes) > 1:
        raise PreflightError(f"runs over several nodes are not built yet: give a system file with one node; {look}")
    if not main.local:
        where = f"node {main.name} ({main.address}) is not this machine"
        raise PreflightError(f"{where}, and runs on other machines are not built yet: run milabench there; {look}")
    if system.container is not None:
        what = f"the system asks for the container image {system.container}"
        drop = "drop it where it is set: docker_image or docker.image of the system, or MILABENCH_DOCKER_IMAGE"
        raise PreflightError(f"{what}, and containers are not built yet: {drop}; {look}")


def _make_base(base: Path) -> None:
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PreflightError(f"cannot make {base}: {error.strerror}: choose another --base") from None


def _check_devices(system: System, facts: Mapping[str, object]) -> None:
    """Raise PreflightError where the system asks for what this machine does not have."""
    wanted, main, devices = system.arch, system.main, facts["devices"]
    assert isinstance(devices, list)
    if wanted == "cpu":
        return
    if facts["arch"] != wanted or not main.devices:
        found = f"{len(devices)} {facts['arch']} devices" if devices else "no accelerator"
        raise PreflightError(
            f"the system asks for {wanted}, this machine has {found}: check the driver, or give --arch cpu"
        )
    if len(main.devices) > len(devices):
        known = sorted(device["id"] for device in devices)
        asked = f"the system asks for {len(main.devices)} {wanted} devices, this machine has {len(devices)}"
        raise PreflightError(f"{asked}, of the numbers {known}: ask for fewer")
