"""Both grammars against Python: arithmetic and conditions, selections, and any text at all."""

from __future__ import annotations

import ast
import math
import operator
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from milabench.expression import duration, evaluate, holds, names, selection, size
from milabench.tokens import ExpressionError

VALUES: dict[str, Any] = {"n": 3, "x": 2.5, "word": "cuda", "items": [1, 2, 3], "gpu": {"count": 8, "free": 0}}

# What both languages write the same ------------------------------------------------------------------------------

numbers = st.integers(0, 20).map(str) | st.sampled_from(["1.5", "0.25", "2.0", "1e2", "n", "x", "gpu['count']"])
numeric = st.recursive(
    numbers | st.sampled_from(["len(items)", "items[1]", "items[-1]", "items[n - 1]", "gpu['free']"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(" ".join),
        st.tuples(inner, st.sampled_from(["2", "0", "-1", "0.5"])).map(lambda two: f"({two[0]}) ** {two[1]}"),
        inner.map("({})".format),
        inner.map("-{}".format),
        st.tuples(inner, inner).map("min({0[0]}, {0[1]})".format),
        st.tuples(inner, inner).map("max({0[0]}, {0[1]})".format),
        inner.map("int({})".format),
        inner.map("round({})".format),
    ),
    max_leaves=8,
)
comparisons = st.one_of(
    st.tuples(numeric, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numeric).map(" ".join),
    st.tuples(numeric, st.sampled_from(["<", "<="]), numeric, st.sampled_from(["<", "=="]), numeric).map(" ".join),
    st.tuples(numeric, st.sampled_from(["in", "not in"]), st.just("[1, n, 8]")).map(" ".join),
    st.sampled_from(["word == 'cuda'", 'word != "cpu"', "word in ['cuda', 'rocm']", "'u' in word", "True", "False"]),
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        inner.map("not {}".format),
        inner.map("({})".format),
    ),
    max_leaves=6,
)

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.USub: operator.neg,
    ast.Not: operator.not_, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {"len": len, "min": min, "max": max, "int": int, "round": round}


def python_value(text: str) -> Any:
    """Return what Python has a text mean, as its own parser reads it."""
    return _value(ast.parse(text, mode="eval").body)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return VALUES[name]
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Subscript(value=value, slice=key):
            return _value(value)[_value(key)]
        case ast.UnaryOp(op=sign, operand=operand):
            return _OPERATORS[type(sign)](_value(operand))
        case ast.BinOp(left=left, op=sign, right=right):
            return _OPERATORS[type(sign)](_value(left), _value(right))
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part) for part in parts)
        case ast.Compare(left=left, ops=signs, comparators=others):
            values = [_value(left), *map(_value, others)]
            pairs = zip(signs, values, values[1:], strict=False)
            return all(_OPERATORS[type(sign)](one, other) for sign, one, other in pairs)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _FUNCTIONS[name](*map(_value, arguments))
    raise AssertionError(ast.dump(node))


def _same(text: str, ours: Callable[[], Any]) -> None:
    """Assert that a text means what it means in Python, or is refused where Python has no finite real number."""
    try:
        expected = python_value(text)
    except (ArithmeticError, ValueError, TypeError):  # of complex numbers, too
        expected = None
    if not isinstance(expected, int | float) or not math.isfinite(expected):
        with pytest.raises(ExpressionError):
            ours()
    else:
        assert ours() == expected


@settings(max_examples=300, deadline=None)
@given(numeric)
@example("-2 ** 2")
@example("2 ** -1 * 3")
@example("7 // -2 % 3")
@example("- -3")
@example("1 / gpu['free']")
def test_arithmetic_means_what_python_has_it_mean(text: str) -> None:
    _same(text, lambda: evaluate(text, VALUES))


