"""The first word of every rank: which ranks of a group over several nodes nothing was heard of, and what to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from benchmate import wire
from milabench.errors import UserError
from milabench.eventfile import events_in
from milabench.execute.hosts import Host
from milabench.execute.setting import Records
from milabench.plan.types import Command, Ranks
from milabench.rundir import Files

REACH_S = 5.0  # so long a node tries to reach the leader's
_MOST_NAMED = 8  # nodes
_RUNNERS = ("config", "start")  # what a file has before its process says anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """The tags of the commands that have silent ranks, and what is said of it."""

    tags: frozenset[str]
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """A command of a group."""

    command: Command
    ranks: Ranks

    @property
    def place(self) -> str:
        known = ", ".join(filter(None, (self.ranks.address, self.ranks.interface)))
        return self.command.node + (f" ({known})" if known else "")


def groups(commands: Sequence[Command]) -> Mapping[str, Sequence[Command]]:
    """Return the commands of each group that is on several nodes, by the tag of its leader.

    Not of one whose leader measures nothing (a server): what its ranks say is kept nowhere.
    """
    mute = {command.tag for command in commands if command.metrics == "none"}
    found: dict[str, list[Command]] = {}
    for command in commands:
        if command.ranks is not None and command.ranks.nodes > 1 and command.ranks.leader not in mute:
            found.setdefault(command.ranks.leader, []).append(command)
    return found


async def silence(
    commands: Sequence[Command], records: Records, hosts: Mapping[str, Host], port: int | None, within_s: float
) -> Silence | None:
    """Return which ranks of a group said nothing so far, None where there is nothing to say.

    A group of which any rank made a step has met: ranks that say nothing then have nothing to say. Where metrics are
    printed only the leader's rank 0 does.
    """
    members = [_Member(command, command.ranks) for command in commands if command.ranks is not None]
    leader = next(each for each in members if each.command.tag == each.ranks.leader)
    files = records.files(leader.command.tag)
    if leader.command.metrics == "stdout":
        silent = {} if _printed(files) or _heard(files, 0) else {leader: [0]}
    else:
        if any(_stepped(files, rank) for member in members for rank in _numbers(member)):
            return None
        silent = {member: [rank for rank in _numbers(member) if not _heard(files, rank)] for member in members}
        silent = {member: ranks for member, ranks in silent.items() if ranks}
    if not silent:
        return None
    whys = await _reached(members, leader, hosts, port)
    return Silence(
        tags=frozenset(member.command.tag for member in silent), reason=_reason(silent, leader, whys, port, within_s)
    )


def _numbers(member: _Member) -> range:
    return range(member.ranks.first, member.ranks.first + member.ranks.count)


def _heard(files: Files, rank: int) -> bool:
    """Say whether a rank has written an event of its own."""
    with suppress(OSError):
        return any(event.event not in _RUNNERS for event in events_in(files.of_rank(rank)[0]))
    return False


def _stepped(files: Files, rank: int) -> bool:
    """Say whether a rank has made a step, or told a metric."""
    events, steps = files.of_rank(rank)
    with suppress(OSError, wire.WireError):
        if wire.count_steps(steps):
            return True
    with suppress(OSError):
        return any(event.event == "data" for event in events_in(events))
    return False


def _printed(files: Files) -> bool:
    with suppress(OSError):
        return files.stdout.stat().st_size > 0
    return False


async def _reached(
    members: Iterable[_Member], leader: _Member, hosts: Mapping[str, Host], port: int | None
) -> Mapping[str, str]:
    """Return why each node does not reach the port that the group meets at; nothing of those that do."""
    address = leader.ranks.address
    if not address or port is None:
        return {}
    nodes = list(dict.fromkeys(member.command.node for member in members))
    whys = await asyncio.gather(*(_why_unreached(hosts[node], address, port) for node in nodes))
    return {node: why for node, why in zip(nodes, whys, strict=True) if why}


async def _why_unreached(host: Host, address: str, port: int) -> str:
    try:
        return str((await host.request("reach", address=address, port=port, within_s=REACH_S)).get("why", ""))
    except UserError as error:  # the node is gone
        return str(error)


def _reason(
    silent: Mapping[_Member, Sequence[int]], leader: _Member, whys: Mapping[str, str], port: int | None, within_s: float
) -> str:
    who = _some(f"{_named(ranks)} on {member.place}" for member, ranks in silent.items())
    where = f"{leader.ranks.address or leader.command.node}{'' if port is None else f':{port}'}"
    return f"nothing was heard within {within_s:g} s of {who}; {'; '.join(_advice(leader, whys, where))}"


def _some(words: Iterable[str]) -> str:
    """Return what is said of several nodes: of the first, and how many more there are."""
    named = list(words)
    more = len(named) - _MOST_NAMED
    return "; ".join(named[:_MOST_NAMED]) + (f"; and {more} more nodes" if more > 0 else "")


def _advice(leader: _Member, whys: Mapping[str, str], where: str) -> Iterator[str]:
    """Yield what is known of why, and what to look at."""
    if leader.command.node in whys:
        yield (
            f"nothing takes connections at {where} on {leader.command.node} itself ({whys[leader.command.node]}): "
            f"see what its launcher printed, in {leader.command.tag}.stderr"
        )
    elif whys:
        yield f"{where}, where the ranks meet, is not reached from {_some(map(': '.join, whys.items()))}"
    else:
        yield f"the ranks meet at {where}, which every node reaches" if where else "the ranks meet"
    yield (
        "check that no firewall is between the nodes (ranks connect to each other at any port), that the interface of"
        " each node (in brackets, `interface` in the system file) leads to the others, that their clocks agree, and"
        " that they have the same torch; the option torchrun.first_event_s allows a slow start more time"
    )


def _named(ranks: Sequence[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if ranks[-1] - ranks[0] == len(ranks) - 1 and len(ranks) > 2:
        return f"ranks {ranks[0]} to {ranks[-1]}"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"
