"""The examples of the reference page of the Session run, and all that it offers stands there."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from loops import events, rows

from benchmate import session
from benchmate.session import Result, Session, Stop, Target

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "session.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILABENCH_EVENTS", str(tmp_path / "a.data"))
    monkeypatch.setenv("MILABENCH_STEPS", str(tmp_path / "a.steps"))
    monkeypatch.setenv("MILABENCH_ARCH", "cpu")


@pytest.mark.parametrize(("index", "measured"), [(0, 500), (1, 400)], ids=["whole", "parts"])
def test_an_example_makes_the_inferences_it_shows(tmp_path: Path, index: int, measured: int) -> None:
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[index], "session.md", "exec"), names)  # noqa: S102 - our own page
    assert [row[3] for row in rows(tmp_path)] == [0] * 5 + [1] * measured
    assert [event for event, _ in events(tmp_path)] == ["hello", "measured", "stop"]
    assert names["result"].n == measured


def test_there_is_no_other_example() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("kind", [Target, Stop, Result])
def test_every_field_stands_on_the_page(kind: Any) -> None:
    assert {field.name for field in fields(kind) if f"`{field.name}" not in PAGE and f"{field.name}=" not in PAGE} == (
        set()
    )


def test_every_public_name_stands_on_the_page() -> None:
    offered = {name for name in session.__all__ if name not in ("Load", "Result")}
    methods = {name for kind in (Session, Result) for name in vars(kind) if not name.startswith("_")}
    assert {
        name for name in offered | (methods - {field.name for field in fields(Result)}) if name not in PAGE
    } == set()
