"""What a run directory says of the run besides its plan: the machines, versions, environments, code, the suite."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import milabench
from milabench import plan as planning
from milabench import resources
from milabench.app import containers, preflight
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.app.workspace import find_config
from milabench.plan import Plan, Workspace
from milabench.plan.environ import is_secret, redacted, secrets, without_secrets
from milabench.preflight import Finding
from milabench.preflight import packages as judge_packages
from milabench.system.types import Node, System
from milabench.untrusted import mapping

SSH_OPTIONS = ("sshkey", "ssh.connect", "ssh.keepalive")
_HERE = ("environ", "ips")  # what is only needed while milabench works
# Of the main node these stand among the nodes alone.
_OF_NODES = ("route", "interface", "shares_base", "clock_offset_ns", "python", "python_version", "machine")
Packages = Mapping[str, list[str]]


async def facts(work: Operation, ready: Workspace, plan: Plan, found: Iterable[Finding] = ()) -> dict[str, Any]:
    """Return the facts of run.json: the system, versions, environments, what was ``found``; no secret's value.

    That an environment is not the same on all nodes is told here.
    """
    options = work.options
    groups = {node: list(environments) for node, (environments, _) in planning.needs_of_all(ready).items()}
    made = await made_of(work, ready.system, groups, str(options.base), plan)
    differing = list(_differing(made, groups))
    preflight.tell(work, differing)
    system = {name: value for name, value in ready.system.facts.items() if name not in (*_HERE, *_OF_NODES)}
    environ = {
        name: value for name, value in options.environ.items() if name.startswith("MILABENCH_") and not is_secret(name)
    }
    return {
        "milabench": milabench.__version__,
        "python": sys.version.split()[0],
        "argv": [redacted(word, secrets(options.environ)) for word in sys.argv[1:]],
        "config": options.config,
        "system_file": str(options.system.absolute()) if options.system else None,
        "sources": list(ready.suite.sources),
        "base": str(options.base),
        "setup": _setup(options),
        "started": time.time(),
        "system": {**system, "arch": ready.system.arch},
        "nodes": nodes(ready.system, made),
        **_reached(ready.system),
        "environ": environ,
        "environments": made.environments,
        "code": made.code,
        "container": containers.facts(ready),
        "preflight": preflight.recorded([*found, *differing]),
        "unpinned": list(planning.plan(ready, "install").notes),
        "fetched": [asdict(each) for each in ready.fetched],
        "side_by_side": options.side_by_side,
        "save_sizes": ready.system.options.sizer.save,
        "monitor_interval_s": ready.system.options["monitor.interval"],
    }


def _setup(options: Options) -> dict[str, Any]:
    """Return the options that decide what install and prepare make; no secret's value."""
    own = options.config is None or options.suite_is_of_bundle
    known = secrets(options.environ)
    return {
        "config": None if own else _named(str(options.config)),
        "select": list(options.select),
        "exclude": list(options.exclude),
        "override": [redacted(each, known) for each in options.override],
        "legacy": options.lenient,
        "arch": options.shape.get("arch"),
        "installer": options.installer,
        "offline": options.offline,
        "bundle": str(options.bundle) if options.bundle else None,
    }


def _named(config: str) -> str:
    """Return a suite as it is known from every folder: by its name where milabench brings it, else by its path."""
    path = find_config(config)
    return config if path.parent == resources.data_root() / "config" and path.name != config else str(path)


def setting_up(known: Mapping[str, Any], options: Options) -> Options | None:
    """Return options with which install and prepare make what a run was begun with; None where that is not known.

    ``known`` is what run.json says by now, ``options`` are those of whoever goes on with it.
    """
    setup = mapping(known.get("setup"))
    if not setup:
        return None
    file, bundle, arch = known.get("system_file"), setup["bundle"], setup["arch"]
    return replace(
        options,
        config=setup["config"],
        system=Path(file) if file else None,
        base=Path(str(known.get("base"))),
        select=tuple(setup["select"]),
        exclude=tuple(setup["exclude"]),
        override=tuple(setup["override"]),
        lenient=setup["legacy"],
        shape={"arch": arch} if arch else {},
        installer=setup["installer"],
        offline=setup["offline"],
        bundle=Path(bundle) if bundle else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a run is made of: packages of ``environments`` by group, hashes of the ``code`` it stages.

    The environments are those on the base of the main node; ``elsewhere`` has those on other bases, by the node that
    made them, None where they are the same.
    """

    environments: Packages
    code: Mapping[str, str | None]
    elsewhere: Mapping[str, Mapping[str, list[str] | None]]

    def on(self, node: str) -> Packages:
        """Return the environments that a node has made."""
        own = self.elsewhere.get(node)
        if own is None:
            return self.environments
        return {group: self.environments.get(group, []) if found is None else found for group, found in own.items()}


async def made_of(
    work: Operation, system: System, groups: Mapping[str, Collection[str]], base: str, plan: Plan
) -> Made:
    """Return what a run is made of; ``groups`` are those that have an environment, by the node that made it."""
    sources = dict.fromkeys(each.source for trial in plan.trials for job in trial.jobs for each in job.staged)
    code = (await work.host.request("freeze", folders={}, sources=[*sources])).get("code", {})
    asked: dict[str, dict[str, Any]] = {
        node: {"folders": {group: f"{base}/venv/{group}" for group in found}, "sources": []}
        for node, found in groups.items()
    }
    frozen = {node: reply["packages"] for node, reply in (await work.fleet.ask(asked, "freeze")).items()}
    usual = frozen.pop(planning.keeper(system, system.main).name, {})
    others = {
        node: {group: None if packages == usual.get(group) else packages for group, packages in found.items()}
        for node, found in frozen.items()
    }
    return Made(environments=usual, code=code, elsewhere=others)


def _differing(made: Made, groups: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    for group in dict.fromkeys(group for found in groups.values() for group in found):
        there = [node for node, found in groups.items() if group in found]
        if differing := judge_packages(group, {node: made.on(node).get(group, []) for node in there}):
            yield differing


def nodes(system: System, made: Made) -> dict[str, dict[str, Any]]:
    """Return what run.json has of each node: how it is reached, and what it told of itself."""
    return {node.name: _node(node, system, made.elsewhere.get(node.name, {})) for node in system.nodes}


def _node(node: Node, system: System, environments: Mapping[str, list[str] | None]) -> dict[str, Any]:
    told = system.probed.get(node.name, {})
    return {
        "address": node.address,
        "port": node.port,
        "user": node.user,
        "main": node.main,
        "local": node.local,
        "hostkey": node.hostkey,
        **{name: value for name, value in told.items() if name not in _HERE},
        "python": node.python,
        "shares_base": node.shares_base,
        **({"environments": environments} if environments else {}),
    }


def _reached(system: System) -> dict[str, Any]:
    """Return how nodes are reached that are not this machine: what `milabench resume` needs for it."""
    if system.allocation is not None:
        return {"allocation": system.allocation.job}
    if all(node.local for node in system.nodes):
        return {}
    return {"ssh": {name: system.options[name] for name in SSH_OPTIONS}}


def resolved(ready: Workspace) -> dict[str, Any]:
    """Return what suite.json holds: every entry, without secrets."""
    return {"version": 1, "benchmarks": {each.name: without_secrets(each.config) for each in ready.suite.benchmarks}}
