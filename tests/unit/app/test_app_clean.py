"""What a base holds, and being rid of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from milabench.app.clean import DEFAULT, KINDS, amounts, clean
from milabench.errors import PreflightError


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for folder in ("venv/torch", "code/a", "cache/wheels", "data/images", "extra/a/prepared", "runs/one.now"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_bytes(b"x" * 8192)
    (tmp_path / "runs/one.now/plan.json").touch()
    return tmp_path


def test_what_is_there_is_measured_by_kind(base: Path) -> None:
    found = {amount.kind: amount for amount in amounts(base, list(KINDS))}
    assert list(found) == ["environments", "caches", "data", "runs"]
    assert {kind: amount.size_bytes for kind, amount in found.items()} == {
        "environments": 16384,
        "caches": 8192,
        "data": 16384,
        "runs": 8192,
    }
    assert amounts(base / "elsewhere", DEFAULT) == []


def test_files_that_have_another_link_take_no_room(base: Path) -> None:
    os.link(base / "venv/torch/file", base.parent / "elsewhere")
    assert amounts(base, ["environments"])[0].size_bytes == 8192


def test_runs_stay_unless_they_are_named(base: Path) -> None:
    clean(base, amounts(base, DEFAULT))
    assert [path.name for path in base.iterdir()] == ["runs"]
    clean(base, amounts(base, ["runs"]))
    assert list(base.iterdir()) == []


def test_of_a_linked_folder_the_content_goes(base: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    disk = tmp_path_factory.mktemp("disk")
    (base / "data").rename(disk / "data")
    (base / "data").symlink_to(disk / "data")
    clean(base, amounts(base, ["data"]))
    assert ((base / "data").is_symlink(), list((disk / "data").iterdir())) == (True, [])


def test_a_folder_that_is_no_base_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(PreflightError, match="holds nothing that milabench has made"):
        clean(tmp_path, amounts(tmp_path, DEFAULT))
    assert (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "lock",
    [
        "runs/one.now/run.lock",
        "venv/torch.lock",
        "extra/a/prepared/a.json.lock",
        "bundles/.lock",
        "cache/packing/.lock",
    ],
)
def test_nothing_is_removed_while_another_milabench_is_at_work(base: Path, lock: str) -> None:
    (base / lock).parent.mkdir(parents=True, exist_ok=True)
    with (base / lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(PreflightError, match="another milabench is at work"):
            clean(base, amounts(base, DEFAULT))
    assert (base / "venv/torch/file").exists()
