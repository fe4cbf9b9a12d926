"""Paths as users write them: none raises an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from milabench import paths


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("~/x", "/home/me/x"),
        ("~", "/home/me"),
        ("$HOME/x", "/home/me/x"),
        ("$HOME", "/home/me"),
        ("$HOMER/x", "$HOMER/x"),
        ("~nobody-there/x", "~nobody-there/x"),
        ("a/~", "a/~"),
        ("/x", "/x"),
    ],
)
def test_a_home_folder_is_that_of_a_user_who_is_there(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.expanded(name) == Path(expected)


@pytest.mark.parametrize(("name", "found"), [("here", True), ("x" * 300, False), ("here/x", False), ("a\0b", False)])
def test_what_cannot_be_looked_at_is_not_there(tmp_path: Path, name: str, found: bool) -> None:
    (tmp_path / "here").touch()
    assert paths.exists(tmp_path / name) is found


def test_a_path_is_made_once_for_all_who_name_it() -> None:
    assert paths.shared("/data") is paths.shared("/data")
    assert paths.joined(Path("/data"), "x") is paths.joined(Path("/data"), "x")
    assert paths.joined(Path("/data"), "x") == Path("/data/x")
