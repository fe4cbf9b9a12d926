"""Batches and losses of any kind: how many items one holds, and what a loss is as a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Count = Callable[[Any], int]


def counter(batch: object) -> Count:
    """Return the quickest function that counts the items of batches like this one."""
    if _has_rows(batch):
        return _rows
    if isinstance(batch, (tuple, list)) and batch and _has_rows(batch[0]):
        return _rows_of_first
    return items_in


def items_in(batch: Any) -> int:
    """Return the length of a batch's first tensor (of a map: of any tensor in it) or sequence; 1 for what has none."""
    if _has_rows(batch):
        return int(batch.shape[0])
    if isinstance(batch, Mapping) and batch:
        values = list(batch.values())
        return items_in(next((value for value in values if _has_rows(value)), values[0]))
    if isinstance(batch, (tuple, list)) and batch and isinstance(batch[0], (tuple, list, Mapping)):
        return items_in(batch[0])
    if isinstance(batch, (tuple, list)) and batch and _has_rows(batch[0]):
        return int(batch[0].shape[0])
    return len(batch) if hasattr(batch, "__len__") and not isinstance(batch, (str, bytes)) else 1


def _has_rows(value: object) -> bool:
    return len(getattr(value, "shape", ())) > 0


def _rows(batch: Any) -> int:
    return batch.shape[0]  # type: ignore[no-any-return]


def _rows_of_first(batch: Any) -> int:
    return batch[0].shape[0]  # type: ignore[no-any-return]


def read_loss(loss: Any) -> float:
    """Return a loss as a number: the mean, where it is given per item. Waits for the device."""
    return float(loss.mean()) if _has_rows(loss) else float(loss)
