"""Files that agents hold where nodes see one temporary folder: each machine has its own, which says who has it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from milabench.agent.greeting import machine_mark, private_folder
from milabench.agent.locks import Holds


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def kernel(folder: Path, boot: str) -> Path:
    """Return where a kernel tells of itself that was booted so."""
    path = folder / boot / "proc/sys/kernel/random/boot_id"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{boot}\n")
    return folder / boot


def test_nodes_that_share_their_temporary_folder_hold_a_file_each(tmp_path: Path) -> None:
    marks = [machine_mark(kernel(tmp_path, boot)) for boot in ("one", "two", "one")]
    one, two, also = (Holds(private_folder, mark) for mark in marks)
    assert [each.hold("it.lock") for each in (one, two, also)] == [True, True, False]


def test_nodes_of_slurm_on_one_machine_hold_a_file_each(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = []
    for node in ("n2", "n3"):
        monkeypatch.setenv("SLURMD_NODENAME", node)
        marks.append(machine_mark())
    assert len({*marks}) == 2


def test_a_file_says_who_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    first, second = Holds(private_folder, ".m"), Holds(private_folder, ".m")
    assert first.hold("it.lock")
    assert not second.hold("it.lock")
    path = private_folder() / "it.m.lock"
    assert second.holder("it.lock") == {"path": str(path), "by": f"process {os.getpid()} of n7"}
