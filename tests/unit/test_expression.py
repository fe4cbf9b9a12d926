from __future__ import annotations

from typing import Any

import pytest

from milabench.expression import duration, evaluate, holds, lookups, names, percentage, selection, size
from milabench.tokens import ExpressionError

SYSTEM: dict[str, Any] = {
    "arch": "cuda",
    "nodes": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
    "gpu": {"count": 8, "capacity": 80 * 1024**3},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 // 2 - 7 % 4", 0),
        ("7 / 2", 3.5),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("2 ** -1", 0.5),
        ("10m", 600),
        ("250ms", 0.25),
        ("1.5 h", 5400),
        ("80 GiB", 80 * 1024**3),
        ("64Go", 64 * 10**9),
        ("2%", 0.02),
        ("5%3", 2),
        ("1e3", 1000.0),
        ("len(nodes) * gpu.count", 16),
        ("min(gpu['count'], 4)", 4),
        ("max(1, 2.5)", 2.5),
        ("int(7 / 2) + round(2.6)", 6),
        ("nodes[1].ip", "10.0.0.2"),
        ('gpu["count"]', 8),
        ("1 < 2 < 3", True),
        ("1 < 3 < 2", False),
        ("not 1 == 2 and true", True),
        ("false or null == None", True),
        ("arch in ['cuda', 'rocm']", True),
        ("arch not in ['cuda', 'rocm']", False),
        ("'a' + 1 == 2 or true", None),
    ],
)
def test_quantities_are_computed(text: str, value: object) -> None:
    if value is None:
        with pytest.raises(ExpressionError):
            evaluate(text, SYSTEM)
    else:
        assert evaluate(text, SYSTEM) == value


@pytest.mark.parametrize(
    ("text", "fulfilled"),
    [
        ("gpu['count'] > 1", True),
        ("gpu.count > 8", False),
        ("len(nodes) >= 2", True),
        ("nodes >= 2", True),
        ("nodes >= 3", False),
        ("2 < nodes", False),
        ("gpu.capacity >= 80 GiB and arch == 'cuda'", True),
        ("arch == 'rocm'", False),
    ],
)
def test_conditions_hold_or_not(text: str, fulfilled: bool) -> None:
    assert holds(text, SYSTEM) is fulfilled


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 0, "missing"),
        ("1 +", 3, "missing"),
        ("(1", 2, "')' is missing"),
        ("1 2", 2, "not expected"),
        ("gpu. > 1", 5, "after the dot"),
        ("5 parsecs", 0, "no unit"),
        ("a ; b", 2, "';' is not expected"),
        ("__import__('os')", 0, "no function"),
        ("len(nodes", 9, "')' is missing"),
        ("a not b", 6, "'in' is missing"),
        ("(" * 60 + "1" + ")" * 60, 41, "too deep"),
    ],
)
def test_what_cannot_be_read_is_shown_with_a_caret(text: str, column: int, words: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        names(text)
    assert raised.value.column == column
    assert words in raised.value.message
    assert str(raised.value).splitlines()[-1] == "  " + " " * column + "^"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gup.count > 1", "'gup' is not known"),
        ("gpu.conut", "there is no 'conut'"),
        ("nodes[7]", "there is no 7"),
        ("arch.x", "has no parts"),
        ("1 / 0", "division by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("2 ** 5000", "too large"),
        ("10.0 ** 1000", "too large"),
        ("1e200 * 1e200", "no finite number"),
        ("(0 - 8) ** 0.5", "no finite number"),
        ("'a' * 1000", "needs numbers"),
        ("arch > 2", "cannot be compared"),
        ("len(3)", "cannot be computed"),
    ],
)
def test_what_cannot_be_computed_is_told(text: str, words: str) -> None:
    names(text)
    with pytest.raises(ExpressionError, match="(?s)" + words.replace("'", ".")):
        evaluate(text, SYSTEM)