@settings(max_examples=300, deadline=None)
@given(conditions)
@example("2 in [1, n, 8]")
@example("not 1 == 2 or False and 1 / 0 > 1")
@example("1 < 3 < 2 < 1 / 0")
def test_conditions_hold_where_python_has_them_hold(text: str) -> None:
    try:
        expected = bool(python_value(text))
    except (ArithmeticError, ValueError, TypeError):
        assume(False)
        return
    try:
        assert holds(text, VALUES) is expected
    except ExpressionError as error:
        assert any(word in error.message for word in ("finite", "zero", "compared", "numbers"))  # noqa: PT017


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**7).map(lambda number: number / 1000), st.sampled_from([("ms", 1e-3), ("s", 1), ("m", 60)]))
def test_a_quantity_with_a_unit_is_the_number_times_the_unit(number: float, unit: tuple[str, float]) -> None:
    word, scale = unit
    for text in (f"{number}{word}", f"{number} {word}"):
        assert evaluate(text) == pytest.approx(number * scale)
        assert duration(text) == pytest.approx(number * scale)


# Selections ------------------------------------------------------------------------------------------------------

words = st.sampled_from(["a", "b", "c", "d"])
selections = st.recursive(
    words,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " or ", ", "]), inner).map("".join),
        inner.map("not ({})".format),
        inner.map("({})".format),
    ),
    max_leaves=8,
)


def python_selection(text: str, true: set[str]) -> bool:
    """Return what a selection means, read by Python: a comma is an ``or`` in parentheses of its own."""
    parts, depth, start = [], 0, 0
    for at, sign in enumerate(text):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    if len(parts) > 1:
        return any(python_selection(part, true) for part in parts)
    return _logic(ast.parse(text.replace(",", " or ").strip(), mode="eval").body, true)


def _logic(node: ast.expr, true: set[str]) -> bool:
    match node:
        case ast.Name(id=name):
            return name in true
        case ast.UnaryOp(operand=operand):
            return not _logic(operand, true)
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_logic(part, true) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_logic(part, true) for part in parts)
    raise AssertionError(ast.dump(node))


@settings(max_examples=300, deadline=None)
@given(selections, st.sets(words))
@example("a and b, c", {"c"})
@example("(a, b) and c", {"a"})
def test_a_selection_is_pythons_boolean_of_its_words(text: str, true: set[str]) -> None:
    assume("," not in text or not _comma_inside(text))
    assert selection(text).holds(lambda word: word in true) is python_selection(text, true)


def _comma_inside(text: str) -> bool:
    """Return whether a comma stands beside ``and`` or ``or`` in parentheses: there ``or`` would bind otherwise."""
    return any(" and " in part or " or " in part for part in text.split("(")[1:] if "," in part)


# Any text at all -------------------------------------------------------------------------------------------------

PIECES = """
    a gpu .count nodes [0] ['x'] 1 1e999 1.5 . 5% 10m 3GiB µs + - * / // % ** < == != ( ) [ ] , ' len( min( round( int(
    __import__('os') () .__class__ lambda: \\ é ² ٣ True None null 'a' " { } ; = := @ # 1_000 0x10 1__0
"""
pieces = st.lists(
    st.sampled_from([*PIECES.split(), " and ", " or ", " not ", " in ", "9" * 400, "\0", "\n", "\t", " "]), max_size=12
).map("".join)


@settings(max_examples=600, deadline=None)
@given(pieces | st.text(max_size=30) | st.text("()[]", max_size=100))
@example("9" * 400 + " ms")
@example("1__0")
@example("1e999 GiB")
@example("-1e400")
@example("**")
def test_any_text_has_a_value_or_is_refused_and_nothing_else(text: str) -> None:
    readers: list[Callable[[], Any]] = [
        lambda: evaluate(text, {**VALUES, "nodes": [{"x": 1}], "a": "a"}),
        lambda: holds(text, VALUES),
        lambda: names(text),
        lambda: selection(text).holds(lambda word: True),
        lambda: duration(text),
        lambda: size(text),
    ]
    for read in readers:
        try:
            read()
        except ExpressionError as error:
            assert 0 <= error.column <= max(len(text), 1)
            assert error.message


def test_nothing_in_a_text_is_ever_executed() -> None:
    seen: list[str] = []
    watching = True
    sys.addaudithook(lambda event, _: seen.append(event) if watching else None)
    for text in ("__import__('os').system('true')", "().__class__.__mro__", "eval('1')", "gpu.__class__", "open('/x')"):
        with suppress(ExpressionError):
            evaluate(text, VALUES)
        with suppress(ExpressionError):
            selection(text).holds(lambda word: True)
    watching = False
    assert seen == []
