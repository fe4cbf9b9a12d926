"""What the verbs that start processes share: the agents of all nodes, their facts, a phase run to its end."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from milabench import plan as planning
from milabench import resources, system
from milabench.app import containers, unbundle
from milabench.app.delivery import deliver
from milabench.app.fleet import Absent, Fleet, Survey
from milabench.app.links import opens
from milabench.app.multirun import Asked
from milabench.app.options import Options
from milabench.app.signals import ended_at_once, heeded
from milabench.app.workspace import (
    addresses,
    assembled,
    check_index,
    indexes,
    put_together,
    resolve_suite,
    resolve_system,
    site,
)
from milabench.console import Console
from milabench.errors import ExitCode, PreflightError
from milabench.execute import Interrupt, Setting, TrialEnded, execute
from milabench.execute.hosts import MONITOR_S, Host
from milabench.execute.hosts.local import LocalHost
from milabench.execute.setting import Records
from milabench.options import OPTIONS as SYSTEM_OPTIONS
from milabench.outcome import GOOD, Outcome, all_good
from milabench.plan import Image, Once, Phase, Plan, Trial, Workspace
from milabench.plan.environ import redacted_message, secrets
from milabench.record import Record
from milabench.rundir import RunDir
from milabench.setuplogs import SetupLogs
from milabench.suite import Suite
from milabench.system.file import SystemFile
from milabench.system.types import Allocation, Node, System

Outcomes = Mapping[str, Outcome]
_HOLD_S = 30  # the ladder of signals and the look that everything is gone take half of it
_HOLD_FAR_S = 120  # an agent elsewhere has to find out first that nobody is there any more
_LOOK_S = 0.2
_AT_HOME: tuple[Phase, ...] = ("fetch", "pin", "pack")  # what is about definitions is done where they are read
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A verb at work: its options, the agents of all nodes, where it shows what happens, and the wish to stop."""

    options: Options
    console: Console
    fleet: Fleet
    interrupt: Interrupt

    @property
    def host(self) -> Host:
        """The agent of this machine, be it a node or not."""
        return self.fleet.here

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The agents of the nodes that are connected."""
        return self.fleet.hosts

    async def workspace(self, *, installing: bool = False) -> Workspace:
        """Return what plans are made of; ``installing`` fetches what definitions name by git first.

        Raises Unreachable for nodes that cannot be used, PreflightError when asked-for devices are missing.
        """
        return (await self.workspaces([Asked(options=self.options)], installing=installing))[0]

    async def workspaces(
        self, runs: Sequence[Asked], *, installing: bool = False, absent: Absent = "make"
    ) -> list[Workspace]:
        """Return the same for each of several runs, of one suite; warnings that they share are told once.

        ``absent``: what is done on nodes that have no base.
        """
        options = self.options
        reach = indexes() if installing and not options.offline else {}
        with ended_at_once():
            selected = resolve_suite(options)
        systems = await self.systems(runs, reach=reach, absent=absent)
        for known in systems:
            check_devices(known)
            if reach:
                for name, facts in known.probed.items():
                    check_index(facts, options.environ, name if len(known.nodes) > 1 else None)
        unfetched = await self.fetch(selected) if installing else {}
        images = [await self.images(resolved, fetching=installing) for resolved in systems]
        found = [
            assembled(options, selected, resolved, unfetched, there)
            for resolved, there in zip(systems, images, strict=True)
        ]
        laid = (each.at_its_place(told) for each, known in zip(runs, systems, strict=True) for told in known.warnings)
        for warning in dict.fromkeys((*selected.warnings, *laid)):
            self.console.note(f"warning {warning.code}: {redacted_message(str(warning), secrets(options.environ))}")
        return found

    async def systems(
        self,
        runs: Sequence[Asked],
        *,
        reach: Mapping[str, list[str]] = _NOTHING,
        absent: Absent = "make",
        without: Collection[str] = (),
    ) -> list[System]:
        """Return the system of each of several runs, as its nodes tell of themselves: they are connected for it.

        ``without`` are nodes that are left out, and may leave none.
        """
        options = self.options
        facts = (await self.host.request("probe", arch=options.arch, reach=dict(reach)))["facts"]
        survey = Survey(base=str(options.base), arch=options.arch, reach=reach, absent=absent)
        found = []
        for each in runs:
            with each.told_at_its_place():
                described = resolve_system(each.options, facts)
            with self.interrupt.losing_nothing():
                told = await self.fleet.join(left_out(described, without), survey)
            with each.told_at_its_place():
                found.append(resolve_system(each.options, {**facts, **told.here}, told.remote))
        return [left_out(each, without) for each in found]

    async def recorded(self, said: SystemFile, survey: Survey, within: Allocation | None = None) -> System:
        """Return the system of nodes that are known one by one, as they are now: they are connected for it."""
        facts = (await self.host.request("probe", arch=survey.arch, reach=dict(survey.reach)))["facts"]
        facts = {"ips": list(addresses()), **facts}
        with self.interrupt.losing_nothing():
            told = await self.fleet.join(system.recorded(said, facts, within=within), survey)
        return system.recorded(said, {**facts, **told.here}, told.remote, within)

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

    async def images(self, known: System, *, fetching: bool) -> dict[str, Image]:
        """Return the container image of a system as its nodes have it; ``fetching``: it is fetched where it is not.

        Raises PreflightError where it cannot be. What is not there is left out: the look before a run tells of it.
        """
        container, nodes = planning.container(known, str(self.options.base)), [node.name for node in known.nodes]
        if container is None:
            return {}
        found = await containers.look(self.fleet.ask, container, nodes)
        if fetching and not self.options.offline and (absent := containers.absent(found)):
            plan = containers.fetching(container, absent)
            outcomes = await self.carry_out(plan, SetupLogs(self.options.base))
            containers.check_fetched(container, outcomes)
            found = await containers.look(self.fleet.ask, container, nodes)
        return {node: each.image for node, each in found.items() if each.image is not None}

    async def set_up(self, phase: Phase, ready: Workspace) -> Outcomes:
        """Run install or prepare; their processes log below the base. A bundle's data is brought before it is used."""
        with ended_at_once():
            plan = planning.plan(ready, phase)
            if phase == "install":
                unbundle.check(ready, plan)
            put_together(ready, plan)
        if phase == "install" and (asking := unbundle.asking(ready, plan)).trials:
            unbundle.check_answers(await self.carry_out(asking, SetupLogs(self.options.base)))
        for note in plan.notes:
            self.console.note(f"unpinned: {note} is installed as written: no lock, or changed since (`milabench pin`)")
        blocked: Mapping[str, str] = {}
        if phase == "prepare" and not self.interrupt.asked:
            blocked = await deliver(ready, plan, self.hosts, self.console, self.interrupt)
        return await self.carry_out(plan, SetupLogs(self.options.base), blocked)

    async def carry_out(
        self, plan: Plan, records: Records, blocked: Mapping[str, str] | None = None, *, side_by_side: bool = False
    ) -> Outcomes:
        """Run a phase to its end and return what came of each trial that was reached.

        What was lost with its node's agent is run once more: another agent may be there by then.
        """
        _make_base(self.options.base)
        nodes = nodes_of(plan)
        setting = Setting(
            hosts=dict.fromkeys(nodes, self.host) if plan.phase in _AT_HOME else {n: self.hosts[n] for n in nodes},
            bases=self.fleet.bases,
            records=records,
            interrupt=self.interrupt,
            secrets=self.options.environ,
            side_by_side=side_by_side,
        )
        outcomes = await self._executed(plan, setting, blocked or {})
        if not self.interrupt.asked and (lost := await self._lost(plan, outcomes)).trials:
            self.console.note(f"{len(lost.trials)} went with the agent of their node and are run again")
            outcomes |= await self._executed(lost, setting, {})
        return outcomes

    async def _lost(self, plan: Plan, outcomes: Outcomes) -> Plan:
        """Return what went with its node's agent and can be run again: all of its nodes can be reached by now."""
        lost = [trial for trial in plan.trials if trial.id in outcomes and outcomes[trial.id].kind == "lost"]
        nodes = {command.node for trial in lost for command in trial.commands if command.node in self.hosts}
        there = await self.fleet.ask(dict.fromkeys(nodes, _NOTHING), "clock", passing_over=True)
        able = {t.id for t in lost if all(each.node in there or each.node not in nodes for each in t.commands)}
        return replace(plan, trials=tuple(trial for trial in lost if trial.id in able))

    async def _executed(self, plan: Plan, setting: Setting, blocked: Mapping[str, str]) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        async with self.console.phase(plan, setting.records, self._usage, self.fleet.ahead_s):
            async for happening in execute(plan, setting, blocked):
                self.console.show(happening)
                if isinstance(happening, TrialEnded):
                    outcomes[happening.trial.id] = happening.outcome
        return outcomes

    async def _usage(self, nodes: Iterable[str]) -> Mapping[str, Any]:
        """Return what processes take of their nodes, and what the devices of each node do."""
        found: dict[str, Any] = {"processes": {}, "devices": []}
        told = await self.fleet.ask({node: {} for node in nodes if node in self.hosts}, "usage", passing_over=True)
        for node, reply in told.items():
            found["processes"] |= reply.get("processes", {})
            found["devices"] += [{**each, "node": node} for each in reply.get("devices", ())]
        return found

    async def missing(self, onces: Mapping[str, Once]) -> list[str]:
        """Return the names of those whose records on this machine do not cover what is asked."""
        reply = await self.host.request("missing", onces={name: asdict(once) for name, once in onces.items()})
        return list(reply["names"])

    async def hold(self, record: Record) -> None:
        """Wait until nothing lives any more that a runner before this one started for the run, on whatever node.

        A runner that was killed leaves its agents, which need some seconds to end everything. Raises PreflightError
        when that takes too long.
        """
        left = {node: {"path": hold_path(record, host)} for node, host in self.hosts.items()}
        limit_s = _HOLD_FAR_S if any(host.remote for host in self.hosts.values()) else _HOLD_S
        clock = asyncio.get_running_loop().time
        end, waits = clock() + limit_s, False
        while True:
            told = await self.fleet.ask(left, "hold")
            left = {node: asked for node, asked in left.items() if not told[node]["held"]}
            if not left or self.interrupt.asked:
                return
            who = f"{self.fleet.named(left)}: {_holder(told[min(left)])}"
            if clock() >= end:
                earlier = f"processes that an earlier runner started for {record.path}"
                raise PreflightError(f"{earlier} are still alive after {limit_s} s{who}; end them")
            if not waits:
                self.console.note(f"waiting at most {limit_s} s for the processes of the runner before to end{who}")
            waits = True
            await asyncio.sleep(_LOOK_S)

    @asynccontextmanager
    async def monitored(self, record: Record, plan: Plan) -> AsyncIterator[None]:
        """Have samples of each node of a plan taken into the run; without them it runs all the same, and says so."""
        facts = record.facts()
        interval_s = facts.get("monitor_interval_s", SYSTEM_OPTIONS["monitor.interval"].default)
        nodes = sorted(nodes_of(plan)) if interval_s else []
        system = facts.get("system", {})
        of_nodes = facts.get("nodes", {})

        async def begin(node: str) -> None:
            devices = of_nodes.get(node, system).get("devices", ())
            settings = {"interval_s": interval_s, "arch": system.get("arch"), "devices": _known(devices)}
            path = str(record.monitor_path(node))
            await self._monitor(node, path=path, node=node, nvml=resources.nvml_binding(), **settings)

        await asyncio.gather(*map(begin, nodes))
        ending = nodes
        try:
            yield
        except asyncio.CancelledError:  # nobody waits for last samples: monitors end with their agents
            ending = []
            raise
        finally:
            await asyncio.gather(*(self._monitor(node, path=None) for node in ending))

    async def _monitor(self, name: str, **settings: Any) -> None:
        try:
            await asyncio.wait_for(self.hosts[name].request("monitor", **settings), MONITOR_S)
        except (PreflightError, asyncio.TimeoutError) as problem:
            if settings["path"] is not None:
                told = str(problem) or f"it has not begun after {MONITOR_S:.0f} s"
                self.console.note(f"warning: the node{self.fleet.named([name])} is not monitored: {told}")

    def exit_code(self, outcomes: Outcomes, bad: ExitCode) -> ExitCode:
        if self.interrupt.asked:
            return ExitCode.INTERRUPTED
        return ExitCode.OK if all_good(outcomes.values()) else bad