def test_a_long_text_is_refused() -> None:
    with pytest.raises(ExpressionError, match="longer than"):
        names("1+" * 600 + "1")
    assert evaluate("1+" * 490 + "1") == 491


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(600, 600.0), (0.5, 0.5), ("600", 600.0), ("10m", 600.0), ("250ms", 0.25), ("1 h", 3600.0), ("1e-3", 0.001)],
)
def test_times_have_units(value: float | str, seconds: float) -> None:
    assert duration(value) == seconds


@pytest.mark.parametrize(
    ("value", "count"), [(1024, 1024), ("80 GiB", 80 * 1024**3), ("64Go", 64 * 10**9), ("81920 MiB", 80 * 1024**3)]
)
def test_sizes_have_units(value: float | str, count: int) -> None:
    assert size(value) == count


@pytest.mark.parametrize(
    ("text", "share"), [("2%", 0.02), ("0.5 %", 0.005), ("57%", 0.57), ("100%", 1.0), ("-1%", -0.01)]
)
def test_percentages_are_shares(text: str, share: float) -> None:
    assert percentage(text) == evaluate(text.replace(" ", "")) == share


@pytest.mark.parametrize("text", ["5", "0.05", "%", "half%", "5%%", "5 m%", "٥%", "5% of it", ""])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="not a percentage such as"):
        percentage(text)


@pytest.mark.parametrize(("read", "text"), [(duration, "٥m"), (size, "٥"), (evaluate, "٥ + 1"), (duration, "5%")])
def test_quantities_have_digits_and_units_of_their_own(read: Any, text: str) -> None:
    with pytest.raises(ExpressionError):
        read(text)


@pytest.mark.parametrize(("function", "value"), [(duration, "10 GiB"), (size, "10m"), (duration, "soon"), (size, "")])
def test_a_unit_of_the_wrong_kind_is_refused(function: Any, value: str) -> None:
    with pytest.raises(ExpressionError, match="not a (time|size)"):
        function(value)


@pytest.mark.parametrize(
    ("text", "meant", "chosen"),
    [
        ("vision", {"vision"}, True),
        ("vision and not multigpu", {"vision"}, True),
        ("vision and not multigpu", {"vision", "multigpu"}, False),
        ("a or b and c", {"a"}, True),
        ("(a or b) and c", {"a"}, False),
        ("not (a or b)", set(), True),
        ("not not a", {"a"}, True),
        ("a, b and c", {"b", "c"}, True),
        ("a,b", {"b"}, True),
        ("resnet50-bs[12]*", {"resnet50-bs[12]*"}, True),
    ],
)
def test_selections_hold_by_what_their_words_mean(text: str, meant: set[str], chosen: bool) -> None:
    assert selection(text).holds(lambda word: word in meant) is chosen


def test_a_selection_names_its_words_once() -> None:
    assert selection("a and (b* or not a), c").words == ("a", "b*", "c")


@pytest.mark.parametrize("text", ["", "a b", "(a", "and a", "a,,b", "not", "a)", "a or"])
def test_a_selection_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        selection(text)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("gpu['count'] > 1 and gpu.count > 2", [("gpu", "count")]),
        ("nodes[0].gpu['capacity'] > 40 GiB", [("nodes", 0), ("nodes", 0, "gpu"), ("nodes", 0, "gpu", "capacity")]),
        (
            "nodes[-1].ip == '' or nodes[2 - 1].ip",
            [("nodes", -1), ("nodes", -1, "ip"), ("nodes", 1), ("nodes", 1, "ip")],
        ),
        ("nodes[num_machines - 1].ip", []),
        ("[gpu][0].x == 1 or (gpu).x or max(gpu).y or [1, 2][0] or 'text'.z", []),
        ("gpu[cpu.count]", [("cpu", "count")]),
    ],
)
def test_the_parts_that_an_expression_looks_up_are_known_as_far_as_it_names_them(
    text: str, paths: list[tuple[object, ...]]
) -> None:
    assert list(lookups(text)) == paths
