"""A plan read back: what is damaged is told with its place, what a later version adds is passed over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import planned

from milabench.errors import RunDirError
from milabench.plan import codec

FILES = {"suite.yaml": "one: {command: {argv: [x]}, plan: {method: njobs}}\n"}


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads("".join(codec.lines(planned(tmp_path, FILES))))
    return found


def command(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["trials"][0]["jobs"][0]["commands"][0]
    return found


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no trials": (lambda it: it.pop("trials"), "trials is missing"),
    "trials that are a map": (lambda it: it.update(trials={}), "trials is a map, not a list"),
    "a trial that is text": (lambda it: it.update(trials=["x"]), "trials.0 is text, not a map"),
    "an unknown phase": (lambda it: it.update(phase="sleep"), "phase is text, not one of fetch, install, prepare, run"),
    "no argv": (lambda it: command(it).pop("argv"), "trials.0.jobs.0.commands.0.argv is missing"),
    "an argument that is a number": (lambda it: command(it).update(argv=["x", 3]), "argv.1 is a whole number, not"),
    "a variable that is null": (lambda it: command(it).update(env={"A": None}), "env.A is null, not text"),
    "a device that is true": (lambda it: command(it).update(devices=[True]), "devices.0 is true or false, not"),
    "a limit that is a list": (lambda it: it["trials"][0]["jobs"][0].update(limit=[]), "limit is a list, not a map"),
    "a configuration that is text": (lambda it: it.update(configs={"one": "x"}), "configs.one is text, not a map"),
    "another version": (lambda it: it.update(version=2), "a plan of version 2"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_with_its_place(
    document: dict[str, Any], damage: Callable[[dict[str, Any]], object], message: str
) -> None:
    damage(document)
    with pytest.raises(RunDirError) as caught:
        codec.from_json(document)
    assert message in str(caught.value)


def test_what_is_added_or_left_out_does_no_harm(document: dict[str, Any]) -> None:
    wanted = codec.from_json(document)
    document["new"] = command(document)["new"] = 1
    for key in ("rank", "devices", "metrics"):
        if command(document)[key] in (0, [], "file"):
            del command(document)[key]
    assert codec.from_json(document) == wanted


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["trials", "jobs", "phase", "tag"]), inner)
    ),
    max_leaves=10,
)


@given(values)
def test_whatever_it_holds_no_file_is_a_bug(value: object) -> None:
    with pytest.raises(RunDirError):
        codec.from_json(value)
    with pytest.raises(RunDirError):
        codec.from_json({"version": 1, "trials": value, "phase": "run", "skipped": [value, 1]})
