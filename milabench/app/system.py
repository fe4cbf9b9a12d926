"""``milabench system``: a system file for this machine, for a list of hosts or for a Slurm allocation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from ipaddress import ip_address

from milabench import system
from milabench.agent.route import route
from milabench.app.fleet import Survey
from milabench.app.options import Options
from milabench.app.phases import operation
from milabench.app.workspace import addresses
from milabench.console import Console
from milabench.errors import UsageError
from milabench.paths import expanded
from milabench.system import allocation, hosts
from milabench.system.addresses import is_address
from milabench.system.file import NAME, NodeEntry, SystemFile
from milabench.system.types import Allocation, Node, System

_ELSEWHERE = ("203.0.113.1", "2001:db8::1")  # addresses of nobody: they are asked the way to, nothing is sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which nodes: ``hosts`` by their names, those of a file, those of the allocation; none of it is this machine."""

    hosts: tuple[str, ...] = ()
    hostfile: str | None = None
    slurm: bool = False


async def describe(asked: Asked, options: Options, console: Console) -> System:
    """Return the system of the nodes that are asked for, as each tells of itself; nothing is changed on them.

    Raises UsageError for a list that is none, Unreachable with all nodes that cannot be connected.
    """
    entries, within = _entries(asked, options, console)
    async with operation(options, console) as work:
        known = system.resolve(
            None, {}, options.shape, replace(options.operator, environ=allocation.outside(options.environ))
        )
        said = SystemFile(arch=options.arch, nodes=entries, options=known.options)
        survey = Survey(base=str(options.base), arch=options.arch, absent="leave")
        found = await work.recorded(said, survey, within)
    return _named(found)


def _entries(asked: Asked, options: Options, console: Console) -> tuple[tuple[NodeEntry, ...], Allocation | None]:
    if asked.slurm:
        within = allocation.read(options.environ)
        if within is None:
            raise UsageError("--slurm: milabench runs in no Slurm allocation: type it in a job, or after salloc")
        return tuple(allocation.entries(within)), within
    named = list(asked.hosts)
    if asked.hostfile is not None:
        named += hosts.from_file(expanded(asked.hostfile), console.note)
    if named or asked.hostfile is not None:
        return hosts.listed(named), None
    return (NodeEntry(name="local", address=_own_address(), main=True, local=True),), None


def _own_address() -> str:
    """Return an address that others may know this machine by, the loopback where it has no other.

    That is the one it has towards all that is not near, if there is a way there: bridges for containers have others.
    """
    outside = next((own for own in (route(each)["own"] for each in _ELSEWHERE) if own is not None), None)
    if outside is not None:
        return str(outside)
    usable = (each for each in addresses() if not (found := ip_address(each)).is_loopback and not found.is_link_local)
    return next(usable, "localhost")


def _named(found: System) -> System:
    """Return the system with nodes that are known by an address alone called as they call themselves."""
    own = {name: str(facts.get("hostname")) for name, facts in found.probed.items()}
    used = Counter([*own.values(), *(node.name for node in found.nodes if node.name not in own)])
    names = {
        node.name: own[node.name]
        for node in found.nodes
        if (node.name == "local" or is_address(node.address)) and _fits(own.get(node.name, ""), used)
    }

    def renamed(node: Node) -> Node:
        shares = node.shares_base and names.get(node.shares_base, node.shares_base)
        return replace(node, name=names.get(node.name, node.name), shares_base=shares)

    return replace(
        found,
        nodes=tuple(map(renamed, found.nodes)),
        probed={names.get(name, name): facts for name, facts in found.probed.items()},
    )


def _fits(hostname: str, used: Counter[str]) -> bool:
    return NAME.fullmatch(hostname) is not None and used[hostname] == 1
