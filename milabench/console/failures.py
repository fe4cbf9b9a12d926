"""The failures of a phase, told at its end: what came of each, its last words, and where all of them are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from milabench.console.words import names, printable
from milabench.outcome import Outcome
from milabench.rundir import Files, tail

LAST_LINES = 15
_NUMBER = re.compile(r"(exit code \d+)|0x[0-9a-fA-F]+|\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A process that failed, or a trial that could not begin."""

    tag: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """The last lines that a process wrote, and to which of its files."""

    path: Path | None
    lines: tuple[str, ...] = ()


def told(failures: Sequence[Failure], files: Callable[[str], Files]) -> Iterator[str]:
    """Yield the lines that tell failures. Those that differ in numbers only are told once, with their tags."""
    alike: dict[tuple[str, str, tuple[str, ...]], list[tuple[Failure, _Words]]] = {}
    for failure in failures:
        words = _last_words(files(failure.tag))
        outcome = failure.outcome
        key = (outcome.kind, _without_numbers(outcome.reason), tuple(map(_without_numbers, words.lines)))
        alike.setdefault(key, []).append((failure, words))
    yield "failures:"
    for group in alike.values():
        yield from _told([failure for failure, _ in group], group[0][1])


def _told(group: Sequence[Failure], words: _Words) -> Iterator[str]:
    first = group[0]
    reason = f": {printable(first.outcome.reason)}" if first.outcome.reason else ""
    others = f" and {len(group) - 1} more alike, {names([each.tag for each in group[1:]])}" if len(group) > 1 else ""
    yield f"  {first.tag}{others} ({first.outcome.kind.replace('_', ' ')}){reason}"
    if words.path is None:
        return
    if words.lines:
        yield f"     the last lines of its {words.path.suffix.removeprefix('.')}:"
        yield from (f"     | {printable(line)}" for line in words.lines)
    yield f"     whole logs: {words.path.with_suffix('')}.{{stdout,stderr}}"


def _last_words(files: Files) -> _Words:
    for path in (files.stderr, files.stdout):
        if lines := tail(path, LAST_LINES):
            return _Words(path=path, lines=tuple(lines))
    return _Words(path=files.stderr if files.stderr.exists() else None)


def _without_numbers(text: str) -> str:
    """Return text without what differs between processes that fail alike; an exit code says how they failed."""
    return _NUMBER.sub(lambda found: found[1] or "#", text)
