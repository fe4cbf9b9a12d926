"""The failures of a phase, told at its end: what came of each, its last words, and where all of them are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from milabench.console.words import names, printable
from milabench.outcome import Outcome
from milabench.rundir import Files, tail

LAST_LINES = 15
_LINE = 300  # characters
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


@dataclass(slots=True, kw_only=True)
class _Group:
    """Failures that are alike, and the last words of the first of them."""

    words: _Words
    failures: list[Failure] = field(default_factory=list)


def told(failures: Sequence[Failure], files: Callable[[str], Files]) -> Iterator[str]:
    """Yield the lines that tell failures. Those of a benchmark that differ in numbers only are told once."""
    alike: dict[bytes, _Group] = {}
    for failure in failures:
        words = _last_words(files(failure.tag))
        alike.setdefault(_kind(failure, words), _Group(words=words)).failures.append(failure)
    yield "failures:"
    for group in alike.values():
        yield from _told(group.failures, group.words)


def _kind(failure: Failure, words: _Words) -> bytes:
    """Return what failures that are alike have in common: a digest, for there may be thousands."""
    benchmark, outcome = failure.tag.split(".")[0], failure.outcome
    text = _without_numbers("\n".join((outcome.kind, outcome.reason, *words.lines)))
    return hashlib.sha256(f"{benchmark}\n{text}".encode(errors="replace")).digest()


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
            return _Words(path=path, lines=tuple(map(_cut, lines)))
    return _Words(path=files.stderr if files.stderr.exists() else None)


def _cut(line: str) -> str:
    """Return as much of a line as can be read: progress bars and dumps of tensors have none to end them."""
    return line if len(line) <= _LINE else f"{line[:_LINE]}…"


def _without_numbers(text: str) -> str:
    """Return text without what differs between processes that fail alike; an exit code says how they failed."""
    return _NUMBER.sub(lambda found: found[1] or "#", text)
