"""Runs that are found where others left them: folders of every release, archives."""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milabench.app.report import find_run, report
from milabench.errors import RunDirError
from milabench.oldruns import open_any
from milabench.render import FORMATS
from milabench.rundir import runs

OLD = "kodapu.2025-04-15_11:49:00.061097"


def written(folder: Path, *tags: str, rate: float = 4.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for tag in tags:
        name, *rest = tag.split(".")
        events: list[tuple[str, object]] = [
            ("config", {"name": name, "tag": [name, *rest], "weight": 1, "enabled": True}),
            ("start", {"command": ["voir"], "time": 5.0}),
            ("data", {"task": "train", "rate": rate, "units": "items/s"}),
            ("end", {"command": ["voir"], "time": 7.0, "return_code": 0}),
        ]
        lines = (json.dumps({"event": event, "data": data, "pipe": None}) + "\n" for event, data in events)
        (folder / f"{tag}.data").write_text("".join(lines))
    return folder


def first(folder: Path) -> Path:
    """Write a run of the first releases."""
    folder.mkdir(parents=True)
    lines = [
        {"#start": 5.0},
        {"#config": {"name": "net", "tag": ["net", "D0"], "device": 0, "weight": 1}},
        {"train_rate": 4.0, "units": "items/s"},
        {"#end": 7.0, "#return_code": 0},
    ]
    (folder / "net.D0.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "notes.json").write_text('{"of": "the user"}\n')
    return folder


def packed(archive: Path, *folders: Path, inside: str | None = None) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for folder in folders:
            for path in folder.rglob("*"):
                file.write(path, Path(folder.name if inside is None else inside) / path.relative_to(folder))
    return archive


@pytest.mark.parametrize("name", [OLD, "kodapu", "8xA100.2023-05-10_13_37_18.387537", "8xA100"])
def test_a_run_of_before_is_found_by_its_name_with_and_without_its_time(tmp_path: Path, name: str) -> None:
    for folder in (OLD, "8xA100.2023-05-10_13_37_18.387537", "other.2025-04-15_11:49:00.061097"):
        written(tmp_path / "runs" / folder, "net.D0")
    assert find_run(name, tmp_path).path.name.startswith(name)


def test_what_milabench_logged_of_install_and_prepare_is_not_the_newest_run(tmp_path: Path) -> None:
    run = written(tmp_path / "runs" / OLD, "net.D0")
    for phase in ("install", "prepare"):
        written(tmp_path / "runs" / f"{phase}.2025-04-15_12:49:00.061097", "net")
    assert runs(tmp_path) == [run]
    assert report([], tmp_path).runs[0].name == OLD


def test_a_run_of_the_first_releases_is_reported(tmp_path: Path) -> None:
    run = open_any(first(tmp_path / "rodavi.2023-02-03_10:11:12.131415"))
    summary = report([str(run.path)], tmp_path)
    (found,) = summary.benchmarks
    assert (run.tags(), found.perf, found.score, found.seconds, summary.warnings) == (("net.D0",), 4.0, 4.0, 2.0, ())
    assert summary.score["milabench"] == pytest.approx(5.0)


def test_an_archive_stands_for_the_runs_in_it(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a" / OLD, "net.D0"), written(tmp_path / "a" / "b.2023", "net.D0", rate=6.0)
    archive = packed(tmp_path / "both.zip", one, two, first(tmp_path / "a" / "c"))
    summary = report([str(archive)], tmp_path)
    assert sorted(run.path for run in summary.runs) == [f"{archive}/{name}" for name in ("b.2023", "c", OLD)]
    (found,) = summary.benchmarks
    assert (found.n, found.perf) == (3, pytest.approx(14 / 3))
    assert FORMATS["text"](summary).count(f"run directory: {archive}") == 3


def test_a_run_packed_without_its_folder_has_the_archives_name(tmp_path: Path) -> None:
    archive = packed(tmp_path / f"{OLD}.zip", written(tmp_path / "run", "net.D0"), inside=".")
    (run,) = report([str(archive)], tmp_path).runs
    assert (run.name, run.path) == (OLD, str(archive))


def test_nothing_is_unpacked_beside_the_place_that_is_removed_again(tmp_path: Path) -> None:
    archive = packed(tmp_path / "evil.zip", written(tmp_path / "run", "net.D0"))
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../../escaped.data", "x")
        file.writestr("run/huge.bin", "not unpacked")
    report([str(archive)], tmp_path)
    assert not list(tmp_path.parent.glob("escaped*"))


def broken(tmp_path: Path) -> Path:
    """Return an archive of which a byte is another than it was."""
    archive = packed(tmp_path / "broken.zip", written(tmp_path / "run", "net.D0"))
    archive.write_bytes(archive.read_bytes().replace(b'"rate": 4.0', b'"rate": 9.0', 1))
    return archive


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: packed(path / "x.zip", path / "none"), "x.zip holds no run: give an archive of the folder of a"),
        (broken, "broken.zip cannot be unpacked .*: unpack it and give its folders"),
        (lambda path: written(path / "all" / OLD, "net").parent, f"holds no run itself: give one or several of {OLD}"),
        (lambda path: path, "holds no run: give the folder of a run, as `milabench run` prints it"),
    ],
)
def test_what_holds_no_run_is_refused_with_what_to_give(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(RunDirError, match=message):
        report([str(make(tmp_path))], tmp_path)  # type: ignore[operator]


def test_an_archive_given_twice_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.zip", written(tmp_path / OLD, "net.D0"))
    with pytest.raises(RunDirError, match="given twice"):
        report([str(archive), str(archive)], tmp_path)


def damaged(tmp_path: Path, method: int, place: float) -> Path:
    """Return an archive of which bytes at some place of its content are others than they were."""
    archive = tmp_path / "x.zip"
    run = written(tmp_path / "run", "net.D0")
    with zipfile.ZipFile(archive, "w", method) as file:
        file.write(run / "net.D0.data")
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        (member,) = file.infolist()
    begin = member.header_offset + 30 + len(member.filename)
    at = begin + int(member.compress_size * place)
    content[at : at + 8] = bytes(255 - each for each in content[at : at + 8])
    archive.write_bytes(content)
    return archive


@pytest.mark.parametrize("place", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_refused_however_it_is_packed(tmp_path: Path, method: int, place: float) -> None:
    with pytest.raises(RunDirError, match=r"x\.zip cannot be unpacked \(.+\): unpack it and give its folders"):
        report([str(damaged(tmp_path, method, place))], tmp_path)


@given(at=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_no_byte_of_an_archive_is_a_bug(tmp_path_factory: pytest.TempPathFactory, at: float, value: int) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    archive = folder / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(written(folder / "run", "net.D0") / "net.D0.data", "rün/net.D0.data")
    content = bytearray(archive.read_bytes())
    content[int(at * len(content))] = value
    archive.write_bytes(content)
    with contextlib.suppress(RunDirError):
        report([str(archive)], folder)


def test_an_archive_for_which_there_is_no_room_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "x.zip", written(tmp_path / "run", "net.D0"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(RunDirError, match=r"0 MiB are free in .*: set TMPDIR to a folder with room, or unpack it"):
        report([str(archive)], tmp_path)
