"""Where processes write on a node whose runner is elsewhere."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from milabench.agent import conditions
from milabench.agent.spool import Spool


def old(path: Path) -> None:
    os.utime(path, (1, 1))


def test_it_is_made_when_it_is_needed_for_its_user_alone_and_removed(tmp_path: Path) -> None:
    spool = Spool({"TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
    path = Path(spool.place("/base/runs/fesuno.2026/bert.data"))
    assert (path.name, path.parent.name[:12]) == ("bert.data", "fesuno.2026-")
    assert path.parent.parent == Path(spool.folder)
    assert Path(spool.folder).stat().st_mode & 0o777 == 0o700
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_folders_of_the_same_name_elsewhere_are_others(tmp_path: Path) -> None:
    spool = Spool({"TMPDIR": str(tmp_path)})
    assert len({spool.place(path) for path in ("/a/runs/r/x.data", "/b/runs/r/x.data")}) == 2
    spool.close()


def test_what_an_agent_left_that_was_killed_is_removed_and_what_another_uses_is_not(tmp_path: Path) -> None:
    prefix = f"milabench-spool-{os.getuid()}-"
    left, young, foreign = (
        tmp_path / name for name in (f"{prefix}left", f"{prefix}young", f"milabench-{os.getuid()}-other")
    )
    for each in (left, young, foreign):
        (each / "run").mkdir(parents=True)
    running = Spool({"TMPDIR": str(tmp_path)})
    used = Path(running.folder)
    for each in (left, foreign, used):
        old(each)
    spool = Spool({"TMPDIR": str(tmp_path)})
    mine = Path(spool.folder)
    assert set(tmp_path.iterdir()) == {young, foreign, used, mine}
    spool.close()
    running.close()


def test_a_disk_that_many_nodes_share_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, other = tmp_path / "shared", tmp_path / "other"
    shared.mkdir()
    other.mkdir()

    def disk(path: Path) -> conditions.Known | None:
        return {"kind": "nfs4" if path == shared else "ext4", "writable": path in (shared, other)}

    monkeypatch.setattr(conditions, "disk", disk)
    with pytest.raises(OSError, match="needs a disk of the node's own: set TMPDIR"):
        Spool({"TMPDIR": str(shared)}).place("/runs/r/x.data")
    spool = Spool({"TMPDIR": str(other)})
    assert Path(spool.folder).parent == other
    spool.close()


def test_a_disk_without_locks_is_not_taken_and_nothing_is_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(Spool, "_own", lambda _: [str(tmp_path)])
    with pytest.raises(OSError, match="No locks available"):
        Spool({}).place("/runs/r/x.data")
    assert list(tmp_path.iterdir()) == []


def test_it_is_full_when_hardly_anything_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool({"TMPDIR": str(tmp_path)})
    assert not spool.full()
    spool.place("/runs/r/x.data")
    assert not spool.full()
    real = os.statvfs

    def statvfs(path: str) -> os.statvfs_result:
        fields = list(real(path))
        fields[4] = 0  # f_bavail
        return os.statvfs_result(fields)

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert spool.full()
    monkeypatch.undo()
    spool.close()
