"""Requests that overlap in time, as a series of rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    start: float
    end: float
    tokens: float

    def share(self, start: float, end: float) -> float:
        """Return how much of the request lies in a span of time, from 0 to 1."""
        if self.end <= self.start:
            return float(start <= self.start < end)
        return max(0.0, min(self.end, end) - max(self.start, start)) / (self.end - self.start)


def timeline(outputs: Iterable[Any], number: int) -> list[dict[str, float]]:
    """Cut the time of all requests into ``number`` spans and return what was done in each, in order.

    A request is a mapping or a dataclass with ``start_time``, ``latency`` (both in s), ``prompt_len`` and
    ``output_tokens``; its tokens are spread evenly over its time. ``rate`` is in tokens/s, ``time`` the span's end;
    ``active_jobs`` are the requests in it, ``start_job`` and ``finished_job`` those that began and ended there,
    ``ran_through`` those that did neither, ``active_jobs_pct`` how many there were on the average.
    """
    requests = [_request(output) for output in outputs]
    if not requests:
        return []
    begin, end = min(each.start for each in requests), max(each.end for each in requests)
    span = (end - begin) / number
    if span <= 0:
        return []
    bounds = [begin + index * span for index in range(number)] + [end]
    return [_span(requests, *each, last=each[1] == end) for each in zip(bounds, bounds[1:], strict=False)]


def _span(requests: Iterable[_Request], start: float, end: float, *, last: bool) -> dict[str, float]:
    active = [each for each in requests if each.start < end and each.end > start]
    began = sum(start <= each.start < end for each in active)
    ended = sum(start < each.end < end or (last and each.end == end) for each in active)
    inside = sum(min(each.end, end) - max(each.start, start) for each in active)
    return {
        "time": end,
        "rate": sum(each.tokens * each.share(start, end) for each in active) / (end - start),
        "active_jobs": len(active),
        "start_job": began,
        "finished_job": ended,
        "ran_through": sum(each.start < start and each.end > end for each in active),
        "active_jobs_pct": inside / (end - start),
    }


def _request(output: Any) -> _Request:
    values: Mapping[str, Any] = output if isinstance(output, Mapping) else dataclasses.asdict(output)
    start = float(values["start_time"])
    return _Request(
        start=start,
        end=start + float(values["latency"]),
        tokens=float(values["output_tokens"]) + float(values["prompt_len"]),
    )
