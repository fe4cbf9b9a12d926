"""A plan whose nodes are others by now: what stands in it of a node that is gone, for the one in its place.

The plan is what a run was begun with, and is not made anew: the suite may have changed since. Where a plan says the
node itself (a process's node, its tag, the interface to others) that is exchanged; in arguments, variables and
configurations, where placeholders and benchfiles put a node's name, its address or the UUIDs of its devices, these as
whole words. What the suite itself has word for word stays: it may call something else by the name of a node.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from milabench.plan import environ
from milabench.plan.types import Command, Job, Plan, Ranks, Size, Trial
from milabench.system.types import Node

Exchange = Callable[[str], str]
_WITHIN = r"\w.-"  # what a name may be a part of: n1 is neither n12 nor n1.cluster
_OF_SUITES = ("name", "tags", "group", "install_group")  # keys whose texts no process is given


@dataclass(frozen=True, slots=True, kw_only=True)
class Standin:
    """A node in the place of another, which is gone."""

    gone: Node
    node: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What stays as it is, whatever names stand in it: ``folders`` with all below them, ``texts`` of a benchmark."""

    folders: Collection[str] = ()
    texts: Mapping[str, Collection[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, folders: Collection[str], suite: Mapping[str, Any]) -> Kept:
        """Return it for a run with these folders; ``suite`` has the entries of its benchmarks as they are written."""
        written = {name: frozenset(_written(entry)) for name, entry in suite.items()}
        return cls(folders=folders, texts=written)


def with_standins(plan: Plan, trials: Collection[str], standins: Sequence[Standin], kept: Kept | None = None) -> Plan:
    """Return the plan with some trials, by their ids, for the nodes that stand in for others; the rest is as it was."""
    if not standins:
        return plan
    kept = kept or Kept()
    by_name = {each.gone.name: each for each in standins}
    everywhere = _exchange(_words(standins), kept.folders)
    benchmarks = {trial.benchmark for trial in plan.trials if trial.id in trials}
    texts = {name: _but(everywhere, kept.texts.get(name, ())) for name in benchmarks}
    moved = {trial.id: _trial(trial, by_name, texts[trial.benchmark]) for trial in plan.trials if trial.id in trials}
    return replace(
        plan,
        trials=tuple(moved.get(trial.id, trial) for trial in plan.trials),
        configs={name: _data(each, texts[name]) if name in texts else each for name, each in plan.configs.items()},
        node_configs=_node_configs(plan, by_name, texts),
        sizes=tuple(dict.fromkeys((*plan.sizes, *_sizes(plan, benchmarks, by_name)))),
    )


def _written(value: Any) -> Iterator[str]:
    """Yield the texts of an entry that no placeholder stands in, as they are in a plan."""
    match value:
        case str():
            if not {"{", "$"} & {*value}:
                yield value
        case Mapping():
            for key, item in value.items():
                if key not in _OF_SUITES:
                    yield from _written(item)
        case list() | tuple():
            for item in value:
                yield from _written(item)
        case _:
            pass


def _but(exchange: Exchange, texts: Collection[str]) -> Exchange:
    return lambda text: text if text in texts else exchange(text)


def _words(standins: Sequence[Standin]) -> dict[str, str]:
    """Return what texts name nodes and their devices by, with what the ones in their places are named by."""
    found: dict[str, str] = {}
    for each in standins:
        after = {device.id: device.uuid for device in each.node.devices}
        uuids = {device.uuid: after.get(device.id) for device in each.gone.devices}
        found |= {uuid: other for uuid, other in uuids.items() if uuid and other}
        found |= {each.gone.address: each.node.address, each.gone.name: each.node.name}
    return {word: other for word, other in found.items() if word != other}


def _exchange(words: Mapping[str, str], folders: Collection[str]) -> Exchange:
    """Return what exchanges all words of a text at once, but for those in paths below these folders."""
    if not words:
        return lambda text: text
    paths = [rf"{re.escape(path)}(?![{_WITHIN}])[^\s:,;\"']*" for path in sorted(folders, key=len, reverse=True)]
    names = [_whole(word) for word in sorted(words, key=len, reverse=True)]
    pattern = re.compile("|".join([*paths, *names]))
    return lambda text: pattern.sub(lambda found: words.get(found[0], found[0]), text)


def _whole(word: str) -> str:
    """Return the pattern of a word that is no part of another; an IPv6 address is no part of a longer one either."""
    within = _WITHIN + ":" * (":" in word)
    return rf"(?<![{within}]){re.escape(word)}(?![\w-]|\.\w{'|:' * (':' in word)})"


def _trial(trial: Trial, standins: Mapping[str, Standin], text: Exchange) -> Trial:
    tags = {command.tag: _tag(trial.id, command.tag, standins.get(command.node)) for command in trial.commands}
    jobs = tuple(_job(trial.id, job, tags, standins, text) for job in trial.jobs)
    return replace(trial, jobs=jobs)


def _tag(trial: str, tag: str, standin: Standin | None) -> str:
    """Return the tag of what is on a node: behind the id of its trial it may have the node's name."""
    if standin is None or not tag.startswith(f"{trial}."):
        return tag
    name = rf"\.{re.escape(standin.gone.name)}(?=\.|$)"
    return trial + re.sub(name, lambda _: f".{standin.node.name}", tag[len(trial) :], count=1)


def _job(trial: str, job: Job, tags: Mapping[str, str], standins: Mapping[str, Standin], text: Exchange) -> Job:
    nodes = {command.node for command in job.commands}
    alone = standins.get(nodes.pop()) if len(nodes) == 1 else None
    commands = tuple(_command(command, tags, standins.get(command.node), text) for command in job.commands)
    return replace(job, tag=_tag(trial, job.tag, alone), commands=commands)


def _command(command: Command, tags: Mapping[str, str], standin: Standin | None, text: Exchange) -> Command:
    argv = [text(word) for word in command.argv]
    env = {name: text(value) for name, value in command.env.items()}
    if standin is not None:
        env = dict(_with_interface(env, standin))
        if standin.node.python is not None and command.argv[:1] == (standin.gone.python,):
            argv[0] = standin.node.python  # a Python of the node's own, that awaits a benchfile's coroutine
    ready = command.ready
    if ready is not None:
        ready = replace(ready, url=ready.url and text(ready.url), file=ready.file and text(ready.file))
    return replace(
        command,
        tag=tags[command.tag],
        node=command.node if standin is None else standin.node.name,
        argv=tuple(argv),
        env=env,
        ready=ready,
        ranks=command.ranks and _ranks(command.ranks, tags, standin),
    )


def _with_interface(env: Mapping[str, str], standin: Standin) -> Iterator[tuple[str, str]]:
    """Yield variables with the interface of a node in the place of the one that is gone."""
    before, after = environ.network(standin.gone), environ.network(standin.node)
    for name, value in env.items():
        if before.get(name) != value:
            yield name, value
        elif name in after:
            yield name, after[name]


def _ranks(ranks: Ranks, tags: Mapping[str, str], standin: Standin | None) -> Ranks:
    leader = tags.get(ranks.leader, ranks.leader)
    if standin is None or ranks.nodes == 1:
        return replace(ranks, leader=leader)
    return replace(ranks, leader=leader, address=standin.node.address, interface=standin.node.interface or "")


def _node_configs(
    plan: Plan, standins: Mapping[str, Standin], texts: Mapping[str, Exchange]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return what differs in configurations by node; that of a node that is gone stays, for what had ended there."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {node: dict(each) for node, each in plan.node_configs.items()}
    for node, each in plan.node_configs.items():
        there = standins[node].node.name if node in standins else node
        for name in texts.keys() & each.keys():
            found.setdefault(there, {})[name] = _data(each[name], texts[name])
    return found


def _sizes(plan: Plan, benchmarks: Collection[str], standins: Mapping[str, Standin]) -> Iterator[Size]:
    for size in plan.sizes:
        if size.benchmark in benchmarks and size.node in standins:
            yield replace(size, node=standins[size.node].node.name)


def _data(value: Any, text: Exchange) -> Any:
    """Return plain data with its texts exchanged; the keys of maps are names of ours."""
    match value:
        case str():
            return text(value)
        case Mapping():
            return {key: _data(item, text) for key, item in value.items()}
        case list() | tuple():
            return [_data(item, text) for item in value]
        case _:
            return value
