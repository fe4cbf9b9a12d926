"""Runs over several nodes: what each of them needs for its part, and what is found on all of them, told together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from milabench.plan.types import Job, Plan, Trial
from milabench.preflight.types import SEVERITIES, Finding, Wanted
from milabench.system.types import Node, System

OF_OPERATOR = ("secret-missing",)  # what follows from the operator's environment, whichever node shows it
MOST_NAMED = 3
_SAME_TEXTS = 3  # different figures of as many nodes: more of them are told by an example

Part = tuple[System, Wanted | None]


def apart(system: System, wanted: Wanted | None) -> dict[str, Part]:
    """Return the system and the run as each node sees them, by its name: itself alone, and its own processes."""
    if wanted is None or len(system.nodes) == 1:
        return {node.name: (replace(system, nodes=(node,)), wanted) for node in system.nodes}
    plans = _plans(wanted.plan)
    return {
        node.name: (replace(system, nodes=(node,)), _part(node, wanted, plans.get(node.name, ())))
        for node in system.nodes
    }


def _part(node: Node, wanted: Wanted, trials: Sequence[Trial]) -> Wanted:
    environments, data = wanted.elsewhere.get(node.name, ({}, {}))
    if node.main:
        environments, data = wanted.environments, wanted.data
    return replace(
        wanted,
        plan=replace(wanted.plan, trials=tuple(trials)),
        environments=environments,
        data=data,
        elsewhere={},
        recorded=wanted.all_processes if node.local else None,  # the run is kept there
    )


def _plans(plan: Plan) -> dict[str, list[Trial]]:
    """Return the part of each trial that runs on a node, by the node's name."""
    found: dict[str, list[Trial]] = {}
    for trial in plan.trials:
        jobs: dict[str, list[Job]] = {}
        for job in trial.jobs:
            for node in dict.fromkeys(command.node for command in job.commands):
                own = tuple(command for command in job.commands if command.node == node)
                jobs.setdefault(node, []).append(replace(job, commands=own))
        for node, part in jobs.items():
            found.setdefault(node, []).append(replace(trial, jobs=tuple(part)))
    return found


def together(found: Mapping[str, Iterable[Finding]], total: int | None = None) -> list[Finding]:
    """Return what was found on nodes, the worst first: the same on many of them once, with their names.

    Where more than a few tell of the same in other figures, one of them is an example. ``total`` is how many nodes
    there are, where not all were looked at.
    """
    alike: dict[tuple[str, str, str], dict[Finding, list[str]]] = {}
    for node, findings in found.items():
        for each in findings:
            key = (each.code, each.severity, each.subject)
            alike.setdefault(key, {}).setdefault(each, []).append(node)
    told = [finding for texts in alike.values() for finding in _told(texts, total or len(found))]
    return sorted(told, key=lambda each: SEVERITIES.index(each.severity))


def _told(texts: Mapping[Finding, list[str]], total: int) -> Iterator[Finding]:
    first = next(iter(texts))
    if total == 1 or first.code in OF_OPERATOR:
        yield from texts
    elif len(texts) <= _SAME_TEXTS:
        for each, nodes in texts.items():
            yield replace(each, what=f"{_on(nodes, total)}: {each.what}", nodes=tuple(nodes))
    else:
        nodes = [node for those in texts.values() for node in those]
        where = f"{_on(nodes, total)}, for example {texts[first][0]}"
        yield replace(first, what=f"{where}: {first.what}", nodes=tuple(nodes))


def _on(nodes: Sequence[str], total: int) -> str:
    if len(nodes) == total:
        return "on both nodes" if total == 2 else f"on all {total} nodes"
    if len(nodes) <= MOST_NAMED:
        return f"on {', '.join(nodes)}"
    return f"on {len(nodes)} of {total} nodes ({', '.join(nodes[:MOST_NAMED])}, …)"
