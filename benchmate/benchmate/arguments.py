"""Types of command-line arguments that several benchmarks have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size(text: str) -> int:
    """Read a number of bytes: 4096, 64K, 8M, 1G; the letters are powers of 1024. Raises ArgumentTypeError."""
    unit = _UNITS.get(text[-1:].upper(), 1)
    digits = text[:-1] if unit > 1 else text
    if not digits.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 4096, 64K, 8M or 1G")
    return int(digits) * unit


def some_of(*known: str) -> Callable[[str], tuple[str, ...]]:
    """Return a type that reads names with commas between them, each one of those known."""

    def names(text: str) -> tuple[str, ...]:
        found = tuple(filter(None, text.split(",")))
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return found

    return names
