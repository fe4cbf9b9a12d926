"""Which runs a comparison is of: given by folder, by archive, several with commas; of older releases too."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from milabench.app.compare import compare
from milabench.errors import RunDirError, UsageError


def legacy(folder: Path, rate: float, *, started: float, repeats: int = 3) -> Path:
    """Write a run of milabench as its releases of 2023 did, of one benchmark on two devices."""
    folder.mkdir(parents=True)
    for repeat in range(repeats):
        for device in range(2):
            tag = ["bert", f"R{repeat}", f"D{device}"]
            config = {"name": "bert", "weight": 1, "enabled": True, "tag": tag, "device": device, "devices": [device]}
            data = {"task": "train", "rate": rate, "units": "items/s"}
            lines = [
                {"event": "config", "data": config},
                {"event": "start", "data": {"time": started + repeat + device / 10}},
                *[{"event": "data", "data": data, "pipe": "data"}] * 20,
                {"event": "end", "data": {"time": started + 5, "return_code": 0}},
            ]
            (folder / f"{'.'.join(tag)}.data").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def archived(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{folder.name}/{file.name}")
    return path


def test_runs_of_older_releases_are_compared_by_their_repeats(tmp_path: Path) -> None:
    before, after = legacy(tmp_path / "a", 100, started=1), legacy(tmp_path / "b", 90, started=1000)
    (found,) = compare(str(before), str(archived(after)), tmp_path, None).benchmarks
    assert (found.verdict, found.ratio) == ("worse", pytest.approx(0.9))
    assert found.before.repeats == pytest.approx((100, 100, 100))


def test_several_runs_are_pooled_with_commas_and_a_folder_with_one_is_one(tmp_path: Path) -> None:
    runs = [
        legacy(tmp_path / name, 100, started=1000 * number, repeats=1) for number, name in enumerate(["a", "b", "c,d"])
    ]
    found = compare(f"{runs[0]},{runs[1]}", str(runs[2]), tmp_path, None)
    assert [run.name for run in found.before] == ["a", "b"]
    assert [run.name for run in found.after] == ["c,d"]
    assert len(found.benchmarks[0].before.repeats) == 2


@pytest.mark.parametrize("names", ["", " ", ",", "{a},", ",{a}", "{a},,{a}"])
def test_an_empty_name_of_a_run_is_refused_on_either_side(tmp_path: Path, names: str) -> None:
    run = str(legacy(tmp_path / "a", 100, started=1))
    empty = names.format(a=run)
    with pytest.raises(UsageError, match=r"^A is '.*', in which a name is empty"):
        compare(empty, run, tmp_path, None)
    with pytest.raises(UsageError, match=r"^B is '.*', in which a name is empty"):
        compare(run, empty, tmp_path, None)


def test_a_copy_of_a_run_is_the_same_run(tmp_path: Path) -> None:
    before = legacy(tmp_path / "a", 100, started=1)
    legacy(tmp_path / "again", 100, started=1)
    for other in (before, tmp_path / "again", archived(before)):
        with pytest.raises(RunDirError, match="A and B hold the same run"):
            compare(str(before), str(other), tmp_path, None)


@pytest.mark.parametrize("name", ["nowhere", "a,nowhere"])
def test_what_is_no_run_is_told(tmp_path: Path, name: str) -> None:
    legacy(tmp_path / "runs" / "a", 100, started=1)
    with pytest.raises(RunDirError):
        compare("a", name, tmp_path, None)