@asynccontextmanager
async def operation(options: Options, console: Console) -> AsyncIterator[Operation]:
    """Start the agent of this machine, and heed who asks for an end; agents of other nodes end with it."""
    interrupt = Interrupt()
    with heeded(interrupt, console):
        async with (
            LocalHost(resources.import_path(), options.environ) as host,
            Fleet(host, opens(options, console.note)) as fleet,
        ):
            interrupt.tell(fleet.give_up)
            yield Operation(options=options, console=console, fleet=fleet, interrupt=interrupt)


def left_out(described: System, names: Collection[str]) -> System:
    """Return a system without some of its nodes."""
    return replace(
        described,
        nodes=tuple(node for node in described.nodes if node.name not in names),
        probed={name: facts for name, facts in described.probed.items() if name not in names},
    )


def nodes_of(plan: Plan) -> set[str]:
    """Return the names of the nodes that a plan starts something on."""
    return {command.node for trial in plan.trials for command in trial.commands}


def hold_path(record: RunDir, host: Host) -> str:
    """Return what an agent locks while anything that it started for a run may live, on its own disk."""
    if not host.remote:
        return str(record.hold_path)
    mark = hashlib.sha256(str(record.path).encode()).hexdigest()[:8]
    return f"{record.path.name}-{mark}.lock"


