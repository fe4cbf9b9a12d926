"""Files that grow, read piece by piece: all of each once, in order, and what they were at last."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmate.wire import GOOD, MEASURED, StepsHeader, StepsWriter, read_steps
from milabench.agent.grown import PIECE_BYTES, Grown, GrownSteps


class Copy:
    """What somebody has who takes all pieces."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.seen: list[tuple[int, int]] = []  # rows that the header counts, and rows that are there

    def take(self, file: Grown, *, last: bool = False) -> int:
        """Read all that there is now; return how many pieces it came in."""
        pieces = 0
        file.look(last=last)
        while file.behind:
            piece = file.read()
            assert piece is not None
            if piece.cut:
                self.content.clear()
            self.content.extend(bytes(max(piece.offset - len(self.content), 0)))
            self.content[piece.offset : piece.offset + len(piece.content)] = piece.content
            pieces += 1
            self._note_steps()
        return pieces

    def _note_steps(self) -> None:
        if self.content.startswith(b"BMSTEPS"):
            header = StepsHeader.decode(bytes(self.content[:64]), "")
            self.seen.append((header.rows, (len(self.content) - 64) // header.row_size))


def account(file: Grown) -> object:
    file.look(last=True)
    while file.hash():
        pass
    return file.account()


def known(content: bytes) -> dict[str, object]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "one.stdout"


def test_what_is_added_is_read_once(path: Path) -> None:
    file, copy = Grown(str(path)), Copy()
    assert copy.take(file) == 0
    path.write_bytes(b"one\n")
    assert (copy.take(file), copy.take(file)) == (1, 0)
    with path.open("ab") as more:
        more.write(b"tw")
    assert copy.take(file) == 1
    assert copy.content == b"one\ntw"
    assert account(file) == known(b"one\ntw")


def test_much_is_read_in_pieces(path: Path) -> None:
    content = os.urandom(3 * PIECE_BYTES + 5)
    path.write_bytes(content)
    file, copy = Grown(str(path)), Copy()
    assert copy.take(file) == 4
    assert copy.content == content
    assert account(file) == known(content)


def test_an_empty_file_is_one_and_one_that_is_not_there_is_none(path: Path) -> None:
    file = Grown(str(path))
    assert account(file) is None
    path.touch()
    assert account(Grown(str(path))) == known(b"")


CHANGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(b"new"),
    "emptied": lambda path: path.write_bytes(b""),
    "replaced by a longer one": lambda path: (path.unlink(), path.write_bytes(b"new, and longer than before")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_begins_anew_is_read_anew(path: Path, change: Callable[[Path], object]) -> None:
    path.write_bytes(b"old content")
    file, copy = Grown(str(path)), Copy()
    copy.take(file)
    (path.parent / "kept").hardlink_to(path)  # its number is not given to the next
    change(path)
    copy.take(file, last=True)
    assert copy.content == path.read_bytes()
    assert account(file) == known(path.read_bytes())


def test_what_is_written_over_shows_in_the_hash(path: Path) -> None:
    path.write_bytes(b"0123456789")
    file, copy = Grown(str(path)), Copy()
    copy.take(file)
    with path.open("r+b") as over:
        over.write(b"abc")
    assert copy.take(file, last=True) == 0
    assert account(file) == known(b"abc3456789")


def test_a_file_that_is_removed_while_it_is_read_is_none(path: Path) -> None:
    path.write_bytes(b"x" * (PIECE_BYTES + 1))
    file = Grown(str(path))
    file.look()
    assert file.read() is not None
    path.unlink()
    assert file.read() is None
    assert not file.behind
    assert account(file) is None


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_file_is_not_read(path: Path, make: Callable[[Path], object]) -> None:
    make(path)
    file = Grown(str(path))
    assert not file.look(last=True)
    assert file.account() == {"error": "it is no file any more"}


def test_rows_are_read_as_the_header_counts_them_and_come_before_it(tmp_path: Path) -> None:
    path = tmp_path / "one.steps"
    writer = StepsWriter(path, unit="items", zero_ns=7)
    file, copy, row = GrownSteps(str(path)), Copy(), 40
    assert copy.take(file) == 1
    assert len(copy.content) == StepsHeader.SIZE  # nothing of the room that is made ahead
    for step in range(5000):  # makes room once more
        writer.append(step, step + 1, 64, MEASURED, GOOD)
        if step in (0, 9, 4998):
            copy.take(file)
            assert len(copy.content) == StepsHeader.SIZE + (step + 1) * row
    assert all(counted <= there for counted, there in copy.seen)
    writer.close()
    copy.take(file, last=True)
    assert bytes(copy.content) == path.read_bytes()
    assert account(file) == known(path.read_bytes())


def test_of_a_writer_that_was_killed_the_rows_are_read_and_no_room(tmp_path: Path) -> None:
    path = tmp_path / "one.steps"
    writer = StepsWriter(path, unit="items", zero_ns=7)
    writer.append(1, 2, 64, MEASURED, GOOD)
    file, copy = GrownSteps(str(path)), Copy()
    copy.take(file, last=True)
    (tmp_path / "copy.steps").write_bytes(copy.content)
    assert len(copy.content) == StepsHeader.SIZE + 40 < path.stat().st_size
    assert read_steps(tmp_path / "copy.steps") == read_steps(path)
    assert account(file) == known(bytes(copy.content))


def test_steps_that_begin_anew_are_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "one.steps"
    file, copy = GrownSteps(str(path)), Copy()
    for unit, rows in (("items", 3), ("tokens", 2)):
        path.unlink(missing_ok=True)
        writer = StepsWriter(path, unit=unit, zero_ns=7)
        for step in range(rows):
            writer.append(step, step + 1, 64, MEASURED, GOOD)
        copy.take(file)
    writer.close()
    copy.take(file, last=True)
    assert bytes(copy.content) == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 500])
def test_what_are_no_steps_is_kept_as_it_is_in_the_end(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "one.steps"
    path.write_bytes(content)
    file, copy = GrownSteps(str(path)), Copy()
    assert copy.take(file) == 0
    copy.take(file, last=True)
    assert copy.content == content
    assert account(file) == known(content)


def test_steps_whose_header_counts_more_than_there_is_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    path = tmp_path / "one.steps"
    writer = StepsWriter(path, unit="items", zero_ns=7)
    for step in range(10):
        writer.append(step, step + 1, 64, MEASURED, GOOD)
    writer.close()
    os.truncate(path, 64 + 3 * 40 + 5)
    file, copy = GrownSteps(str(path)), Copy()
    copy.take(file, last=True)
    assert bytes(copy.content) == path.read_bytes()
    assert account(file) == known(path.read_bytes())
