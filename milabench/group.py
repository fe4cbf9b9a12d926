"""The ranks of a group by their files: what they did together, and which of them are missing of it.

Either rank 0 alone measures for all of its group, or the first rank of each node for those of its node, or each for
itself. What some of the ranks of a group measured is no rate of it in any other case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmate import wire
from milabench.eventfile import events_in, hellos
from milabench.outcome import Seen
from milabench.plan.types import Plan

_FAR: Final = 16  # so many ranks in a row may be missing where nobody says how many there are
_MOST_NAMED: Final = 8  # ranks, where they do not follow each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The ranks that a plan starts for a leader: how many (0: it does not say), and the first one of each node."""

    size: int = 0
    firsts: frozenset[int] = frozenset({0})


def planned(plan: Plan) -> Mapping[str, Planned]:
    """Return the groups of a plan by the tag of their leaders."""
    found: dict[str, dict[int, int]] = {}
    for ranks in (command.ranks for trial in plan.trials for command in trial.commands):
        if ranks is not None:
            found.setdefault(ranks.leader, {})[ranks.first] = ranks.count
    return {tag: Planned(size=sum(firsts.values()), firsts=frozenset(firsts)) for tag, firsts in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Which ranks of a group of ``size`` have steps (``measured``), and of which some are ``missing``.

    ``mute``: those that measured and of which no events are there.
    """

    size: int = 1
    measured: Sequence[int] = ()
    missing: Sequence[int] = ()
    mute: Sequence[int] = ()

    @property
    def why(self) -> str:
        """Why what they measured is no rate of the group; empty where it is one."""
        if not self.missing:
            return ""
        return (
            f"the steps of {named(self.missing)} of {self.size} are missing, and others of the group have some: what"
            " these did is not the rate of all (either each rank makes an Observer and its steps, or rank 0 alone)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The files of the ranks that a process leads, by its own and those beside them; often it has none."""

    of_rank: Callable[[int], tuple[Path, Path]]
    planned: Planned = field(default_factory=Planned)

    def events(self) -> Iterator[Path]:
        """Yield the event files of the further ranks."""
        yield from (events for _, events in self._there(0))

    def steps_paths(self) -> Iterator[Path]:
        """Yield the steps of the further ranks."""
        yield from (steps for _, steps in self._there(1))

    def steps(self) -> Iterator[wire.Steps]:
        """Yield the steps of all of them in parts, put together as ``Steps.with_ranks`` says; none where none are."""
        with suppress(OSError, wire.WireError):
            ranks: list[Iterator[wire.Steps]] | None = None
            for part in wire.read_steps_in_parts(self.of_rank(0)[1]):
                if ranks is None:
                    ranks = [each for path in self.steps_paths() if (each := _parts(path, part.unit)) is not None]
                others = [rank for rank in (next(each, None) for each in ranks) if rank is not None]
                whole = part.with_ranks(others)
                yield whole
                if len(whole) < len(part) or len(others) < len(ranks):
                    return

    def account(self, world_size: int | None = None) -> Account:
        """Return which ranks have measured and which are missing; ``world_size``: how many there are, as one says.

        Where rank 0 has no steps there is nothing that could be taken for what all of them did.
        """
        unit = _unit(self.of_rank(0)[1])
        if unit is None:
            return Account()
        steps, events = dict(self._there(1)), dict(self._there(0))
        measured = [0, *(rank for rank, path in steps.items() if _unit(path) == unit)]
        size = max(self.planned.size or world_size or 0, measured[-1] + 1)
        lost = {rank for rank, path in events.items() if rank not in steps and _says_that_it_measures(path)}
        lost |= {rank for rank, path in steps.items() if _is_damaged(path)}
        if set(measured) not in ({0}, self.planned.firsts):
            lost |= set(range(size)) - set(measured)
        mute = [rank for rank in measured if rank and rank not in events]
        return Account(
            size=max(size, *(rank + 1 for rank in lost), 1), measured=measured, missing=sorted(lost), mute=mute
        )

    def has_nan_loss(self) -> bool:
        """Say whether a further rank told a loss that is no number: what one rank loses the group has lost.

        One that is planned alone and has nothing of a rank 1 is looked at no further: there are many such.
        """
        if not self.planned.size and not any(path.exists() for path in self.of_rank(1)):
            return False
        return any(map(_has_nan_loss, self.events()))

    def _there(self, which: int) -> Iterator[tuple[int, Path]]:
        """Yield the further ranks with their event files (0) or steps (1), where these are."""
        rank, last = 1, self.planned.size or _FAR
        while rank <= last:
            path = self.of_rank(rank)[which]
            if path.exists():
                yield rank, path
                last = max(last, rank + _FAR)
            rank += 1


def named(ranks: Sequence[int]) -> str:
    """Return ranks in words; of many that do not follow each other the first ones, and how many more there are."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if ranks[-1] - ranks[0] == len(ranks) - 1 and len(ranks) > 2:
        return f"ranks {ranks[0]} to {ranks[-1]}"
    if len(ranks) > _MOST_NAMED:
        return f"ranks {', '.join(map(str, ranks[:_MOST_NAMED]))} and {len(ranks) - _MOST_NAMED} more"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"


def _unit(path: Path) -> str | None:
    """Return what a file's steps count; None where it has none that can be read."""
    try:
        first = next(wire.read_steps_in_parts(path, rows=1))
    except (OSError, wire.WireError):
        return None
    return first.unit if len(first) else None


def _is_damaged(path: Path) -> bool:
    """Say whether a file has lost all that was in it; one whose writer made no step has lost nothing."""
    try:
        with path.open("rb") as file:
            header = wire.StepsHeader.decode(file.read(wire.StepsHeader.SIZE), path)
        return header.rows > 0 and _unit(path) is None
    except (OSError, wire.WireError):
        return True


def _parts(path: Path, unit: str) -> Iterator[wire.Steps] | None:
    """Return the steps of a further rank in parts; None where it counts something else, or nothing that can be read."""
    return wire.read_steps_in_parts(path) if _unit(path) == unit else None


def _has_nan_loss(path: Path) -> bool:
    with suppress(OSError):
        return Seen.of(events_in(path), expects_rate=False).nan_loss
    return False


def _says_that_it_measures(path: Path) -> bool:
    """Say whether a rank's Observer or Session has said hello: it has made its steps by then."""
    with suppress(OSError):
        return any("unit" in said for said in hellos(path))
    return False
