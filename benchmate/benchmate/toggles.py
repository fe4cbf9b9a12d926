"""The suite's limits as numbers, for scripts written for milabench that count by themselves."""

from __future__ import annotations

from typing import Any

from benchmate.context import current


def get_observation_count(value: int) -> int:
    """Return how many observations a script makes, warm-up included; ``value`` where no suite says so.

    At the last one the script is ended; where the suite's limit is another one than a number, ``value`` is enough.
    """
    context = current()
    observations = context.limit.observations if context.voir else None
    return value if observations is None else context.limit.skip + observations


def get_poll_interval(value: float) -> float:
    """Return the seconds between two looks of a monitor: the suite's ``voir.options.interval``, or ``value``."""
    options: Any = current().voir.get("options") or {}
    interval = options.get("interval")
    return float(interval) if isinstance(interval, (int, float)) and interval > 0 else value
