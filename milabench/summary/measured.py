"""What one process measured, by its files: its steps and its lines, together with the ranks that it leads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmate.wire import Lines, is_number
from milabench.group import Account, named
from milabench.outcome import without_work
from milabench.summary.reading import Reading, read
from milabench.summary.series import Series, read_series
from milabench.summary.types import Run

_CHUNK: Final = 1 << 16  # bytes
_TOO_LONG: Final = b"\0"  # no event, and not blank


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a process measured and said; ``nothing``: why its steps are none of the benchmark, and ``series`` empty.

    ``missing``: the ranks of its group that have no steps where others have. ``ranks``: what the further ones said.
    """

    reading: Reading
    series: Series
    ranks: Sequence[Reading] = ()
    missing: tuple[int, ...] = ()
    nothing: str = ""
    warnings: tuple[str, ...] = ()


def measured(run: Run, tag: str) -> Measured:
    """Read what a process left.

    Steps of ranks that are gone since it ended are no loss: by then its lines had the rates of all of them.
    """
    events, group = run.files(tag).events, run.group(tag)
    series = read_series(run.steps(tag))
    reading = read(lines(events), rates=series is None)
    account, gone = group.account(reading.world_size), ""
    if series is not None and (gone := _gone(reading, account, tag)):
        told = read(lines(events))
        series, reading, account = (None, told, Account()) if told.rates else (series, reading, account)
    if series is None:
        series = Series(unit=reading.unit, printed=reading.rates, warmup=reading.warmup)
    nothing = without_work(series.extremes) or account.why
    several = {path.name: read(lines(path), rates=False) for path in group.events()}
    return Measured(
        reading=reading,
        series=Series(unit=series.unit, warmup=series.warmup) if nothing else series,
        ranks=tuple(several.values()),
        missing=tuple(account.missing),
        nothing=nothing,
        warnings=(*filter(None, [gone]), *_mute(account, tag), *_damaged(several)),
    )


def _gone(reading: Reading, account: Account, tag: str) -> str:
    """Say how many ranks' steps were there when the process ended, and are not any more."""
    then = (reading.end or {}).get("ranks")
    if not is_number(then) or then <= len(account.measured):
        return ""
    left = f"of {then:g} ranks whose steps were counted when it ended {len(account.measured)} have theirs"
    return f"{tag}: {left}: its rates are those that its .data file had by then"


def _mute(account: Account, tag: str) -> Iterator[str]:
    if account.mute:
        yield f"{tag}: the events of {named(account.mute)} are missing: their losses and their memory are not known"


def _damaged(several: dict[str, Reading]) -> Iterator[str]:
    """Say which ranks' files are damaged."""
    for name, reading in several.items():
        if reading.bad or reading.lost:
            what = f"{reading.bad} lines are no events" if reading.bad else f"{reading.lost} events are missing"
            yield f"{name}: {what} and were left out"


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of an event file, without newlines; a bad one for each that is too long.

    They are cut as a follower cuts them: nothing is kept of a line that never ends.
    """
    passed: list[int] = []
    cut = Lines(too_long=lambda _, length: passed.append(length))
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found = cut.feed(chunk)
            yield from (_TOO_LONG for _ in passed)
            passed.clear()
            yield from found
    yield from filter(None, cut.end())
    yield from (_TOO_LONG for _ in passed)
