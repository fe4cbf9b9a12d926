"""What a Session measures, and what is no such thing: told as it is made, or of its first inference."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from benchmate.wire import UNIT_BYTES

MOST_ITEMS: Final = 2**63 - 1  # that a row has room for
_CALLED: Final = ("infer", "load", "pre", "post")
_LATE: Final[Mapping[type[Any], str]] = {
    CoroutineType: "a coroutine: run it within the inference, on one event loop (`loop.run_until_complete({call})`)",
    AsyncGeneratorType: "an async generator: go over all of it within the inference, on one event loop",
    GeneratorType: "a generator: go over all of it within the inference (`list({call})`)",
}


@dataclass(frozen=True, kw_only=True)  # with slots an unknown name is refused by an odd TypeError
class Target:
    """What is measured. ``infer`` makes one inference of ``items`` (counted in ``unit``).

    ``load`` is called once before the first, apart from it. ``pre`` makes what ``infer`` is given, and ``post`` takes
    what it returns: both are in the latency; with ``parts`` each is told by itself too. By hand ``warmup`` inferences
    are not measured; a suite says itself how many. On a device an inference has ended when the device has done all of
    it. Raises TypeError for what cannot be called, or does nothing when it is, and for what is no number or no text;
    ValueError for numbers of items or of inferences that are none, and for units that are none.
    """

    infer: Callable[..., Any]
    items: int = 1
    unit: str = "inferences"
    load: Callable[[], object] | None = None
    pre: Callable[[], Any] | None = None
    post: Callable[[Any], object] | None = None
    warmup: int = 5
    parts: bool = False

    def __post_init__(self) -> None:
        for name in _CALLED:
            called = getattr(self, name)
            if not callable(called) and (called is not None or name == "infer"):
                raise TypeError(f"{name} is {called!r}: expected a function")
        for name in ("load", "infer" if self.post is None else "post"):
            kind = _kind_of(getattr(self, name))
            if kind is not None:
                raise TypeError(_does_nothing(name, kind))
        if not _is_whole(self.items) or not 1 <= self.items <= MOST_ITEMS:
            raise _refused(
                self.items, f"an inference of {self.items} items: expected a whole number from 1 to 2**63 - 1"
            )
        if not _is_whole(self.warmup) or self.warmup < 0:
            raise _refused(self.warmup, f"{self.warmup} inferences of warm-up: expected a whole number, 0 or more")
        _check_unit(self.unit)


def watched(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function that raises TypeError where what it returns is still to be run."""

    def call(*given: Any) -> Any:
        made = function(*given)
        if type(made) in _LATE:
            if not isinstance(made, AsyncGeneratorType):
                made.close()
            raise TypeError(_does_nothing(name, type(made)))
        return made

    return call


def _does_nothing(name: str, kind: type[Any]) -> str:
    return f"{name} does nothing yet when it is called: it returns {_LATE[kind].format(call='…')}"


def _kind_of(function: Any) -> type[Any] | None:
    """Return what a function returns unrun, None where it runs when it is called, as far as can be seen."""
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        function = getattr(type(function), "__call__", None)  # noqa: B004 - an object that is called as a function
    if inspect.iscoroutinefunction(function):
        return CoroutineType
    if inspect.isasyncgenfunction(function):
        return AsyncGeneratorType
    return GeneratorType if inspect.isgeneratorfunction(function) else None


def _is_whole(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


def _refused(value: object, message: str) -> ValueError | TypeError:
    return ValueError(message) if isinstance(value, (int, float)) else TypeError(message)


def _check_unit(unit: object) -> None:
    if not isinstance(unit, str):
        raise TypeError(f"unit is {unit!r}: expected a text, of what is counted ('images')")
    if not unit.strip() or not unit.isprintable():
        raise ValueError(f"unit is {unit!r}: expected a word or a few, of what is counted ('images')")
    if unit.endswith("/s"):
        raise ValueError(
            f"unit is {unit!r}: expected what is counted alone ({unit[:-2]!r}); a throughput is told a second"
        )
    if len(unit.encode()) > UNIT_BYTES:
        raise ValueError(f"unit is {unit!r}, of {len(unit.encode())} bytes: expected {UNIT_BYTES} at most")
