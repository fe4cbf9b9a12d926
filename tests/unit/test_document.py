from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from milabench.document import Node, annotate, dump, parse, plain, read, strings
from milabench.errors import ConfigurationError, Mark


def root(text: str) -> Node:
    node = parse(text, "f.yaml")
    assert node is not None
    return node


def failure(text: str) -> list[tuple[str, int, int]]:
    with pytest.raises(ConfigurationError) as raised:
        parse(text, "f.yaml")
    return [(problem.code, problem.mark.line, problem.mark.column) for problem in raised.value.problems if problem.mark]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("True", True),
        ("false", False),
        ("tRUE", "tRUE"),
        ("'true'", "true"),
        ("1_000", 1000),
        ("-3", -3),
        ("010", "010"),
        ("0x1f", 31),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1.0e-5", 1e-5),
        ("6e-4", "6e-4"),
        (".inf", float("inf")),
        ("~", None),
        ("null", None),
        ("", None),
        ("''", ""),
        ("tf32-fp16", "tf32-fp16"),
        ("!!str 8", "8"),
        ("[1, a]", [1, "a"]),
    ],
)
def test_plain_words_have_the_type_users_expect(text: str, value: object) -> None:
    result = plain(root(f"key: {text}"))["key"]
    assert (result, type(result)) == (value, type(value))


def test_every_value_and_key_knows_its_place() -> None:
    node = root("a:\n  --lr: 0.01\n  list:\n    - x\n    - y\n")
    assert isinstance(node.value, dict)
    inner = node.value["a"].value
    assert isinstance(inner, dict)
    assert inner["--lr"].mark == Mark(file="f.yaml", line=2, column=9)
    assert inner["--lr"].key_mark == Mark(file="f.yaml", line=2, column=3)
    items = inner["list"].value
    assert isinstance(items, list)
    assert items[1].key_mark == items[1].mark == Mark(file="f.yaml", line=5, column=7)


def test_numbers_keep_their_spelling() -> None:
    assert [item.text for item in root("[0.10, true, word]").value] == ["0.10", "true", None]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a: 1\nb: 2\na: 3\nb: 4\n", [("E104", 3, 1), ("E104", 4, 1)]),
        ("a:\n  --loader: x\n  --loader: y\n", [("E104", 3, 3)]),
        ("a: [1\nb: 2\n", [("E102", 2, 2)]),
        ("a: 1\n\tb: 2\n", [("E102", 2, 1)]),
        ("a: &x [*x]", [("E102", 1, 4)]),
        ("a: *missing", [("E102", 1, 4)]),
        ("a: !!python/name:os.system x", [("E102", 1, 4)]),
        ("a: !expand-dot {b.c: 1}", [("E102", 1, 4)]),
        ("? [a]\n: b", [("E102", 1, 3)]),
        ("<<: 3", [("E102", 1, 5)]),
        ("a: 1\n---\nb: 2", [("E102", 2, 1)]),
        ("[" * 100 + "]" * 100, [("E102", 1, 62)]),
    ],
)
def test_what_is_no_proper_yaml_is_told_at_its_place(text: str, places: list[tuple[str, int, int]]) -> None:
    assert failure(text)[: len(places)] == places


def test_aliases_cannot_make_a_small_file_mean_a_huge_one() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert failure("\n".join(levels))[0][0] == "E102"


def test_merge_keys_fill_in_what_is_not_written() -> None:
    node = root("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  y: 5\n  <<: [*a, *b]\n")
    assert plain(node)["c"] == {"x": 1, "y": 5, "z": 4}


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "E103", "empty"),
        (b"# only a comment\n", "E103", "empty"),
        (b"- a\n", "E103", "this is a list"),
        (b"word\n", "E103", "this is text"),
        (b"a: \xff\n", "E102", "invalid YAML"),
        (None, "E101", "there is no such file"),
    ],
)
def test_a_file_that_holds_no_map_is_told(tmp_path: Path, content: bytes | None, code: str, words: str) -> None:
    path = tmp_path / "s.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        read(path)
    (problem,) = raised.value.problems
    assert problem.code == code
    assert words in problem.message
    assert str(problem).startswith(f"{path}:1:")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(tmp_path)


def test_annotated_data_is_written_where_its_template_was() -> None:
    at = root("a")
    node = annotate({"k": [1, None]}, at)
    assert plain(node) == {"k": [1, None]}
    assert isinstance(node.value, dict)
    assert node.value["k"].mark == at.mark
    assert list(strings(annotate({"k": ["v", 1]}, at))) == ["k", "v"]


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=5).map(
    lambda word: f"w{word}"
)
data = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(words, data, max_size=4))
def test_what_yaml_writes_is_read_as_it_was(value: dict[str, object]) -> None:
    assert plain(root(yaml.safe_dump(value))) == value


ODD = ["1.5e3", "6e-4", "yes", "0x1f", "1_0", "~", "null", "010", "1:30", "2020-01-01", "<<", "=", "- a", "a: b", "#x"]
texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8) | st.sampled_from(ODD)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
data = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)


def typed(value: object) -> object:
    """Return a value in which 1, 1.0 and true differ."""
    match value:
        case dict():
            return {key: typed(item) for key, item in value.items()}
        case list():
            return [typed(item) for item in value]
        case _:
            return type(value), value


@settings(max_examples=200, deadline=None)
@given(data)
def test_what_is_dumped_is_read_as_it_was(value: object) -> None:
    assert typed(plain(root(dump({"v": value})))) == typed({"v": value})


@pytest.mark.parametrize("word", ["yes", "1.5e3", "010", "1:30"])
def test_a_text_that_any_reader_of_yaml_could_misread_is_quoted(word: str) -> None:
    assert dump({"v": word}) == f"v: '{word}'\n"
