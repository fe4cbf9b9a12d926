"""Values of files that may hold anything, as what they are read as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """Return a map; an empty one where the value is none."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """Return the maps of a list; nothing where it is none."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, (list, tuple)) else []


def one_line(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())
