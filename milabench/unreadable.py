"""Texts whose ``${references}`` cannot be read: why not, in words, and how the others are read beside them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

INSTEAD_NAME = "milabench.unreadable"
_INSTEAD = f"${{{INSTEAD_NAME}:}}"  # OmegaConf says that it does not know it to whatever leads there
_OPENING = re.compile(r"(\\*)\$\{")
_TRIED = 20  # references of a text that are looked at for the one that cannot be read: each takes OmegaConf 1 ms
_PLAIN = "a backslash before $ makes it plain text"


def tree(entries: dict[str, Any]) -> Any:
    """Return plain entries as OmegaConf has them, which takes none where one text in them cannot be read."""
    from omegaconf import OmegaConf
    from omegaconf.errors import GrammarParseError

    try:
        return OmegaConf.create(entries)
    except GrammarParseError:
        return OmegaConf.create(_without_unreadable(entries))


def why(text: str) -> str | None:
    """Return which reference of a text cannot be read, and why; None where all can."""
    if _is_readable(text):
        return None
    for reference, whole in itertools.islice(_references(text), _TRIED):
        if not whole:
            first, *more = reference.splitlines()
            return f"{first}{' …' if more else ''}: its }} is missing; {_PLAIN}"
        if not _is_readable(reference):
            return f"{reference} {_what_is_wrong(reference[2:-1])}"
    return f"{text} cannot be read as a reference; {_PLAIN}"


def _what_is_wrong(inside: str) -> str:
    name = inside.strip()
    if not name:
        return f"is empty: name a value between the braces; {_PLAIN}"
    if not set(name) & set(":[]{}"):
        parts = name.lstrip(".").split(".")
        if any(re.search(r"\s", part) for part in parts):
            return "has a blank inside a name"
        if not all(parts):
            return "has an empty name at one of its dots"
    return f"cannot be read as a reference; {_PLAIN}"


def _references(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each reference of a text, those inside others before them, and whether it is closed; one that is not goes
    on to the end."""
    opened: list[int] = []
    for found in re.finditer(rf"{_OPENING.pattern}|[{{}}]", text):
        if found[0].endswith("${"):
            if len(found[1]) % 2 == 0:
                opened.append(found.start() + len(found[1]))
        elif found[0] == "{":
            opened.append(-1)
        elif opened:
            start = opened.pop()
            if start >= 0:
                yield text[start : found.end()], True
    yield from ((text[start:], False) for start in opened if start >= 0)


def _is_readable(text: str) -> bool:
    from omegaconf import OmegaConf
    from omegaconf.errors import GrammarParseError

    try:
        OmegaConf.create([text])
    except (GrammarParseError, RecursionError):
        return False
    return True


def _without_unreadable(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_unreadable(entry) for key, entry in value.items()}
        case list():
            return [_without_unreadable(item) for item in value]
        case str() if "${" in value and not _is_readable(value):
            return _INSTEAD
    return value
