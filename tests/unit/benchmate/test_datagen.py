"""Sets of made-up images: complete, whatever broke off the making of them."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmate import datagen

SHAPE = (3, 2, 2)


class Pool:
    """Makes images one by one, in this process, until it is told to break off."""

    left = 10**9

    def __init__(self, _: int) -> None:
        self.left = Pool.left

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None: ...

    def imap_unordered(self, function: Any, work: Iterable[Any], chunksize: int) -> Iterator[Any]:
        for each in list(work)[::-1]:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield function(each)


class Image:
    """As much of Pillow's as is asked for."""

    full_at: str | None = None

    def __init__(self, data: bytes) -> None:
        self.data = data

    @classmethod
    def frombytes(cls, _mode: str, _size: object, data: bytes) -> Image:
        return cls(data)

    def save(self, path: Path, **_: str) -> None:
        path.write_bytes(self.data[: 1 if path.stem == self.full_at else None])
        if path.stem == self.full_at:
            raise OSError("no space left on device")


@pytest.fixture(autouse=True)
def _pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", types.SimpleNamespace(Image=Image))
    monkeypatch.setattr(datagen.multiprocessing, "get_context", lambda _: types.SimpleNamespace(Pool=Pool))
    monkeypatch.setattr(Pool, "left", 10**9)
    monkeypatch.setattr(Image, "full_at", None)


def images(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("*/*/*.JPEG"))}


def test_a_set_that_was_broken_off_is_completed_and_is_then_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken, sets = tmp_path / "whole", tmp_path / "broken", {"train": 30, "val": 5}
    datagen.generate_sets(whole, sets, SHAPE)
    monkeypatch.setattr(Pool, "left", 12)
    with pytest.raises(KeyboardInterrupt):
        datagen.generate_sets(broken, sets, SHAPE)
    assert not (broken / "done").exists()
    monkeypatch.setattr(Pool, "left", 10**9)
    datagen.generate_sets(broken, sets, SHAPE)
    assert images(broken) == images(whole)
    assert datagen.count_images(broken) == sets


def test_an_image_that_was_cut_off_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "full_at", "3_3")
    with pytest.raises(OSError, match="no space"):
        datagen.generate_sets(tmp_path, {"train": 5}, SHAPE)
    assert datagen.count_images(tmp_path) == {"train": 1}
    monkeypatch.setattr(Image, "full_at", None)
    datagen.generate_sets(tmp_path, {"train": 5}, SHAPE)
    assert {len(content) for content in images(tmp_path).values()} == {12}


def test_images_of_other_names_count(tmp_path: Path) -> None:
    (tmp_path / "train" / "0").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "train" / "0" / f"n0_{number}.JPEG").write_bytes(b"")
    datagen.generate_sets(tmp_path, {"train": 5}, SHAPE)
    assert datagen.count_images(tmp_path) == {"train": 5}


def test_images_are_numbered_from_where_they_shall_begin(tmp_path: Path) -> None:
    datagen.generate(SHAPE, 2, tmp_path / "x", prefix="p_", start=998)
    assert list(images(tmp_path)) == ["x/998/p_00000998.JPEG", "x/999/p_00000999.JPEG"]
