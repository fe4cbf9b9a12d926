"""Sessions on a clock that only their targets move."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from loops import MS, FakeTime

from benchmate.context import Context, Limit
from benchmate.device import Cpu
from benchmate.session import Session, Stop, Target


def taking(clock: FakeTime, times_ms: Sequence[float]) -> Callable[..., Any]:
    """Return an inference that takes one of the times after the other, over and over, and returns what it is given."""
    times: Iterator[float] = cycle(times_ms)

    def infer(*given: object) -> object:
        clock.pass_ms(next(times))
        return given

    return infer


def session(folder: Path, clock: FakeTime, target: Target, stop: Stop | None = None, **kwargs: Any) -> Session:
    """Return one that writes into a folder; ``limit`` and ``config`` are what milabench would give it."""
    context = Context(
        events=str(folder / "a.data"),
        steps=str(folder / "a.steps"),
        limit=kwargs.pop("limit", Limit()),
        config=kwargs.pop("config", {}),
        world_size=kwargs.pop("world_size", 1),
    )
    return Session(target, stop=stop, context=context, clock=clock.monotonic_ns, **{"accelerator": Cpu(), **kwargs})


__all__ = ["MS", "session", "taking"]
