"""Staged folders and the wheel of benchmate."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from milabench.agent import stage as staging
from milabench.agent.files import replacing
from milabench.agent.stage import stage


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "bench"
    (folder / "inner").mkdir(parents=True)
    (folder / "main.py").write_text("one")
    (folder / "inner" / "b.txt").write_text("two")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("no")
    return folder


def test_a_folder_is_copied_without_its_caches(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "code" / "bench"
    stage(str(source), str(target))
    assert (target / "main.py").read_text() == "one"
    assert (target / "inner" / "b.txt").read_text() == "two"
    assert not (target / "__pycache__").exists()


def test_what_installs_wrote_stays_and_what_the_source_lost_goes(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "code" / "bench"
    stage(str(source), str(target))
    (target / "compiled.so").write_text("made here")
    (source / "inner" / "b.txt").unlink()
    (source / "main.py").write_text("changed")
    stage(str(source), str(target))
    assert (target / "compiled.so").exists()
    assert not (target / "inner" / "b.txt").exists()
    assert (target / "main.py").read_text() == "changed"


def test_what_is_at_its_place_already_is_left_as_it_is(source: Path) -> None:
    before = sorted(source.rglob("*"))
    stage(str(source), str(source), fresh=True)
    stage(str(source / "main.py"), str(source / "main.py"))
    assert sorted(source.rglob("*")) == before


def test_an_unchanged_file_is_not_written_again(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "code" / "bench"
    stage(str(source), str(target))
    before = (target / "main.py").stat().st_ino
    stage(str(source), str(target))
    assert (target / "main.py").stat().st_ino == before


def test_another_folder_of_the_same_name_replaces_the_first(source: Path, tmp_path: Path) -> None:
    target, other = tmp_path / "code" / "bench", tmp_path / "other" / "bench"
    stage(str(source), str(target))
    other.mkdir(parents=True)
    (other / "else.py").write_text("else")
    stage(str(other), str(target))
    assert sorted(path.name for path in target.iterdir() if not path.name.startswith(".")) == ["else.py"]


def test_equal_sources_make_an_equal_wheel_with_a_record_of_every_file(tmp_path: Path) -> None:
    package = tmp_path / "benchmate"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\n")
    wheels = [tmp_path / name / "benchmate-0.1.0+abc-py3-none-any.whl" for name in ("a", "b")]
    for wheel in wheels:
        stage(str(package), str(wheel))
        os.utime(package / "__init__.py", (0, 0))
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    with zipfile.ZipFile(wheels[0]) as archive:
        names = archive.namelist()
        record = archive.read("benchmate-0.1.0+abc.dist-info/RECORD").decode()
    assert all(name in record for name in names)
    assert "benchmate/__init__.py" in names


def test_links_are_staged_as_what_they_mean(source: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "c.txt").write_text("three")
    (source / "linked").symlink_to(shared)
    (source / "around").symlink_to(source)
    (source / "nothing").symlink_to(tmp_path / "not-there")
    target = tmp_path / "code" / "bench"
    for _ in range(2):
        stage(str(source), str(target))
    assert (target / "linked" / "c.txt").read_text() == "three"
    assert (target / "nothing").is_symlink()
    assert not (target / "around").exists()


def test_a_fresh_folder_holds_nothing_of_an_earlier_install(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "code" / "bench"
    stage(str(source), str(target))
    (target / "cloned").mkdir()
    stage(str(source), str(target), fresh=True)
    assert not (target / "cloned").exists()
    assert (target / "main.py").read_text() == "one"


def test_several_that_make_the_same_wheel_at_the_same_time_all_have_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers, wheel = 3, tmp_path / "wheels" / "benchmate-1-py3-none-any.whl"
    together = threading.Barrier(makers, timeout=10)

    @contextmanager
    def slow(path: Path) -> Iterator[Path]:
        with replacing(path) as partial:
            yield partial
            together.wait()

    monkeypatch.setattr(staging, "replacing", slow)
    with ThreadPoolExecutor(makers) as threads:
        for made in [threads.submit(stage, str(source), str(wheel)) for _ in range(makers)]:
            made.result()
    assert [path.name for path in wheel.parent.iterdir()] == [wheel.name]
    assert zipfile.ZipFile(wheel).testzip() is None
