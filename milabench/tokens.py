"""What the grammars of expressions have in common: tokens, a parser one token ahead, errors with a caret."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, TypeAlias

MAX_LENGTH = 1000
MAX_DEPTH = 40
_WORDS = ("and", "or", "not", "in")

Names: TypeAlias = Mapping[str, Any]
Evaluate: TypeAlias = Callable[[Names], Any]
Functions: TypeAlias = Mapping[str, Callable[..., Any]]

NO_FUNCTIONS: Functions = MappingProxyType({})


class ExpressionError(ValueError):
    """An expression that cannot be read or computed, shown with a caret under the place (``column`` from 0)."""

    def __init__(self, message: str, text: str, column: int) -> None:
        super().__init__(f"{message}\n  {text}\n  {' ' * column}^")
        self.message = message
        self.text = text
        self.column = column


def kind_of(value: Any) -> str:
    """Return what a user calls a value."""
    match value:
        case bool() | None:
            return str(value).lower()
        case str():
            return "text"
        case int() | float():
            return "a number"
        case _:
            return "a list or map"


class Parser:
    """Tokens of a text, one ahead, and the rules both grammars have in common; ``functions`` can be called in it."""

    def __init__(self, text: str, pattern: re.Pattern[str], functions: Functions = NO_FUNCTIONS) -> None:
        self.functions = functions
        self.names: list[str] = []  # what a reader of quantities has met
        self.lookups: list[tuple[Any, ...]] = []  # names with the parts of them that are looked up
        self._text = text
        self._depth = 0
        if len(text) > MAX_LENGTH:
            raise ExpressionError(f"longer than {MAX_LENGTH} characters", text[:40], 0)
        self._tokens = list(self._cut(pattern))
        self._at = 0

    def _cut(self, pattern: re.Pattern[str]) -> Iterator[tuple[str, str, int]]:
        at = 0
        while at < len(self._text):
            found = pattern.match(self._text, at)
            if not found:
                self.fail(f"{self._text[at]!r} is not expected here", at)
            if found.lastgroup != "space":
                kind = "sign" if found[0] in _WORDS else str(found.lastgroup)
                yield kind, found[0], at
            at = found.end()
        yield "end", "the end", len(self._text)

    @property
    def column(self) -> int:
        return self._tokens[self._at][2]

    @property
    def ahead(self) -> str:
        """The text of the next token."""
        return self._tokens[self._at][1]

    def fail(self, message: str, column: int) -> NoReturn:
        raise ExpressionError(message, self._text, column)

    def take(self, *signs: str) -> str | None:
        """Move past the next token if it is one of these signs, and return it."""
        kind, text, _ = self._tokens[self._at]
        if kind != "sign" or text not in signs:
            return None
        self._at += 1
        return text

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            kind, text, column = self._tokens[self._at]
            self.fail(f"{sign!r} is missing" + ("" if kind == "end" else f" before {text!r}"), column)

    def next(self, wanted: str) -> tuple[str, str]:
        kind, text, column = self._tokens[self._at]
        if kind == "end":
            self.fail(f"{wanted} is missing", column)
        self._at += 1
        return kind, text

    def word(self, wanted: str) -> str:
        column = self.column
        kind, text = self.next(wanted)
        if kind != "word":
            self.fail(f"{wanted} is wanted, not {text!r}", column)
        return text

    def end(self) -> None:
        kind, text, column = self._tokens[self._at]
        if kind != "end":
            self.fail(f"{text!r} is not expected here", column)

    def nested(self, rule: Callable[[], Evaluate]) -> Evaluate:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.fail("nested too deep", self.column)
        result = rule()
        self._depth -= 1
        return result

    def boolean(self, operand: Callable[[], Evaluate]) -> Evaluate:
        """Read ``not``, ``and`` and ``or`` over operands, in this order of strength."""

        def negation() -> Evaluate:
            if self.take("not"):
                inner = self.nested(negation)
                return lambda names: not inner(names)
            return operand()

        def conjunction() -> Evaluate:
            parts = [negation()]
            while self.take("and"):
                parts.append(negation())
            return parts[0] if len(parts) == 1 else lambda names: all(part(names) for part in parts)

        parts = [conjunction()]
        while self.take("or"):
            parts.append(conjunction())
        return parts[0] if len(parts) == 1 else lambda names: any(part(names) for part in parts)