def _holder(reply: Mapping[str, Any]) -> str:
    """Say which file an agent could not lock, and who holds it."""
    return f"{reply.get('by') or 'another process'} holds {reply.get('path', 'their file')}"


def _known(devices: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what tells devices apart."""
    names = ("id", "uuid", "gpu_uuid", "parent")
    return [{name: each[name] for name in names if name in each} for each in devices]


def _make_base(base: Path) -> None:
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PreflightError(f"cannot make {base}: {error.strerror}: choose another --base") from None


def check_devices(system: System) -> None:
    """Raise PreflightError where the system asks for what its nodes do not have, with all of it."""
    if system.arch == "cpu":
        return
    lacking = [lack for node in system.nodes if (lack := _lack(system, node, system.probed.get(node.name, {})))]
    if lacking:
        raise PreflightError("\n".join(lacking))


def _lack(system: System, node: Node, facts: Mapping[str, Any]) -> str | None:
    """Return what a node does not have of what the system asks for."""
    wanted, devices = system.arch, facts["devices"]
    here = f"node {node.name}" if len(system.nodes) > 1 or not node.local else "this machine"
    if facts["arch"] != wanted or not node.devices:
        found = f"{len(devices)} {facts['arch']} devices" if devices else "no accelerator"
        return f"the system asks for {wanted}, {here} has {found}: check the driver, or give --arch cpu"
    if len(node.devices) > len(devices):
        known = sorted(device["id"] for device in devices)
        asked = f"the system asks for {len(node.devices)} {wanted} devices, {here} has {len(devices)}"
        return f"{asked}, of the numbers {known}: ask for fewer"
    return None
