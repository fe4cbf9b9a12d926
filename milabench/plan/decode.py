"""JSON values as frozen dataclasses: the types of the fields say what is wanted; other keys are passed over."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
Reader = Callable[[Any], Any]


class Wrong(ValueError):
    """A value that is missing or of another type than wanted; the message starts with its path."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self._message = message
        self._path: list[str] = []

    def under(self, key: object) -> Wrong:
        """Return it as seen from one level further out."""
        self._path.insert(0, str(key))
        return self

    def __str__(self) -> str:
        return f"{'.'.join(self._path)} {self._message}" if self._path else self._message


def read(kind: Callable[..., T], value: object) -> T:
    """Return a value as ``kind``, a dataclass. Raises Wrong for the first thing that is missing or of a wrong type."""
    found: T = _reader(kind)(value)
    return found


@functools.cache
def _reader(kind: Any) -> Reader:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value: value
    if is_dataclass(kind):
        return _of_fields(kind)
    if origin is tuple:
        return _of_items(_reader(arguments[0]))
    if origin is Mapping:
        return _of_entries(_reader(arguments[1]))
    if origin is Literal:
        return _one_of(arguments)
    if origin is UnionType:
        (inner,) = (_reader(argument) for argument in arguments if argument is not NoneType)
        return lambda value: None if value is None else inner(value)
    return _plain(kind)


def _of_fields(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    wanted = [
        (field.name, _reader(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
    ]

    def of_fields(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _not("a map", value)
        found = {}
        for name, reader, needed in wanted:
            if name in value:
                try:
                    found[name] = reader(value[name])
                except Wrong as error:
                    raise error.under(name) from None
            elif needed:
                raise Wrong("is missing").under(name)
        return kind(**found)

    return of_fields


def _of_items(reader: Reader) -> Reader:
    def of_items(value: Any) -> Any:
        if not isinstance(value, list):
            raise _not("a list", value)
        found = []
        for index, item in enumerate(value):
            try:
                found.append(reader(item))
            except Wrong as error:
                raise error.under(index) from None
        return tuple(found)

    return of_items


def _of_entries(reader: Reader) -> Reader:
    def of_entries(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _not("a map", value)
        for key, entry in value.items():
            try:
                reader(entry)
            except Wrong as error:
                raise error.under(key) from None
        return value

    return of_entries


def _one_of(words: tuple[object, ...]) -> Reader:
    def one_of(value: Any) -> Any:
        if value not in words:
            raise _not(f"one of {', '.join(map(str, words))}", value)
        return value

    return one_of


def _plain(kind: type) -> Reader:
    kinds = (float, int) if kind is float else (kind,)

    def plain(value: Any) -> Any:
        if type(value) not in kinds:  # a truth value is no number
            raise _not(_NAMES[kind], value)
        return value

    return plain


_NAMES: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a map",
    NoneType: "null",
}


def _not(wanted: str, value: object) -> Wrong:
    return Wrong(f"is {_NAMES.get(type(value), 'something else')}, not {wanted}")
