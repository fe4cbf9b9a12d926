"""The examples of the reference page of the Observer run, and write what they are there to show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from loops import events, rows

from benchmate.observe import Observer, StopProgram

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "observer.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILABENCH_EVENTS", str(tmp_path / "a.data"))
    monkeypatch.setenv("MILABENCH_STEPS", str(tmp_path / "a.steps"))
    monkeypatch.setenv("MILABENCH_ARCH", "cpu")


def run(source: str) -> None:
    names: dict[str, Any] = {}
    try:
        exec(compile(source, "observer.md", "exec"), names)  # noqa: S102 - our own page
    except StopProgram:
        names["stopped"] = True
    names["observer"].close()


@pytest.mark.parametrize(
    ("index", "count", "steps"),
    [(0, 32, 65), (1, 32, 8), (2, 128, 40)],
    ids=["loader", "accumulation", "by hand"],
)
def test_an_example_makes_the_steps_it_shows(tmp_path: Path, index: int, count: int, steps: int) -> None:
    run(EXAMPLES[index])
    made = rows(tmp_path)
    assert (len(made), made[0][2]) == (steps, count)
    assert [row[3] for row in made] == [0] * 5 + [1] * (steps - 5)
    assert [event for event, _ in events(tmp_path)].count("measured") == 1


def test_there_is_no_other_example() -> None:
    assert len(EXAMPLES) == 3


def test_every_public_name_stands_on_the_page() -> None:
    names = {name for name in vars(Observer) if not name.startswith("_")}
    assert {name for name in names if f"`{name}" not in PAGE} == set()
