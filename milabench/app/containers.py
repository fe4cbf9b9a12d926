"""The container image that a system names: looked for on each node, fetched where it is not there, recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from milabench import plan as planning
from milabench.agent import images as agent
from milabench.agent.container import PATH, Container, home
from milabench.errors import PreflightError
from milabench.outcome import GOOD, Outcome
from milabench.plan import Command, Image, Job, Plan, Trial, Workspace
from milabench.preflight import Finding, Wanted
from milabench.preflight.containers import Found
from milabench.preflight.containers import findings as judge
from milabench.system.types import System

# A request to nodes by name, each with its own fields, and their replies.
Ask = Callable[[Mapping[str, Mapping[str, Any]], str], Awaitable[Mapping[str, Mapping[str, Any]]]]
PULL_S = 7200.0


async def look(ask: Ask, container: Container, nodes: Iterable[str]) -> dict[str, Found]:
    """Return what each node has of an image."""
    replies = await ask({node: {"container": asdict(container)} for node in nodes}, "image")
    return {node: Found.of(reply) for node, reply in replies.items()}


def here(system: System, base: str) -> dict[str, Image]:
    """Return the image as this machine has it, for every node: where none is asked they are taken to be like it."""
    container = planning.container(system, base)
    image = Found.of(agent.look(container, keep=False)).image if container else None
    return {node.name: image for node in system.nodes} if image else {}


def inside(system: System, images: Mapping[str, Image], base: str) -> System:
    """Return a system whose nodes have the variables of the image: those that processes find."""
    if system.container is None:
        return system

    def environ(node: str) -> dict[str, str]:
        return {**(images[node].environ if node in images else {"PATH": PATH}), "HOME": home(base)}

    return replace(system, nodes=tuple(replace(node, environ=environ(node.name)) for node in system.nodes))


def absent(found: Mapping[str, Found]) -> list[str]:
    """Return the nodes that can have the image and have it not."""
    return [node for node, each in found.items() if each.program and each.image is None and not each.problem]


async def findings(ask: Ask, described: System, wanted: Wanted | None, base: str) -> list[Finding]:
    """Return what is found of the containers of a run that is to be made, or of a system without one."""
    planned = _planned(wanted.plan) if wanted else {}
    container = planning.container(described, base) or next(iter(planned.values()), None)
    if container is None:
        return []
    nodes = planned or [node.name for node in described.nodes]
    return [*judge(container, await look(ask, container, nodes))]


async def now(ask: Ask, plan: Plan) -> dict[str, Image]:
    """Return the image of a plan as the nodes that it runs on have it now, as far as it is there."""
    planned = _planned(plan)
    found = await look(ask, next(iter(planned.values())), planned) if planned else {}
    return {node: each.image for node, each in found.items() if each.image is not None}


def _planned(plan: Plan) -> dict[str, Container]:
    """Return the container of a plan by node: it is one image."""
    commands = (each for trial in plan.trials for each in trial.commands)
    return {each.node: each.container for each in commands if each.container is not None}


def fetching(container: Container, nodes: Collection[str]) -> Plan:
    """Return how an image comes to nodes: from where it is published; nothing for a file or a folder."""
    argv = agent.fetched(container)
    trials = tuple(_fetching(node, argv) for node in nodes) if argv else ()
    return Plan(phase="install", trials=trials)


def check_fetched(container: Container, outcomes: Mapping[str, Outcome]) -> None:
    """Raise PreflightError where an image could not be fetched."""
    failed = [outcome for outcome in outcomes.values() if outcome.kind not in GOOD]
    if failed:
        raise PreflightError(f"the container image {container.image} could not be fetched: {failed[0].reason}")


def _fetching(node: str, argv: Iterable[str]) -> Trial:
    tag = f"image.{node}"
    command = Command(tag=tag, benchmark=tag, node=node, argv=tuple(argv), cwd="/", metrics="none")
    return Trial(benchmark=tag, jobs=(Job(tag=tag, commands=(command,), deadline_s=PULL_S),))


def facts(ready: Workspace) -> dict[str, Any] | None:
    """Return what run.json says of the containers of a run; None where it has none."""
    container = planning.container(ready.system, ready.site.base)
    if container is None:
        return None
    found = {node: {"digest": each.digest, "id": each.id, "root": each.root} for node, each in ready.images.items()}
    return {
        "executable": container.executable,
        "image": container.image,
        "args": list(container.args),
        "images": found,
    }
