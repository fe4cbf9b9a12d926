"""Two safe grammars: which benchmarks are meant, and conditions and arithmetic over quantities with units.

Selection: words and globs joined by ``and``, ``or``, ``not``, parentheses; a comma is the weakest ``or``.
Quantity: numbers (``600``, ``10m``, ``80 GiB``, ``2%``), 'text', names (``nodes[0].ip``, ``gpu['count']``),
``[lists]``, ``+ - * / // % **``, comparisons (chained, ``in``), ``and or not``, ``len min max round int``.
Nothing is ever executed.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from milabench.tokens import NO_FUNCTIONS, Evaluate, ExpressionError, Functions, Names, Parser, kind_of

SECONDS: Mapping[str, float] = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400,
}  # fmt: skip
BYTES: Mapping[str, int] = {
    **{f"{prefix}{unit}": 1000**power for power, prefix in enumerate(["", "k", "M", "G", "T"]) for unit in "Bo"},
    **{f"{prefix}i{unit}": 1024**power for power, prefix in enumerate(["K", "M", "G", "T"], 1) for unit in "Bo"},
    "KB": 1000,
    "Ko": 1000,
}
MAX_BITS = 4096
LARGEST = 1e290  # that a unit leaves finite

_SELECTION_TOKENS = re.compile(r"(?P<space>\s+)|(?P<sign>[(),])|(?P<word>(?:\[[^\]\s]*\]|[^\s(),\[\]])+)")
_QUANTITY_TOKENS = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+|\s*(?!and\b|or\b|not\b|in\b)[A-Za-zµ]+|%(?=\s*(?:$|[),\]<>=!])))?)
    |(?P<text>'[^']*'|"[^"]*")
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>\*\*|//|<=|>=|==|!=|[-+*/%<>().,\[\]])""",
    re.VERBOSE,
)


# Selection -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A parsed selection: the words it holds, and whether it holds for something given what its words mean for it."""

    words: tuple[str, ...]
    holds: Callable[[Callable[[str], bool]], bool]


def selection(text: str) -> Selection:
    """Read a selection such as ``vision and not multigpu`` or ``resnet*, bert``. Raises ExpressionError."""
    words: list[str] = []
    parser = Parser(text, _SELECTION_TOKENS)
    names: Evaluate = _selection_list(parser, words)
    parser.end()
    return Selection(words=tuple(dict.fromkeys(words)), holds=lambda means: bool(names({"": means})))


def _selection_list(parser: Parser, words: list[str]) -> Evaluate:
    parts = [_selection_or(parser, words)]
    while parser.take(","):
        parts.append(_selection_or(parser, words))
    return parts[0] if len(parts) == 1 else lambda names: any(part(names) for part in parts)


def _selection_or(parser: Parser, words: list[str]) -> Evaluate:
    return parser.boolean(lambda: _selection_word(parser, words))


def _selection_word(parser: Parser, words: list[str]) -> Evaluate:
    if parser.take("("):
        inside = parser.nested(lambda: _selection_list(parser, words))
        parser.expect(")")
        return inside
    word = parser.word("a name, a glob, a tag or a group")
    words.append(word)
    return lambda names: names[""](word)


# Quantities ------------------------------------------------------------------------------------------------------


def evaluate(text: str, names: Names | None = None, functions: Functions = NO_FUNCTIONS) -> Any:
    """Return the value of a quantity expression; time is in seconds, size in bytes.

    ``names`` are what names in it mean: numbers, text, maps and lists; ``functions`` may be called besides those of
    the grammar, and raise ExpressionError for what they cannot be given. Raises ExpressionError.
    """
    return _parse(text, functions)(names or {})


def holds(expression: str, values: Names) -> bool:
    """Return whether a condition such as ``len(nodes) >= 2`` holds for a system. Raises ExpressionError.

    Compared to a number, a list stands for its length (``nodes >= 2``, as old suites have it).
    """
    return bool(_parse(expression)(values))


def names(expression: str) -> tuple[str, ...]:
    """Return the names that an expression looks up. Raises ExpressionError when it cannot be read."""
    parser = Parser(expression, _QUANTITY_TOKENS, _FUNCTIONS)
    _condition(parser)
    parser.end()
    return tuple(dict.fromkeys(parser.names))


def lookups(expression: str) -> tuple[tuple[Any, ...], ...]:
    """Return the parts of names that an expression looks up: ``("gpu", "count")`` for ``gpu['count']``, ``gpu.count``.

    A path ends before a part that is computed. Raises ExpressionError when it cannot be read.
    """
    parser = Parser(expression, _QUANTITY_TOKENS, _FUNCTIONS)
    _condition(parser)
    parser.end()
    return tuple(dict.fromkeys(parser.lookups))


