"""Functions that benchfile authors import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def assemble_options(options: Mapping[str, Any] | Sequence[Any]) -> list[str]:
    """Turn a suite's ``argv`` into tokens: positionals first, then options; a list is taken word for word.

    ``true`` → the bare flag, or the positional itself where the key has no dash; ``null`` → dropped; a list →
    comma-joined; ``--`` → its list as it stands; ``''`` → an empty argument. Raises ValueError for ``false``, which
    would be passed on as a word.
    """
    if not isinstance(options, Mapping):
        return [str(item) for item in options]
    positionals: list[str] = []
    named: list[str] = []
    for key, value in options.items():
        if value is None:
            continue
        if value is False:
            raise ValueError(f"{key}: false means nothing here: use null to drop the option")
        if key == "--":
            named.extend(str(item) for item in (value if isinstance(value, list | tuple) else [value]))
        elif value is True:
            (named if key.startswith("-") else positionals).append(key)
        else:
            named.extend((key, _token(value)))
    return positionals + named


def select_nodes(nodes: Sequence[Mapping[str, Any]], n: int) -> list[Mapping[str, Any]]:
    """Return the first ``n`` nodes of a system (at least one, at most all), the main one before the others."""
    ranked = sorted(nodes, key=lambda node: not node.get("main", False))
    return ranked[: max(1, min(n, len(ranked)))]


def _token(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
