"""Files that grow: their new lines, and being told that there are some."""

from __future__ import annotations

import os
import select
import struct
from pathlib import Path

from milabench.agent.tail import Tail, Watcher


def test_only_what_comes_later_is_read_and_only_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.data"
    path.write_text("old\n")
    tail = Tail(str(path))
    assert list(tail.lines()) == []
    for text, lines in (("one\ntw", [b"one"]), ("o", []), ("\n\nthree\n", [b"two", b"", b"three"])):
        with path.open("a") as file:
            file.write(text)
        assert list(tail.lines()) == lines


def test_a_file_that_is_not_there_yet_is_read_from_its_start(tmp_path: Path) -> None:
    tail = Tail(str(tmp_path / "a.data"))
    (tmp_path / "a.data").write_text("one\n")
    assert list(tail.lines()) == [b"one"]


def test_one_part_of_much_is_read_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.data"
    path.touch()
    tail = Tail(str(path))
    lines = [b"%d" % number for number in range(30_000)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    found, parts = tail.lines(), 1
    assert 0 < len(found) < len(lines)
    while tail.behind:
        found += tail.lines()
        parts += 1
    assert found == lines
    assert parts == path.stat().st_size // (1 << 16) + 1


def test_a_line_of_megabytes_is_passed_over(tmp_path: Path) -> None:
    tail = Tail(str(tmp_path / "a.data"))
    (tmp_path / "a.data").write_bytes(b"x" * (3 << 20) + b"\nshort\n")
    found = tail.lines()
    while tail.behind:
        found += tail.lines()
    assert found == [b"short"]


def test_a_change_is_told_once_for_all_that_was_written(tmp_path: Path) -> None:
    watcher, told = Watcher(), []
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.touch()
    watches = [watcher.add(str(path), lambda path=path: told.append(path.name)) for path in paths]
    assert None not in watches
    for text in ("one", "two"):
        with paths[0].open("a") as file:
            file.write(text)
    assert select.select([watcher.descriptor], [], [], 5)[0]
    watcher.notify()
    assert told == ["a"]
    watcher.remove(watches[0])
    with paths[0].open("a") as file:
        file.write("three")
    watcher.notify()
    assert told == ["a"]


def test_where_the_kernel_has_lost_count_every_file_is_looked_at(tmp_path: Path) -> None:
    watcher, told = Watcher(), []
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.touch()
        watcher.add(str(path), lambda path=path: told.append(path.name))
    queue, filling = os.pipe()
    os.dup2(queue, watcher.descriptor)  # the kernel's queue of 16384 changes need not be filled for this
    os.write(filling, struct.pack("iIII", 1, 0x2, 0, 0) + struct.pack("iIII", -1, 0x4000, 0, 0))
    watcher.notify()
    assert sorted(told) == ["a", "b", "c"]
    for descriptor in (queue, filling, watcher.descriptor):
        os.close(descriptor)


def test_a_file_that_cannot_be_watched_is_not(tmp_path: Path) -> None:
    assert Watcher().add(str(tmp_path / "none"), lambda: None) is None
