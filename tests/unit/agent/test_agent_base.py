"""Marks that nodes leave in their bases, to find out which have the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milabench.agent import base


def leave(folder: Path, name: str, *, session: str = "s", absent: str = "make") -> bool:
    marked: bool = base.mark({"base": str(folder), "session": session, "name": name, "absent": absent})["marked"]
    return marked


def seen(folder: Path, session: str = "s") -> list[str]:
    names: list[str] = base.marks({"base": str(folder), "session": session})["names"]
    return names


def test_who_has_the_same_base_sees_the_others_marks(tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    assert all([leave(shared, "node1"), leave(shared, ""), leave(own, "node2")])
    assert (seen(shared), seen(own)) == (["", "node1"], ["node2"])


def test_marks_of_another_session_do_not_count(tmp_path: Path) -> None:
    leave(tmp_path, "node1", session="before")
    leave(tmp_path, "node2")
    assert seen(tmp_path) == ["node2"]


@pytest.mark.parametrize("otherwise", ["check", "leave"])
def test_a_base_is_made_where_that_is_asked_for_alone(tmp_path: Path, otherwise: str) -> None:
    absent = tmp_path / "absent"
    assert not leave(absent, "node1", absent=otherwise)
    assert (seen(absent), absent.exists()) == ([], False)
    assert leave(absent, "node1", absent="make")


def test_a_base_that_could_not_be_made_is_an_error_where_that_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    below = tmp_path / "file" / "base"
    with pytest.raises(PermissionError, match="it is not there, and cannot be made"):
        leave(below, "node1", absent="check")
    assert not leave(below, "node1", absent="leave")


def test_nothing_is_left_of_the_marks(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"base": str(tmp_path), "session": "s"}
    leave(tmp_path, "node1")
    base.unmark(asked)
    assert (seen(tmp_path), list(tmp_path.iterdir())) == ([], [])
    base.unmark(asked)  # another node that has the same base was first


def test_a_base_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "base").write_text("no folder")
    with pytest.raises(OSError):
        leave(tmp_path / "base", "node1")
