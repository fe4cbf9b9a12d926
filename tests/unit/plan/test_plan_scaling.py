"""Scaling files: both versions are read, mistakes are told with their places, and what is added keeps the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from milabench.errors import ConfigurationError
from milabench.plan.scaling import Entry, Observation, Scaling, read, with_observations

MIB = 2**20


def from_text(folder: Path, text: str) -> Scaling:
    path = folder / "scaling.yaml"
    path.write_text(text)
    return read(path)


def test_both_versions_are_read(tmp_path: Path) -> None:
    first = "version: 1.0\nbert: {arg: --batch-size, default: 8, model: {16: 4 MiB, 8: 2.5MiB}, optimized: 12}\n"
    assert from_text(tmp_path, first).entries == {
        "bert": Entry(
            observations=(
                Observation(batch_size=8, memory_bytes=5 * MIB // 2),
                Observation(batch_size=16, memory_bytes=4 * MIB),
            ),
            optimized=12,
        )
    }
    second = "bert:\n  observations:\n  - {batch_size: 8, cpu: 4, memory: 2 MiB, perf: 1.5, time: 17}\nx-note: mine\n"
    for version in ("", "version: 2.0\n", "version: 2\n"):
        found = from_text(tmp_path, version + second)
        assert found.file == str(tmp_path / "scaling.yaml")
        assert found.entries == {
            "bert": Entry(observations=(Observation(batch_size=8, memory_bytes=2 * MIB, perf=1.5, cpu=4, time=17),))
        }


@pytest.mark.parametrize("entry", ["{}", "null", "{arg: --batch, model: null}", "{observations: []}"])
def test_an_entry_may_have_seen_nothing_yet(tmp_path: Path, entry: str) -> None:
    assert from_text(tmp_path, f"bert: {entry}\n").entries == {"bert": Entry(observations=())}


@pytest.mark.parametrize(
    ("text", "code", "place", "suggestion"),
    [
        ("version: 3\n", "E306", (1, 10), None),
        ("bert: [8]\n", "E301", (1, 7), None),
        ("bert: {modle: {8: 1 MiB}, model: {8: 1 MiB}}\n", "E201", (1, 8), "model"),
        ("bert: {model: {eight: 1 MiB}}\n", "E301", (1, 16), None),
        ("bert: {model: {0: 1 MiB}}\n", "E301", (1, 16), None),
        ("bert: {model: {8: 1 apple}}\n", "E303", (1, 19), None),
        ("bert: {model: {8: [1]}}\n", "E301", (1, 19), None),
        ("bert: {model: {8: 1 MiB}, optimized: 0}\n", "E302", (1, 38), None),
        ("bert: {observations: {batch_size: 8}}\n", "E301", (1, 22), None),
        ("bert: {observations: [8]}\n", "E301", (1, 23), None),
        ("bert: {observations: [{batch_size: 8}]}\n", "E216", (1, 23), None),
        ("bert: {observations: [{batch_size: 8, memory: 1 MiB, pref: 3}]}\n", "E201", (1, 54), "perf"),
        ("bert: {observations: [{batch_size: 8, memory: 1 MiB, perf: fast}]}\n", "E301", (1, 60), None),
        ("bert: {observations: [{batch_size: 8.5, memory: 1 MiB}]}\n", "E301", (1, 36), None),
    ],
)
def test_a_mistake_is_told_with_its_place(
    tmp_path: Path, text: str, code: str, place: tuple[int, int], suggestion: str | None
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        from_text(tmp_path, text)
    (problem,) = raised.value.problems
    assert problem.mark is not None
    assert (problem.code, (problem.mark.line, problem.mark.column), problem.suggestion) == (code, place, suggestion)


ADDED = Observation(batch_size=4, memory_bytes=3 * MIB + 5, perf=1.23456, cpu=2, time=9)
ROW = {"batch_size": 4, "cpu": 2, "memory": "3 MiB", "perf": 1.23, "time": 9}


def test_observations_are_added_in_the_order_of_batch_sizes() -> None:
    row = {"batch_size": 8, "memory": "5 MiB", "perf": 2}
    written = {"version": 2.0, "bert": {"observations": [row]}, "x-note": {"by": "me"}}
    assert with_observations(written, [("bert", ADDED), ("gpt", ADDED)]) == {
        "version": 2.0,
        "bert": {"observations": [ROW, row]},
        "x-note": {"by": "me"},
        "gpt": {"observations": [ROW]},
    }
    assert written["bert"] == {"observations": [row]}


def test_a_file_of_version_1_becomes_one_of_version_2() -> None:
    written = {"version": 1.0, "bert": {"arg": "--b", "model": {"8": "5 MiB"}, "optimized": 8}}
    assert with_observations(written, [("bert", ADDED)]) == {
        "version": 2.0,
        "bert": {"arg": "--b", "optimized": 8, "observations": [ROW, {"batch_size": 8, "memory": "5 MiB"}]},
    }
