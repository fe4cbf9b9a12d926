"""Amounts, of bytes above all, as people read them."""

from __future__ import annotations

from typing import Final

MIB: Final = 1 << 20
GIB: Final = 1 << 30


def size(bytes_: int) -> str:
    """Return a size in the largest unit of which there is at least one: ``1.5 GiB``."""
    value, units = float(bytes_), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}" if value != bytes_ else f"{bytes_} B"


def many(number: int, what: str) -> str:
    """Return a number of things: ``1 wheel``, ``2 wheels``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
