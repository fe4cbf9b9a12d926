"""Files whose beginning somebody else has: its room is given back, and what is there and what was there stays known."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from elsewhere import gives_room_back
from milabench.agent import grown
from milabench.agent.grown import Grown

MIB = 1 << 20
FIRST = os.urandom(4 * MIB)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def add(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def read(file: Grown, *, last: bool = False) -> bytes:
    """Read all that there is now."""
    content = b""
    file.look(last=last)
    while file.behind:
        piece = file.read()
        assert piece is not None
        content += piece.content
    return content


def free(file: Grown, content: bytes) -> bool:
    if not file.keeps(len(content), digest(content)):
        return False
    while file.free():
        pass
    return True


def account(file: Grown) -> object:
    while file.hash():
        pass
    return file.account()


def room(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "one.stdout"
    add(path, FIRST)
    return path


@pytest.fixture
def freed(path: Path, tmp_path: Path) -> Grown:
    """A file of which all that there is has been given back but for its end."""
    if not gives_room_back(tmp_path):
        pytest.skip("this file system gives no room back")
    file = Grown(str(path))
    assert read(file) == FIRST
    assert free(file, FIRST)
    return file


def test_the_room_of_what_somebody_has_is_given_back_and_all_of_it_is_accounted_for(freed: Grown, path: Path) -> None:
    assert room(path) <= MIB + (1 << 16)
    assert path.stat().st_size == len(FIRST)
    add(path, b"more")
    assert read(freed, last=True) == b"more"
    assert account(freed) == {"size": len(FIRST) + 4, "sha256": digest(FIRST + b"more"), "freed": len(FIRST)}


def test_it_is_given_back_again_and_again(freed: Grown, path: Path) -> None:
    add(path, FIRST)
    read(freed)
    assert free(freed, FIRST + FIRST)
    assert room(path) <= MIB + (1 << 16)
    assert not freed.keeps(len(FIRST), digest(FIRST))
    read(freed, last=True)
    assert account(freed) == {"size": 2 * len(FIRST), "sha256": digest(FIRST + FIRST), "freed": 2 * len(FIRST)}


def test_once_more_it_is_read_from_where_it_is_still_there(freed: Grown, path: Path) -> None:
    add(path, b"more")
    read(freed, last=True)
    again = freed.again()
    again.look(last=True)
    piece = again.read()
    assert piece is not None
    assert (piece.offset, piece.content, again.behind) == (len(FIRST), b"more", False)
    assert account(again) == account(freed)


def test_what_is_written_where_room_was_given_back_is_an_error(freed: Grown, path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    read(freed, last=True)
    assert account(freed) == {"error": "what had been sent of it was written over"}


def test_a_file_that_is_cut_begins_anew(freed: Grown, path: Path) -> None:
    path.write_bytes(b"anew")
    freed.look()
    piece = freed.read()
    assert piece is not None
    assert (piece.offset, piece.content, piece.cut) == (0, b"anew", True)
    read(freed, last=True)
    assert account(freed) == {"size": 4, "sha256": digest(b"anew")}


def test_of_what_somebody_has_otherwise_nothing_is_given_back(path: Path) -> None:
    file = Grown(str(path))
    read(file)
    assert free(file, FIRST[:-1] + b"x")
    assert room(path) >= len(FIRST)
    read(file, last=True)
    assert account(file) == {"size": len(FIRST), "sha256": digest(FIRST)}


def test_what_is_changed_while_somebody_else_gets_it_is_found_in_the_end(path: Path) -> None:
    file = Grown(str(path))
    read(file)
    with path.open("r+b") as other:
        other.write(b"other")
    assert free(file, FIRST)
    assert room(path) >= len(FIRST)
    read(file, last=True)
    assert account(file) == {"size": len(FIRST), "sha256": digest(b"other" + FIRST[5:])}


def test_nobody_can_have_what_was_not_read(path: Path) -> None:
    file = Grown(str(path))
    assert not file.keeps(len(FIRST), digest(FIRST))
    file.look()
    assert not file.keeps(len(FIRST), digest(FIRST))


def test_a_file_that_has_another_name_is_left_alone(path: Path, tmp_path: Path) -> None:
    os.link(path, tmp_path / "somebody's")
    file = Grown(str(path))
    read(file)
    assert free(file, FIRST)
    assert (tmp_path / "somebody's").read_bytes() == FIRST


def test_where_the_file_system_gives_no_room_back_all_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grown, "give_back", lambda *_: False)
    file = Grown(str(path))
    read(file)
    assert free(file, FIRST)
    assert account(file) == {"size": len(FIRST), "sha256": digest(FIRST)}
    assert file.again().look()
