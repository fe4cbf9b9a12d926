"""Things put together by what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def grouped(several: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return things by their keys, in the order met."""
    found: dict[K, list[T]] = {}
    for each in several:
        found.setdefault(key(each), []).append(each)
    return found
