"""Batches and losses of any kind: how many items one holds, and what a loss is as a number."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from operator import index
from typing import Any

Count = Callable[[Any], int]


def counter(batch: object) -> Count:
    """Return the quickest function that counts the items of batches like this one.

    They are the length of its first tensor (of a map: of any tensor in it) or sequence; 1 for what has none.
    """
    if _has_rows(batch):
        return _rows
    if isinstance(batch, Mapping) and batch:
        return _counter_at(_key_of_items(batch), batch)
    if isinstance(batch, (tuple, list)) and batch and isinstance(batch[0], (tuple, list, Mapping)):
        return _counter_at(0, batch)
    if isinstance(batch, (tuple, list)) and batch and _has_rows(batch[0]):
        return _rows_of_first
    return len if _is_sized(batch) else _one


def _counter_at(key: Any, batch: Any) -> Count:
    count = counter(batch[key])
    return lambda batch: count(batch[key])


def checked(count: Count, batch: object) -> Count:
    """Return what counts the items of batches. Raises TypeError where it gives no whole number for this one."""
    whole(count(batch), f"{getattr(count, '__qualname__', repr(count))}, which counts the items of a batch, returned")
    return count


def whole(items: object, whose: str) -> None:
    """Raise TypeError where a number of items is no whole number."""
    try:
        index(items)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{whose} {items!r} items: a whole number is needed") from None


def spent(count: Count, batch: object, times: int = 5) -> int:
    """Return the ns that counting the items of a batch takes: the least of some times."""
    least = 2**62
    for _ in range(times):
        begun = time.perf_counter_ns()
        count(batch)
        least = min(least, time.perf_counter_ns() - begun)
    return least


def _key_of_items(batch: Mapping[Any, Any]) -> Any:
    """Return the key of the first tensor, else the first key."""
    return next((key for key, value in batch.items() if _has_rows(value)), next(iter(batch)))


def _is_sized(batch: object) -> bool:
    return hasattr(batch, "__len__") and not isinstance(batch, (str, bytes))


def _has_rows(value: object) -> bool:
    return len(getattr(value, "shape", ())) > 0


def _one(_: object) -> int:
    return 1


def _rows(batch: Any) -> int:
    return batch.shape[0]  # type: ignore[no-any-return]


def _rows_of_first(batch: Any) -> int:
    return batch[0].shape[0]  # type: ignore[no-any-return]


def read_loss(loss: Any) -> float:
    """Return a loss as a number: the mean, where it is given per item. Waits for the device."""
    return float(loss.mean()) if _has_rows(loss) else float(loss)
