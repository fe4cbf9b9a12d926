"""The grammar of tokens: what is a placeholder or a function, what it comes to, and what is wrong whatever it means."""

from __future__ import annotations

import itertools
import json
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milabench.placeholders import (
    NUMBERS,
    TEXTS,
    PlaceholderError,
    check,
    function_table,
    half,
    is_plain,
    resolve,
)
from milabench.problems import Code

WORDS: dict[str, Any] = {
    "n_worker": 4,
    "gpu_count": 8,
    "arch": "cuda",
    "nodes[0].ip": "10.0.0.1",
    "options.cpu.max": 16,
    "sshkey": None,
}


def resolved(token: str, *, cpu: bool = True) -> str:
    table = function_table(lambda value, default: value if cpu else default, lambda default: default * 2)
    return resolve(token, WORDS.__getitem__, table)


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        ("", ""),
        ("{n_worker}", "4"),
        ("--x={n_worker}/{arch}", "--x=4/cuda"),
        ("{nodes[0].ip}:{options.cpu.max}", "10.0.0.1:16"),
        ("${system.arch}-${system.nodes[0].ip}", "cuda-10.0.0.1"),
        ("auto({n_worker}, 8)", "4"),
        ("auto({n_worker}*2, 8)", "8"),
        (" auto({n_worker}, 8)", " auto(4, 8)"),
        ("auto_batch(32)", "64"),
        ("auto_batch({gpu_count} * 4)", "64"),
        ("train.batch=auto_batch(32)", "train.batch=64"),
        ("a=b=auto_batch(32)", "a=b=auto_batch(32)"),
        ("{arch}=auto_batch(32)", "cuda=64"),
        ("expr({gpu_count} * 2)", "16"),
        ("expr({gpu_count} / 16)", "0.5"),
        ("expr({gpu_count} // 3) + 1", "3"),
        ("expr(min({gpu_count}, 3))", "3"),
        ("expr({gpu_count} == 8)", "True"),
        ("expr('{arch}')", "cuda"),
        ('{"image":10}', '{"image":10}'),
        ('{"image": {"n": 1}}', '{"image": {"n": 1}}'),
        ("{}", "{}"),
        ("{1}", "{1}"),
        ("${HOME}", "${HOME}"),
        ("autoencoder", "autoencoder"),
        ("--name=autoencoder", "--name=autoencoder"),
        ("f(x)", "f(x)"),
        ("export(1)", "export(1)"),
        ("__import__('os').system('true')", "__import__('os').system('true')"),
    ],
)
def test_a_token_is_resolved(token: str, wanted: str) -> None:
    assert resolved(token) == wanted
    check(token)


def test_auto_is_its_default_where_cores_are_not_counted() -> None:
    assert resolved("auto({n_worker}, 8)", cpu=False) == "8"


@pytest.mark.parametrize(
    ("token", "code", "message", "suggestion"),
    [
        ("{n_workers}", Code.PLACEHOLDER, "unknown placeholder {n_workers}", "n_worker"),
        ("--a={n_worker},{gpu_cuont}", Code.PLACEHOLDER, "unknown placeholder {gpu_cuont}", "gpu_count"),
        ("{nodes[3].pi}", Code.PLACEHOLDER, "unknown placeholder {nodes[3].pi}", "nodes[3].ip"),
        ("{nodes}", Code.PLACEHOLDER, "unknown placeholder {nodes}", None),
        ("{options.sizer.atuo}", Code.PLACEHOLDER, "{options.sizer.atuo}", "options.sizer.auto"),
        ("${system.arhc}", Code.PLACEHOLDER, "unknown placeholder ${system.arhc}", "arch"),
        ("auto({nworker}, 8)", Code.PLACEHOLDER, "unknown placeholder {nworker}", "n_worker"),
        ("auto(n_worker, 8)", Code.FUNCTION, "'n_worker' is not known", "{n_worker}"),
        ("auto({n_worker})", Code.FUNCTION, "auto needs an expression and a default", None),
        ("auto()", Code.FUNCTION, "auto needs an expression and a default", None),
        ("auto_batch(1, 2)", Code.FUNCTION, "auto_batch needs one value, as in auto_batch(32)", None),
        ("auto_batch(1.5)", Code.FUNCTION, "auto_batch needs a whole number, not 1.5", None),
        ("auto_batch('x')", Code.FUNCTION, "auto_batch needs a whole number, not 'x'", None),
        ("auto_batch(32", Code.FUNCTION, "')' is missing", None),
        ("auto_bach(32)", Code.FUNCTION, "there is no function 'auto_bach'", "auto_batch"),
        ("x=expression(2)", Code.FUNCTION, "there is no function 'expression'", None),
        ("expr(1 +)", Code.FUNCTION, "is not expected here", None),
        ("expr(1) 2", Code.FUNCTION, "'2' is not expected here", None),
        ("expr({arch} * 2)", Code.FUNCTION, "is not known", None),
        ("expr({gpu_count} / 0)", Code.FUNCTION, "division by zero", None),
        ("expr(2 ** 4000 * 2 ** 4000 * 2 ** 4000 * 2 ** 4000)", Code.FUNCTION, "the result is too large", None),
        ("expr(__import__('os'))", Code.FUNCTION, "there is no function '__import__'", None),
        ("expr(" + "(" * 99 + ")", Code.FUNCTION, "nested too deep", None),
        ("expr(" + "1+" * 999 + "1)", Code.FUNCTION, "longer than 1000 characters", None),
    ],
)
def test_what_stands_for_nothing_on_any_system_is_told(
    token: str, code: Code, message: str, suggestion: str | None
) -> None:
    with pytest.raises(PlaceholderError) as raised:
        check(token)
    assert message in str(raised.value)
    assert raised.value.code is code
    if suggestion:
        assert raised.value.suggestion == suggestion


