"""What a base holds, and being rid of it."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest

from milabench.agent.clean import remove
from milabench.agent.greeting import private_folder
from milabench.app.clean import DEFAULT, KINDS, Elsewhere, amounts, clean, elsewhere
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


def test_nothing_is_removed_from_a_node_where_something_runs_for_another_machine(
    base: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("own")))
    lock = private_folder() / "one.now-12345678.lock"
    asked = {"base": str(base), "folders": [str(base / "venv")], "elsewhere": True}
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert str(lock) in remove(asked)["kept"]
        assert (base / "venv/torch/file").exists()
    assert remove(asked)["kept"] is None
    assert not (base / "venv").exists()


def ran(base: Path, name: str, **facts: Any) -> None:
    (base / "runs" / name).mkdir(parents=True)
    (base / "runs" / name / "plan.json").touch()
    (base / "runs" / name / "run.json").write_text(json.dumps(facts))


def test_nodes_with_a_base_of_their_own_are_known_by_the_latest_run_that_had_some(tmp_path: Path) -> None:
    assert elsewhere(tmp_path) is None
    nodes = {
        "a": {"local": True, "shares_base": None},
        "b": {"local": False, "shares_base": None},
        "c": {"local": False, "shares_base": "a"},
        "d": {"local": False, "shares_base": ""},
        "e": {"local": False, "shares_base": None},
    }
    ran(tmp_path, "one.1", started=1.0, nodes={"z": {"local": False, "shares_base": None}})
    ran(tmp_path, "two.2", started=2.0, nodes=nodes, system_file="/home/bench/cluster.yaml")
    ran(tmp_path, "three.3", started=3.0, nodes={"a": nodes["a"]})
    found = Elsewhere(run="two.2", nodes=["b", "e"], system="/home/bench/cluster.yaml")
    assert elsewhere(tmp_path) == found


def test_what_cannot_be_removed_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", "file")

    monkeypatch.setattr("shutil.rmtree", refused)
    with pytest.raises(PreflightError, match=r"/venv could not be removed whole \(Permission denied: file\)"):
        clean(base, amounts(base, ["environments"]))
