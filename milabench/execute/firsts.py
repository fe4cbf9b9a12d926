"""The first word of every rank: which ranks of a group nothing was heard of, and what to look at.

On several nodes a group that has made no step, and of which a rank is silent, has not met. On one node nothing keeps
ranks from meeting, and a group may take its time before it says anything: a rank hangs there where the others have
spoken as each of them has to, and it has not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from benchmate import wire
from milabench.errors import UserError
from milabench.eventfile import events_in, hellos
from milabench.execute.hosts import Host
from milabench.execute.setting import Records
from milabench.group import named
from milabench.plan.types import Command, Ranks
from milabench.rundir import Files

REACH_S = 5.0  # so long a node tries to reach the leader's
_MOST_NAMED = 8  # nodes
_RUNNERS = ("config", "start")  # what a file has before its process says anything
_OVERSEER = "benchmate.overseer"  # under which each rank speaks before it loads its script
_LOOKS = 10  # at a group on one node, in the time that its ranks have
_LAST_LINES = 3


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
    """Return the commands of each group of several ranks, by the tag of its leader.

    Not of one whose leader measures nothing (a server): what its ranks say is kept nowhere. Nor of one on a single node
    whose metrics are printed: a program that says nothing itself may print them when it likes.
    """
    mute = {each.tag for each in commands if each.metrics == "none" or (each.metrics == "stdout" and _is_alone(each))}
    found: dict[str, list[Command]] = {}
    for command in commands:
        if command.ranks is not None and command.ranks.is_group and command.ranks.leader not in mute:
            found.setdefault(command.ranks.leader, []).append(command)
    return found


def _is_alone(command: Command) -> bool:
    return command.ranks is not None and command.ranks.nodes == 1


async def silence(
    commands: Sequence[Command], records: Records, hosts: Mapping[str, Host], port: int | None, within_s: float
) -> Silence | None:
    """Wait for so long for the first words of a group's ranks; return which said nothing, None where all is well.

    A group of which any rank made a step has met: ranks that say nothing then have nothing to say.
    """
    members = [_Member(command, command.ranks) for command in commands if command.ranks is not None]
    leader = next(each for each in members if each.command.tag == each.ranks.leader)
    if leader.ranks.nodes == 1:
        return await _hung(leader, records, within_s)
    await asyncio.sleep(within_s)
    silent = _unheard(members, leader, records.files(leader.command.tag))
    if not silent:
        return None
    whys = await _reached(members, leader, hosts, port)
    return Silence(
        tags=frozenset(member.command.tag for member in silent), reason=_reason(silent, leader, whys, port, within_s)
    )


# On one node ---------------------------------------------------------------------------------------------------------


async def _hung(member: _Member, records: Records, within_s: float) -> Silence | None:
    """Wait until all ranks have spoken or one has made a step; not longer than so long after it was due that they do.

    That is at their start where each speaks before its script, else once others have spoken as each has to. Rank 0
    may be the only one that speaks at all, and is for that no sign that others hang.
    """
    files, now = records.files(member.command.tag), asyncio.get_running_loop().time
    due = now() if _OVERSEER in member.command.argv else None
    while True:
        await asyncio.sleep(within_s / _LOOKS)
        heard = [rank for rank in _numbers(member) if _heard(files, rank)]
        if len(heard) == member.ranks.count or any(_stepped(files, rank) for rank in _numbers(member)):
            return None
        if due is None and (any(rank > 0 for rank in heard) or _joins(files)):
            due = now()
        elif due is not None and now() - due >= within_s:
            silent = [rank for rank in _numbers(member) if rank not in heard]
            said = [line.strip() for line in records.log_tail(member.command.tag, _LAST_LINES)]
            reason = _why_hung(member, silent, heard, " | ".join(said)[-300:], within_s)
            return Silence(tags=frozenset({member.command.tag}), reason=reason)


def _joins(files: Files) -> bool:
    """Say whether rank 0 has said that it joins its group, which each rank does."""
    with suppress(OSError):
        return any("joins" in said for said in hellos(files.events))
    return False


def _why_hung(member: _Member, silent: Sequence[int], heard: Sequence[int], said: str, within_s: float) -> str:
    command, devices = member.command, member.command.devices
    places = [devices[rank - member.ranks.first] for rank in silent if rank - member.ranks.first < len(devices)]
    on = f" (device{'s' * (len(places) > 1)} {', '.join(map(str, places))})" if places else ""
    others = f" after {named(heard)} had spoken" if heard else ""
    return (
        f"nothing was heard of {named(silent)}{on} on {command.node} within {within_s:g} s{others}; the group printed"
        f" {f'last: {said}' if said else 'nothing'}; see {command.tag}.stderr; a rank that says nothing hangs before it"
        " measures: in an import (a slow or lost file system), or at its device (what do the vendor's tool and the"
        " kernel's log say of it?); `py-spy dump --pid` shows where, while it runs; the option torchrun.first_event_s"
        " allows a slow start more time"
    )


# On several nodes ----------------------------------------------------------------------------------------------------


def _unheard(members: Sequence[_Member], leader: _Member, files: Files) -> Mapping[_Member, Sequence[int]]:
    """Return which ranks said nothing so far. Where metrics are printed only the leader's rank 0 says something."""
    if leader.command.metrics == "stdout":
        return {} if _printed(files) or _heard(files, 0) else {leader: [0]}
    if any(_stepped(files, rank) for member in members for rank in _numbers(member)):
        return {}
    silent = {member: [rank for rank in _numbers(member) if not _heard(files, rank)] for member in members}
    return {member: ranks for member, ranks in silent.items() if ranks}


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
    who = _some(f"{named(ranks)} on {member.place}" for member, ranks in silent.items())
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