@pytest.mark.parametrize("token", ["expr(8 // ({gpu_count} - 8))", "{nodes[7].ip}", "{sshkey}"])
def test_what_only_one_system_shows_is_left_to_the_plan(token: str) -> None:
    check(token)
    with pytest.raises(PlaceholderError):
        resolved(token)


@pytest.mark.parametrize(("left", "right"), [*itertools.permutations(NUMBERS, 2)])
@pytest.mark.parametrize(
    "token",
    [
        "expr(8 / ({LEFT} - {RIGHT}))",
        "expr(8 // ({LEFT} // {RIGHT}))",
        "expr(8 // max({LEFT} - {RIGHT}, 0))",
        "expr(8 % ({LEFT} % {RIGHT}))",
    ],
)
def test_what_some_system_can_compute_is_taken(token: str, left: str, right: str) -> None:
    check(token.replace("LEFT", left).replace("RIGHT", right))


def test_a_word_that_this_system_lacks_is_no_unknown_one() -> None:
    with pytest.raises(PlaceholderError, match=r"\{nodes\[7\].ip\} is nothing that this system has"):
        resolved("{nodes[7].ip}")
    with pytest.raises(PlaceholderError, match=r"\{sshkey\} has no value on this system"):
        resolved("{sshkey}")


SIGNS: dict[str, Callable[[int, int], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}

# Properties ------------------------------------------------------------------------------------------------------

TOKENS = st.text() | st.lists(
    st.sampled_from(
        ["{", "}", "(", ")", "=", "auto", "_batch", "expr", ",", "1", "*", "/", "{n_worker}", "'", " ", "["]
    )
).map("".join)


@given(TOKENS)
def test_any_token_is_resolved_or_refused(token: str) -> None:
    for way in (check, resolved):
        try:
            way(token)
        except PlaceholderError as error:
            assert error.code in (Code.PLACEHOLDER, Code.FUNCTION)


@given(TOKENS.filter(is_plain))
def test_a_plain_token_stands_for_itself(token: str) -> None:
    assert resolved(token) == token


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_json_stands_for_itself(value: Any) -> None:
    text = json.dumps({"a": value})
    if "(" not in text and "{" not in json.dumps(list(strings(value))):
        assert resolved(text) == text


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *strings(item))]
    return [value] if isinstance(value, str) else []


@given(
    st.sampled_from([*NUMBERS, *TEXTS]), st.text(alphabet="abc-/:.=", max_size=5), st.text(alphabet="xyz-/", max_size=5)
)
def test_a_word_is_replaced_wherever_it_stands(word: str, before: str, after: str) -> None:
    token = f"{before}{{{word}}}{after}"
    assert resolve(token, lambda name: name.upper(), {}) == f"{before}{word.upper()}{after}"


@pytest.mark.parametrize("sign", SIGNS)
@given(left=st.integers(-(10**6), 10**6), right=st.integers(1, 1000))
def test_arithmetic_is_that_of_python(sign: str, left: int, right: int) -> None:
    assert resolved(f"expr({left} {sign} {right})") == str(SIGNS[sign](left, right))


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.booleans())
def test_auto_chooses(value: int, default: int, cpu: bool) -> None:
    assert resolved(f"x=auto({value}, {default})", cpu=cpu) == f"x={value if cpu else default}"


@given(
    st.recursive(
        st.sampled_from([*NUMBERS, *TEXTS, 1, None]),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*NUMBERS]), inner),
    )
)
def test_json_has_no_half_of_a_placeholder(value: Any) -> None:
    assert half(json.dumps(value)) is None
    assert half("{" + json.dumps(value)) is None


@given(
    st.sampled_from([*NUMBERS, *TEXTS, "nodes[0].ip", "options.cpu.max"]),
    st.sampled_from(["", "a=", "/", "-", "{arch}"]),
)
def test_a_placeholder_without_one_of_its_braces_is_found_and_a_whole_one_is_not(name: str, around: str) -> None:
    whole = f"{{{name}}}"
    assert half(f"{around}{whole}{around}") is None
    assert half(f"{around}{{{name}") == (f"{{{name}", whole)
    assert half(f"{name}}}{around}") == (f"{name}}}", whole)
