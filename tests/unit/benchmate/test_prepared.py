"""Data that is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmate.prepared import make_once


def once(path: Path, content: str, wanted: str | None = None) -> bool:
    def make(part: Path) -> None:
        assert list(part.iterdir()) == []
        (part / "data").write_text(content)
        if content == "broken":
            raise ValueError("the disk is full")
        (part / "manifest").write_text(content)

    def whole(found: Path) -> bool:
        return (found / "manifest").exists() and (found / "manifest").read_text() == (wanted or content)

    return make_once(path, manifest="manifest", whole=whole, make=make)


def test_what_is_whole_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "set"
    assert [once(path, "a"), once(path, "a"), once(path, "b")] == [True, False, True]
    assert (path / "data").read_text() == "b"


def test_what_could_not_be_made_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "set"
    once(path, "a")
    with pytest.raises(ValueError, match="the disk is full"):
        once(path, "broken")
    assert (path / "data").read_text() == "a"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["set", "set.lock"]


def test_what_somebody_else_put_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "set"
    path.mkdir()
    (path / "mine").touch()
    with pytest.raises(SystemExit, match="holds something else and is left alone"):
        once(path, "a")
    assert [each.name for each in path.iterdir()] == ["mine"]