def duration(value: float | str) -> float:
    """Return seconds of ``600``, ``10m`` or ``250ms``. Raises ExpressionError."""
    return _amount(value, SECONDS, "a time such as 90, 90s or 10m")


def size(value: float | str) -> int:
    """Return bytes of ``1024``, ``80 GiB`` or ``64Go``. Raises ExpressionError."""
    return round(_amount(value, BYTES, "a size such as 80 GiB or 64Go"))


def percentage(text: str) -> float:
    """Return the share that ``50%`` or ``0.5 %`` is. Raises ExpressionError, for a number without the sign too."""
    wanted = "a percentage such as 5% or 0.5 %"
    if not text.rstrip().endswith("%"):
        raise ExpressionError(f"not {wanted}", text, 0)
    return _amount(text, {"%": 1}, wanted) / 100


def _amount(value: float | str, units: Mapping[str, float], wanted: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST:
        return float(value)
    text = str(value).strip()
    found = re.fullmatch(r"([-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*(%|[A-Za-zµ]*)", text)
    if not found or (found[2] and found[2] not in units):
        raise ExpressionError(f"not {wanted}", text, found.start(2) if found else 0)
    amount = float(found[1].replace("_", "")) * (units[found[2]] if found[2] else 1)
    if abs(amount) >= LARGEST:
        raise ExpressionError(f"too large for {wanted}", text, 0)
    return amount


def _parse(text: str, functions: Functions = NO_FUNCTIONS) -> Evaluate:
    parser = Parser(text, _QUANTITY_TOKENS, {**_FUNCTIONS, **functions})
    result = _condition(parser)
    parser.end()
    return result


def _condition(parser: Parser) -> Evaluate:
    return parser.boolean(lambda: _comparison(parser))


def _comparison(parser: Parser) -> Evaluate:
    first = _sum(parser)
    links: list[tuple[Callable[[Any, Any], Any], Evaluate, int]] = []
    while True:
        column = parser.column
        sign = parser.take(*_COMPARISONS, "not")
        if sign == "not":
            parser.expect("in")
            sign = "not in"
        if sign is None:
            break
        links.append((_COMPARISONS[sign], _sum(parser), column))
    if not links:
        return first

    def compare(names: Names) -> bool:
        left = first(names)
        for relation, right_of, column in links:
            right = right_of(names)
            try:
                if not relation(*(_alike(left, right) if relation not in _LOOKED_FOR else (left, right))):
                    return False
            except TypeError:
                parser.fail(f"{kind_of(left)} and {kind_of(right)} cannot be compared", column)
            left = right
        return True

    return compare


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Let a list stand for its length where the other side is a number."""
    if isinstance(right, int | float) and isinstance(left, Sequence | Mapping) and not isinstance(left, str):
        return len(left), right
    if isinstance(left, int | float) and isinstance(right, Sequence | Mapping) and not isinstance(right, str):
        return left, len(right)
    return left, right


def _sum(parser: Parser) -> Evaluate:
    return _chain(parser, ("+", "-"), lambda: _chain(parser, ("*", "//", "/", "%"), lambda: _signed(parser)))


def _chain(parser: Parser, signs: tuple[str, ...], operand: Callable[[], Evaluate]) -> Evaluate:
    """Read operands joined by operators of one strength, from the left."""
    result = operand()
    while True:
        column = parser.column
        sign = parser.take(*signs)
        if not sign:
            return result
        result = _binary(parser, sign, result, operand(), column)


def _signed(parser: Parser) -> Evaluate:
    column = parser.column
    sign = parser.take("-", "+")
    if sign:
        operand = parser.nested(lambda: _signed(parser))
        return _binary(parser, "*", _constant(-1 if sign == "-" else 1), operand, column)
    base = _postfix(parser)
    column = parser.column
    if parser.take("**"):
        return _binary(parser, "**", base, parser.nested(lambda: _signed(parser)), column)
    return base


def _postfix(parser: Parser) -> Evaluate:
    word, known = parser.ahead, len(parser.names)
    value = _atom(parser)
    path: list[Any] | None = [word] if parser.names[known:] == [word] else None  # while all of it is known
    while True:
        column = parser.column
        if parser.take("."):
            key: Evaluate = _constant(parser.word("a name after the dot"))
        elif parser.take("["):
            key = parser.nested(lambda: _condition(parser))
            parser.expect("]")
        else:
            return value
        path = _followed(parser, path, key)
        value = _item(parser, value, key, column)


def _followed(parser: Parser, path: list[Any] | None, key: Evaluate) -> list[Any] | None:
    """Note a part of a name with those before it, and return it with them; None where a system is needed for it."""
    try:
        part = key({})
    except ExpressionError:
        return None
    if path is None or not isinstance(part, str | int):
        return None
    parser.lookups.append((*path, part))
    return [*path, part]


def _item(parser: Parser, value: Evaluate, key: Evaluate, column: int) -> Evaluate:
    def look_up(names: Names) -> Any:
        container, part = value(names), key(names)
        if not isinstance(container, Mapping | list | tuple):
            parser.fail(f"{kind_of(container)} has no parts", column)
        try:
            return container[part]
        except (KeyError, IndexError, TypeError):
            return parser.fail(f"there is no {part!r} in it", column)

    return look_up


def _atom(parser: Parser) -> Evaluate:
    column = parser.column
    if parser.take("("):
        inside = parser.nested(lambda: _condition(parser))
        parser.expect(")")
        return inside
    if parser.take("["):
        items = _arguments(parser, "]")
        return lambda names: [item(names) for item in items]
    kind, text = parser.next("a number, a name or a parenthesis")
    match kind:
        case "number":
            return _constant(_number(parser, text, column))
        case "text":
            return _constant(text[1:-1])
        case "word" if text in _CONSTANTS:
            return _constant(_CONSTANTS[text])
        case "word" if parser.take("("):
            return _call(parser, text, column)
        case "word":
            parser.names.append(text)
            return lambda names: names[text] if text in names else parser.fail(f"{text!r} is not known", column)
        case _:
            return parser.fail(f"{text!r} is not expected here", column)


def _number(parser: Parser, text: str, column: int) -> float | int:
    found = re.fullmatch(r"(.*?)\s*([A-Za-zµ]+|%)?", text)
    digits, unit = (found[1], found[2]) if found and not re.fullmatch(r"[\d.]+[eE][-+]?\d+", text) else (text, None)
    value = float(digits) if re.search(r"[.eE]", digits) else int(digits)
    if abs(value) > LARGEST:
        parser.fail("the number is too large", column)
    if unit is None:
        return value
    if unit == "%":
        return percentage(text)
    scale = SECONDS.get(unit, BYTES.get(unit))
    return parser.fail(f"{unit!r} is no unit", column) if scale is None else value * scale


def _arguments(parser: Parser, closing: str) -> list[Evaluate]:
    items: list[Evaluate] = []
    while not parser.take(closing):
        items.append(parser.nested(lambda: _condition(parser)))
        if not parser.take(","):
            parser.expect(closing)
            break
    return items


def _call(parser: Parser, name: str, column: int) -> Evaluate:
    function = parser.functions.get(name)
    if function is None:
        parser.fail(f"there is no function {name!r}: there are {', '.join(parser.functions)}", column)
    items = _arguments(parser, ")")

    def call(names: Names) -> Any:
        try:
            return function(*(item(names) for item in items))
        except ExpressionError:
            raise
        except (TypeError, ValueError, OverflowError):
            return parser.fail(f"{name}() cannot be computed of these values", column)

    return call


def _constant(value: Any) -> Evaluate:
    return lambda _: value


def _binary(parser: Parser, sign: str, left: Evaluate, right: Evaluate, column: int) -> Evaluate:
    def compute(names: Names) -> Any:
        one, other = left(names), right(names)
        if not isinstance(one, int | float) or not isinstance(other, int | float):
            parser.fail(f"{sign!r} needs numbers, not {kind_of(one)} and {kind_of(other)}", column)
        try:
            value = _ARITHMETIC[sign](one, other)
        except ZeroDivisionError:
            parser.fail("division by zero", column)
        except OverflowError:
            parser.fail("the result is too large", column)
        if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
            parser.fail("the result is no finite number", column)
        return value

    return compute


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > 1024 or (isinstance(base, int) and base.bit_length() * max(exponent, 0) > MAX_BITS):
        raise OverflowError
    return base**exponent


_CONSTANTS: Mapping[str, Any] = {
    "true": True, "True": True, "false": False, "False": False, "null": None, "None": None,
}  # fmt: skip
_FUNCTIONS: Functions = {"len": len, "min": min, "max": max, "round": round, "int": int}
_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": _power,
}  # fmt: skip
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
    "in": lambda left, right: left in right, "not in": lambda left, right: left not in right,
}  # fmt: skip
_LOOKED_FOR = (_COMPARISONS["in"], _COMPARISONS["not in"])
