"""Folders that another machine sends: what is lacking of them, and that they end as staged ones do."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from milabench.agent.receive import Receiving, put_in_place, wanted
from milabench.agent.stage import stage
from milabench.execute.trees import _Tree


class Sent:
    """A folder sent as a runner sends it, in parts of a few bytes."""

    def __init__(self, source: Path, target: Path) -> None:
        self.said: list[dict[str, Any]] = []
        self.receiving = Receiving(self.said.append)
        self.source, self.target = source, target
        self.lacking: dict[str, str | None] = {}

    def send(self, *, fresh: bool = False, damage: str = "") -> list[str]:
        """Return the names of the files that travelled."""
        tree = _Tree.of(self.source, str(self.target))
        self.lacking = wanted({**tree.fields(), "fresh": fresh})
        self.receiving.begin({"id": 7, "target": tree.target})
        sent: dict[str, str] = {}
        for name, there in self.lacking.items():
            content = tree.path(name).read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            if sha256 == there:
                continue
            sent[name] = sha256
            for offset in range(0, max(len(content), 1), 3):
                blob = content[offset : offset + 3] if name != damage else b"???"
                self.receiving.put({"transfer": 7, "file": name, "offset": offset, "blob": blob})
        work = self.receiving.end({"id": 8, "transfer": 7, **tree.fields(), "sent": sent})
        if work is not None:
            assert work["id"] == 7
            put_in_place(work)
        return sorted(sent)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "bench"
    (folder / "inner" / "deep").mkdir(parents=True)
    (folder / "main.py").write_text("print(1)\n")
    (folder / "inner" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "inner" / "run.sh").chmod(0o755)
    (folder / "inner" / "deep" / "empty").touch()
    (folder / "gone").symlink_to("/nowhere/at/all")
    (folder / "linked.py").symlink_to("main.py")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("no")
    return folder


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name, facts = str(path.relative_to(folder)), path.lstat()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_file():
            time_ns = facts.st_mtime_ns if not name.startswith(".milabench") else None
            found[name] = (path.read_bytes(), oct(facts.st_mode), time_ns)
    return found


def test_a_folder_ends_as_a_staged_one_does(source: Path, tmp_path: Path) -> None:
    sent, staged = tmp_path / "sent", tmp_path / "staged"
    assert Sent(source, sent).send() == ["inner/deep/empty", "inner/run.sh", "linked.py", "main.py"]
    stage(str(source), str(staged))
    assert state(sent) == state(staged)


def test_only_what_changed_travels_and_what_is_gone_goes(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "sent"
    Sent(source, target).send()
    assert Sent(source, target).send() == []
    (target / "compiled.so").write_text("made here")
    (source / "main.py").write_text("print(2)\n")
    (source / "linked.py").unlink()
    os.utime(source / "inner" / "run.sh", (1, 1))  # a fresh clone: another time, the same content
    assert Sent(source, target).send() == ["main.py"]
    stage(str(source), str(tmp_path / "staged"))
    (tmp_path / "staged" / "compiled.so").write_text("made here")
    assert {name: each[:2] for name, each in state(target).items()} == {
        name: each[:2] for name, each in state(tmp_path / "staged").items()
    }
    assert (target / "inner" / "run.sh").stat().st_mtime == 1


def test_a_fresh_folder_and_one_from_elsewhere_hold_nothing_of_before(source: Path, tmp_path: Path) -> None:
    target, other = tmp_path / "sent", tmp_path / "other"
    other.mkdir()
    (other / "else.py").touch()
    for change in (lambda: Sent(source, target).send(fresh=True), lambda: Sent(other, target).send()):
        Sent(source, target).send()
        (target / "compiled.so").write_text("made here")
        change()
        assert not (target / "compiled.so").exists()
    assert (target / "else.py").exists()


def test_a_single_file_is_sent_as_it_is_and_beside_others(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tools" / "run"
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "kept").touch()
    assert Sent(source / "inner" / "run.sh", target).send() == ["run"]
    assert Sent(source / "inner" / "run.sh", target).send() == []
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("#!/bin/sh\n", 0o755)
    assert {path.name for path in target.parent.iterdir()} == {"run", "kept"}


def test_until_all_is_there_what_was_there_stays(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "sent"
    Sent(source, target).send()
    before = state(target)
    for name in ("main.py", "inner/run.sh"):
        (source / name).write_text("# changed\n")
    with pytest.raises(OSError, match="did not come as it was sent"):
        Sent(source, target).send(damage="main.py")
    assert state(target) == before


def test_what_cannot_be_written_is_answered_once(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sent = Sent(source, tmp_path / "file" / "below")
    sent.send()
    assert [(reply["id"], reply["event"]) for reply in sent.said] == [(7, "error")]
    assert sent.said[0]["message"].startswith("Not a directory")
