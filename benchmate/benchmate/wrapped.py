"""Objects of a script with one thing added to what they do."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Wrapper:
    """Everything but what a subclass adds is the wrapped object's own.

    A method that returns the object itself (``module.to(device)``) returns what it is wrapped in.
    """

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        if name == "_wrapped":  # while unpickling there is none yet
            raise AttributeError(name)
        value = getattr(self._wrapped, name)
        own = getattr(value, "__self__", None) is self._wrapped and callable(value)
        return functools.partial(self._call, value) if own else value

    def __bool__(self) -> bool:
        return bool(self._wrapped)

    def _call(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        return self if result is self._wrapped else result


class Observed(_Wrapper, Generic[T]):
    """A loader with every pass over it timed."""

    def __init__(self, loader: Iterable[T], steps: Callable[[Iterable[T]], Iterator[T]]) -> None:
        super().__init__(loader)
        self._steps = steps

    def __iter__(self) -> Iterator[T]:
        return self._steps(self._wrapped)

    def __len__(self) -> int:
        return len(self._wrapped)


class Criterion(_Wrapper, Generic[T]):
    """A loss function with every loss recorded."""

    def __init__(self, function: Callable[..., T], record: Callable[[T], T]) -> None:
        super().__init__(function)
        self._record = record

    def __call__(self, *args: Any, **kwargs: Any) -> T:
        return self._record(self._wrapped(*args, **kwargs))
