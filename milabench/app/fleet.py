"""The nodes that a verb works on: their agents, connected when the system is known, and what each tells of itself."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from milabench.errors import HostLost, PreflightError
from milabench.execute.hosts import Host
from milabench.system.types import Node, System

Facts = Mapping[str, Any]
Absent = Literal["make", "check", "leave"]  # what is done with a base that is not there (``agent/base.py``)
Opens = Callable[[Node, System], AbstractAsyncContextManager[Host]]
AT_ONCE = 32  # connections that are being made: each costs both ends some work
MOST_TOLD = 20
_CLOCKS = 5  # times that a clock is read: the quickest answer says most
_NAMESAKE = (
    "this machine has that name too, and not that address, as where the address is one that a cloud shows outside: if"
    " this machine is meant, leave `ip` out, or give an address of one of its interfaces (see `ip addr`)"
)
_OPERATOR = ""  # what this machine is called among nodes where it is none


class Unreachable(PreflightError):
    """Nodes that cannot be used; ``why`` has the reason by their name.

    ``connecting``: no process of a plan can have been started yet, which is told then.
    """

    def __init__(self, why: Mapping[str, str], total: int, *, connecting: bool = True) -> None:
        self.why = dict(why)
        lines = [line(name, reason) for name, reason in list(why.items())[:MOST_TOLD]]
        if len(why) > MOST_TOLD:
            lines.append(f"and {len(why) - MOST_TOLD} more")
        begun = ", and no process was started" if connecting else ""
        head = [f"{len(why)} of {total} nodes cannot be used{begun}:"] if total > 1 else []
        super().__init__("\n".join([*head, *lines]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What nodes are asked: devices of ``arch``, package indexes to ``reach``, the ``base``."""

    base: str
    arch: str | None = None
    reach: Mapping[str, list[str]] = field(default_factory=dict)
    absent: Absent = "make"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told: by this machine besides its own facts, and by others, by the names of their nodes."""

    here: Facts = field(default_factory=dict)
    remote: Mapping[str, Facts] = field(default_factory=dict)


class Fleet:
    """The agents of a system's nodes: this machine's, which is there from the beginning, and those of others.

    Use as an asynchronous context manager: it ends the agents that it has connected. ``opens`` returns the pipe to a
    node that is not this machine.
    """

    def __init__(self, here: Host, opens: Opens) -> None:
        self.here = here
        self.hosts: dict[str, Host] = {}
        self._opens = opens
        self._remote: dict[str, dict[str, Any]] = {}
        self._own: dict[str, Any] = {}
        self._bases: dict[str, str] = {}
        self._opened: list[AbstractAsyncContextManager[Host]] = []

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all agents at the same time: each may need a while to end what it started."""
        leaving = (each.__aexit__(kind, error, trace) for each in self._opened)
        for ended in await asyncio.gather(*leaving, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended

    async def join(self, system: System, survey: Survey) -> Told:
        """Connect the nodes of a system that are not yet, and return what each tells of itself.

        Raises Unreachable with all that cannot be connected, or asked.
        """
        self.hosts |= {node.name: self.here for node in system.nodes if node.local}
        others = [node for node in system.nodes if not node.local and node.name not in self._remote]
        if others:
            await self.connect(system, [node for node in others if node.name not in self.hosts])
            await self._tell_apart(system)
            await self._all(system, lambda node: self._survey(node, survey), others)
        if others or (len(system.nodes) > 1 and not self._own):
            await self._all(system, lambda node: self._find_way(node, system))
        if others:
            await self._find_bases(system, survey)
        names = {node.name for node in system.nodes}
        return Told(here=self._own, remote={name: told for name, told in self._remote.items() if name in names})

    async def connect(self, system: System, nodes: Sequence[Node]) -> None:
        """Connect nodes that are not this machine, some at a time. Raises Unreachable with all that fail."""
        few = asyncio.Semaphore(AT_ONCE)

        async def one(node: Node) -> None:
            async with few:
                way = self._opens(node, system)
                try:
                    self.hosts[node.name] = await way.__aenter__()
                except PreflightError as error:
                    if not node.namesake or system.allocation is not None:
                        raise
                    raise PreflightError(f"{error}; {_NAMESAKE}") from None
                self._opened.append(way)

        await self._all(system, one, nodes)

    def give_up(self) -> None:
        """Connect no node again that is lost, and break off where that is being done."""
        for host in self.hosts.values():
            if host.remote:
                host.give_up()

    async def _tell_apart(self, system: System) -> None:
        """See that each node is a machine of its own. Raises Unreachable with those that are another's.

        Of an allocation that is Slurm's to say, which may have several on one machine.
        """
        if len(system.nodes) == 1 or system.allocation is not None:
            return
        if same := await doubled({node.name: self.hosts[node.name] for node in system.nodes}):
            raise Unreachable(same, len(system.nodes))

    @property
    def bases(self) -> Mapping[str, str]:
        """The first of the nodes that have the same base, by the name of each that has it."""
        return self._bases

    @property
    def ahead_s(self) -> dict[str, float]:
        """How far the clocks of other nodes were ahead of this machine's, in s, when they were connected."""
        return {name: (told["clock_offset_ns"] or 0) / 1e9 for name, told in self._remote.items()}

    def named(self, nodes: Iterable[str]) -> str:
        """Return nodes as the end of what is told of them, nothing where there is one node alone."""
        names = [*nodes]
        if len(self.hosts) < 2:
            return ""
        more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
        return f" ({', '.join(names[:MOST_TOLD])}{more})"

    async def ask(
        self, fields: Mapping[str, Mapping[str, Any]], op: str, *, passing_over: bool = False
    ) -> dict[str, dict[str, Any]]:
        """Send a request to nodes by name, each with its own fields, and return their replies.

        ``passing_over``: those that do not answer are left out; else Unreachable has all of them.
        """
        replies: dict[str, dict[str, Any]] = {}

        async def one(name: str) -> None:
            replies[name] = await self.hosts[name].request(op, **fields[name])

        failed = await _failures(fields, one)
        if failed and not passing_over:
            raise Unreachable(failed, len(self.hosts), connecting=False)
        return {name: replies[name] for name in fields if name in replies}

    async def _all(
        self, system: System, do: Callable[[Node], Awaitable[None]], nodes: Sequence[Node] | None = None
    ) -> None:
        named = {node.name: node for node in (system.nodes if nodes is None else nodes)}
        failed = await _failures(named, lambda name: do(named[name]))
        if failed:
            raise Unreachable(failed, len(system.nodes))

    async def _survey(self, node: Node, survey: Survey) -> None:
        host = self.hosts[node.name]
        hello = await host.hello()
        facts = (await host.request("probe", arch=survey.arch, reach=dict(survey.reach)))["facts"]
        if not all(type(each["id"]) is int and each["id"] >= 0 for each in facts["devices"]):
            raise PreflightError("numbers of its devices are no numbers: files of the run are named by them")
        known = {name: hello[name] for name in ("python", "python_version", "machine") if name in hello}
        self._remote[node.name] = {**facts, **known, "clock_offset_ns": await _clock_offset_ns(host)}

    async def _find_way(self, node: Node, system: System) -> None:
        """Find the interface that leads to the main node; of that one, the one that leads to the others."""
        others = [other for other in system.nodes if other is not node]
        if not others:
            return
        way = await self.hosts[node.name].request("route", to=others[0].address)
        told = {name: way.get(name) for name in ("address", "own", "interface", "error")}
        facts = self._own if node.local else self._remote[node.name]
        if node is system.main:  # its own ranks look for it by its address too
            told["itself"] = (await self.hosts[node.name].request("route", to=node.address)).get("error")
        facts |= {"route": told, "interface": told["interface"]}

    async def _find_bases(self, system: System, survey: Survey) -> None:
        """Find out which nodes have the same base: the first of them is where things are made."""
        hosts: dict[str, Host] = {node.name: self.hosts[node.name] for node in system.nodes}
        if self.here not in hosts.values():
            hosts[_OPERATOR] = self.here
        asked = {"base": survey.base, "session": secrets.token_hex(8)}
        seen: dict[str, list[str]] = {}

        async def mark(name: str) -> None:
            try:
                await hosts[name].request("mark", **asked, name=name, absent=survey.absent)
            except HostLost:
                raise
            except PreflightError as error:
                why = str(error).removeprefix("mark failed: ")
                remedy = "make it writable for who logs in there, or choose another --base"
                raise PreflightError(f"the base {survey.base} cannot be written to ({why}): {remedy}") from None

        async def look(name: str) -> None:
            seen[name] = (await hosts[name].request("marks", **asked)).get("names", [])

        async def unmark(name: str) -> None:
            await hosts[name].request("unmark", **asked)

        try:
            for step in (mark, look):
                if failed := await _failures(hosts, step):
                    raise Unreachable(failed, len(system.nodes))
        finally:
            await _failures(hosts, unmark)
        first: dict[str, str] = {}
        for name in (node.name for node in system.nodes):
            sharer = _sharer(name, seen[name], [*hosts])
            facts = self._remote.get(name, self._own)
            facts["shares_base"] = sharer
            self._bases[name] = first.setdefault(name if sharer is None else sharer, name)


async def doubled(hosts: Mapping[str, Host]) -> dict[str, str]:
    """Return the nodes that are a machine which is another node before them, by name, each with what is said of it."""
    names: dict[object, str] = {}
    same: dict[str, str] = {}
    for name, host in hosts.items():
        identity = (await host.hello()).get("identity")
        if identity is not None and (other := names.setdefault(identity, name)) != name:
            same[name] = f"it is the machine that node {other} is, by another address or port: leave one of them out"
    return same


def line(name: str, reason: str) -> str:
    """Return a reason why a node cannot be used with the node's name, once; without one it is this machine."""
    if reason.startswith(f"node {name}"):
        return reason
    return f"node {name}: {reason}" if name else f"this machine: {reason}"


def _sharer(name: str, seen: Collection[str], order: Sequence[str]) -> str | None:
    """Return whose base a node has that has seen these marks: the operator's, the first node's before it, its own."""
    if _OPERATOR in seen:
        return _OPERATOR
    return next((other for other in order[: order.index(name)] if other in seen), None)


async def _clock_offset_ns(host: Host) -> int | None:
    """Return how far a node's clock is ahead of this machine's, as the quickest of some answers has it."""
    best: tuple[int, int] | None = None
    for _ in range(_CLOCKS):
        sent = time.time_ns()
        there = (await host.request("clock")).get("time_ns")
        received = time.time_ns()
        if there is not None:
            best = min(best or (1 << 62, 0), (received - sent, int(there) - (sent + received) // 2))
    return best and best[1]


async def _failures(names: Iterable[str], do: Callable[[str], Awaitable[None]]) -> dict[str, str]:
    """Do something for all, at the same time, and return of whom it failed, and why."""
    listed = [*names]
    ended = await asyncio.gather(*(do(name) for name in listed), return_exceptions=True)
    failed: dict[str, str] = {}
    for name, error in zip(listed, ended, strict=True):
        if isinstance(error, PreflightError):
            failed[name] = str(error)
        elif isinstance(error, BaseException):
            raise error
    return failed
