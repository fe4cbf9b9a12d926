"""What a probe could see of a function, judged from its source."""

from __future__ import annotations

import functools
import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from benchmate import sight
from benchmate.sight import RETURNED, blind_spot, called_while_loading, unresolved


def everything(argument, *rest, key=None, **others):
    """Bind variables in all ways there are."""
    import json.decoder
    import os.path as imported

    plain = argument
    first, (second, third) = rest
    [listed] = rest
    annotated: int = 1
    counted = 0
    counted += 1
    for number, word in enumerate(rest):
        looped = number, word
    if (walrus := plain) is None:
        pass
    try:
        pass
    except ValueError as error:
        print(error)
    with open(__file__) as file:  # noqa: PTH123
        read = file
    gathered = [each for each in rest]  # noqa: C416
    match argument:
        case {"a": matched, **_kept}:
            pass
        case [captured, *_]:
            pass

    def within():
        inner = matched
        return [inner]

    return (
        imported,
        first,
        second,
        third,
        annotated,
        looped,
        walrus,
        read,
        gathered,
        captured,
        within,
        sys,
        listed,
        json,
    )


SEEN = (
    *(
        "argument",
        "rest",
        "key",
        "others",
        "imported",
        "plain",
        "first",
        "second",
        "third",
        "annotated",
        "counted",
        "third",
    ),
    *("number", "word", "looped", "walrus", "error", "read", "gathered", "sys", "print", RETURNED),
)


@pytest.mark.parametrize("variable", SEEN)
def test_what_ptera_sees_has_no_blind_spot(variable: str) -> None:
    assert blind_spot(everything, [variable]) is None


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("file", "`file` of everything() is bound by `with … as`"),
        ("each", "`each` of everything() is bound by a comprehension"),
        ("listed", "`listed` of everything() is bound by a list of variables"),
        ("json", "`json` of everything() is bound by a dotted import"),
        ("matched", "`matched` of everything() is bound by `case`"),
        ("inner", "`inner` of everything() is one of within(), the function in it: probe everything/within > inner"),
        ("plane", "everything() has no variable `plane` (did you mean `plain`?)"),
        ("zzz", "everything() has no variable `zzz`"),
    ],
)
def test_what_ptera_does_not_see_is_named(variable: str, reason: str) -> None:
    found = blind_spot(everything, [variable])
    assert found is not None
    assert found.startswith(reason)


async def waited():
    return 1


async def waited_often():
    yield 1


def numbers():
    yield from [1, 2]


def numbers_and_more():
    yield 1
    return 2


def nothing():
    def within():
        return 1

    within()


def starred():
    first, *rest = [1, 2]
    return first, rest


def attribute():
    for Path.last in [1]:  # type: ignore[attr-defined]
        pass
    return 1


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (waited, "waited() is async"),
        (waited_often, "waited_often() is async"),
        (numbers, "numbers() is a generator, whose result ptera does not see"),
        (nothing, "nothing() has no return statement"),
        (lambda: 1, "a lambda has no body"),
        (functools.partial(numbers), "it is a partial of numbers(): probe that function"),
        (math.sin, "it is written in C"),
        (dict, "it is a class"),
        (Path("x"), "it is no function but "),
        (starred, "starred() unpacks into a starred variable at `(first, *rest)`"),
        (attribute, "attribute() has a loop over something else than plain variables at `Path.last`"),
    ],
)
def test_a_result_that_ptera_does_not_see_is_named(function: Any, reason: str) -> None:
    found = blind_spot(function, [RETURNED])
    assert found is not None
    assert found.startswith(reason)


def test_a_generator_that_returns_something_may_be_probed_for_it() -> None:
    assert blind_spot(numbers_and_more, [RETURNED]) is None


def test_a_function_without_a_source_is_named() -> None:
    names: dict[str, Any] = {}
    exec("def made():\n    return 1\n", names)
    assert blind_spot(names["made"], [RETURNED]) == (
        "the source of made() cannot be read (made by exec, or built in), and ptera rewrites source"
    )


def test_what_is_no_variable_is_left_to_ptera() -> None:
    assert blind_spot(everything, ["#enter", "#loop_number", "plain.attribute"]) is None


@pytest.fixture
def module(tmp_path: Path) -> types.ModuleType:
    """A module as a script is one, whose file says what is in it."""
    source = (
        "import functools\n"
        "def loader():\n    return []\n"
        "class Recipe:\n    def setup(self):\n        return 1\n    def __call__(self):\n        return 2\n"
        "def factory():\n    def made():\n        return 1\n    return made\n"
        "short = lambda: 1\n"
        "bound = functools.partial(loader)\n"
        "one = factory()\n"
        "alias = loader\n"
        "recipe = Recipe()\n"
        "constant = 3\n"
    )
    path = tmp_path / "script.py"
    path.write_text(source)
    made = types.ModuleType("script")
    made.__file__ = str(path)
    exec(compile(source, str(path), "exec"), vars(made))
    return made


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("lodaer", "script has no function lodaer (did you mean loader?)"),
        ("setup", "script has no function setup (did you mean Recipe/setup?)"),
        ("made", "script has no function made (did you mean factory/made?)"),
        ("factory/made", "factory/made is a function that another one makes: a probe needs exactly one of them"),
        ("Recipe", "it is a class: probe a method of it (Recipe/__init__ …)"),
        ("short", "it is a lambda, which ptera does not find by a name"),
        ("bound", "it is a partial of loader(): probe that function"),
        ("one", "it is a function that another one made: its name is factory/made"),
        ("alias", "it stands for /script/loader: probe that"),
        ("recipe", "it is an object of Recipe: probe Recipe/__call__"),
        ("constant", "it is no function but int"),
        ("zzzzz", "script has no function zzzzz"),
    ],
)
def test_a_name_that_ptera_does_not_find_is_explained(module: types.ModuleType, path: str, reason: str) -> None:
    assert unresolved(path.split("/"), module, "script").startswith(reason)


def test_a_module_that_is_not_there_is_named() -> None:
    assert unresolved(["f"], None, "nowhere") == "there is no module nowhere"


def test_a_module_without_a_file_is_known_by_what_it_holds() -> None:
    made = types.ModuleType("made")
    made.loader = nothing  # type: ignore[attr-defined]
    assert unresolved(["loadr"], made, "made") == "made has no function loadr (did you mean loader?)"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("def f():\n    return 1\nx = f()\ndef g():\n    f()\n", 3),
        ("def f():\n    return 1\nif True:\n    x = [f() for _ in 'a']\nclass G: pass\n", 4),
        ("def f():\n    return 1\ndef g():\n    f()\nx = f()\n", None),
        ("def f(\n", None),
    ],
)
def test_a_call_before_the_last_definition_is_found(tmp_path: Path, source: str, line: int | None) -> None:
    path = tmp_path / "main.py"
    path.write_text(source)
    assert called_while_loading(str(path), "f") == line


def test_a_script_that_is_gone_calls_nothing(tmp_path: Path) -> None:
    assert called_while_loading(str(tmp_path / "gone.py"), "f") is None


def test_returned_is_ptera_s_name_for_it() -> None:
    assert sight.RETURNED == "#value"
