"""argv from a suite's mapping."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milabench.utils import assemble_options


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({"--lr": 0.01, "--epochs": 50}, ["--lr", "0.01", "--epochs", "50"]),
        ({"--no-stdout": True, "dqn": True}, ["dqn", "--no-stdout"]),
        ({"--a": None, "--b": ""}, ["--b", ""]),
        ({"--sizes": [1, 2, 3]}, ["--sizes", "1,2,3"]),
        ({"--x": 1, "--": ["run", "it"], "--y": 2}, ["--x", "1", "run", "it", "--y", "2"]),
        ({'repo_id="a/b"': True, "--json": '{"image":10}'}, ['repo_id="a/b"', "--json", '{"image":10}']),
        (["-m", "thing", 3], ["-m", "thing", "3"]),
    ],
)
def test_options_become_tokens(options: object, tokens: list[str]) -> None:
    assert assemble_options(options) == tokens


def test_false_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="use null to drop the option"):
        assemble_options({"--a": False})


bare = st.text("abz/=", min_size=1, max_size=5)
dashed = st.tuples(st.sampled_from(["-", "--"]), bare).map("".join)
plain_values = st.integers(0, 99) | st.floats(0, 1) | bare | st.just("")
option_values = plain_values | st.lists(plain_values, min_size=1, max_size=3)
option_maps = st.one_of(
    st.dictionaries(dashed, st.none() | st.just(True) | option_values, max_size=5),
    st.dictionaries(bare, st.none() | st.just(True), max_size=3),
)


def read_back(words: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return the map that words came from, reading them as a program would: options take a value where theirs do."""
    found: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        found[word] = True if options[word] is True else words.pop(0)
    return found


@settings(max_examples=200, deadline=None)
@given(option_maps, option_maps)
def test_words_say_what_the_map_says_positionals_first(one: dict[str, Any], two: dict[str, Any]) -> None:
    options = {**one, **two}
    words = assemble_options(options)
    written = {
        key: True if value is True else ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in options.items()
        if value is not None
    }
    assert read_back(list(words), options) == written
    bare_first = [key for key in written if not key.startswith("-")]
    assert words[: len(bare_first)] == bare_first
    assert [word for word in words[len(bare_first) :] if word in written and word.startswith("-")] == [
        key for key in written if key.startswith("-")
    ]


@settings(max_examples=50, deadline=None)
@given(option_maps, st.lists(plain_values, max_size=4))
def test_a_list_is_taken_word_for_word_alone_and_after_two_dashes(options: dict[str, Any], words: list[Any]) -> None:
    spelled = [str(word) for word in words]
    assert assemble_options(words) == spelled
    assert assemble_options({**options, "--": words}) == [*assemble_options(options), *spelled]
