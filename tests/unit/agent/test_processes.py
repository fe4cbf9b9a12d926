"""Who is below whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from milabench.agent import processes


def test_below_names_each_process_once_and_parents_first(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {1: [2, 3], 2: [4], 4: [5], 9: [2]}  # 2 was given from one parent to another while both were looked at
    monkeypatch.setattr(processes, "children", lambda pid: tree.get(pid, []))
    assert processes.below([1, 9]) == [1, 9, 2, 3, 4, 5]
    assert processes.descendants(1) == [2, 3, 4, 5]
    assert processes.below([]) == []


def test_a_process_that_is_gone_has_no_children() -> None:
    assert processes.children(2**22 + 1) == []


def test_the_fields_of_a_process_are_found_whatever_its_name() -> None:
    comm = Path(f"/proc/{os.getpid()}/comm")
    before = comm.read_bytes()
    comm.write_bytes(b"a) S 1 \xff\xfe (b")
    try:
        state, parent, *_ = processes.stat(os.getpid())
    finally:
        comm.write_bytes(before)
    assert (state, parent) == ("R", str(os.getppid()))
    assert processes.stat(2**22 + 1) == []


def test_a_kernel_that_lists_no_children_is_asked_for_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_are_listed", lambda: False)
    assert os.getpid() in processes.children(os.getppid())
    stat = Path(f"/proc/{os.getpid()}/stat").read_text()
    assert processes._parents()[os.getpid()] == int(stat.rpartition(")")[2].split()[1])
