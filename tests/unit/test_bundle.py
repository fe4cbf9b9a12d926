"""A bundle comes out as it went in, or not at all: each file is checked, and none leaves the base."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from milabench import bundle
from milabench.bundle import About, Group
from milabench.errors import PreflightError, UsageError

ABOUT = About(
    milabench="1",
    arch="cpu",
    machine="x86_64",
    python="3.11",
    groups=(Group(name="torch", parts={"a/requirements.in": "1"}, wheels=("a-1-py3-none-any.whl",)),),
    benchmarks=("a",),
    data=True,
)


def unpack(path: Path, base: Path, told: list[str] | None = None) -> Path:
    """Unpack a bundle's file and return its folder; what is told is added to ``told``."""
    found = bundle.find(path, base)
    bundle.unpack(found, [].append if told is None else told.append)
    return found.folder


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Return a bundle with a suite, a program, a wheel, and data with a link."""
    made = tmp_path / "made"
    for name, text in (("suite", "a: 1"), ("run.sh", "x"), ("wheel", "w" * 3_000_000), ("blob", "data")):
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text(text)
    (made / "run.sh").chmod(0o755)
    (made / "latest").symlink_to("../blob")
    files = {
        "suite.yaml": made / "suite",
        "code/a/run.sh": made / "run.sh",
        "wheels/a.whl": made / "wheel",
        "data/blob": made / "blob",
        "data/of/latest": made / "latest",
    }
    bundle.write(tmp_path / "b.tar", ABOUT, files)
    return tmp_path / "b.tar"


def test_that_another_milabench_is_unpacking_is_told_before_it_is_waited_for(
    tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    asked: list[int] = []

    def flock(_: int, operation: int) -> None:
        asked.append(operation)
        if operation & fcntl.LOCK_NB:
            raise BlockingIOError
        assert told == [f"waiting for another milabench that unpacks a bundle into {tmp_path / 'base/bundles'}"]

    monkeypatch.setattr(fcntl, "flock", flock)
    unpack(packed, tmp_path / "base", told)
    assert asked == [fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_EX]


def test_what_was_packed_comes_out(tmp_path: Path, packed: Path) -> None:
    base = tmp_path / "base"
    folder = unpack(packed, base)
    assert folder.parent == base / "bundles"
    assert (folder / "suite.yaml").read_text() == "a: 1"
    assert (folder / "code/a/run.sh").stat().st_mode & 0o777 == 0o755
    assert (folder / "wheels/a.whl").stat().st_size == 3_000_000
    assert (base / "data/of/latest").read_text() == "data"
    assert (base / "data/of/latest").is_symlink()
    assert bundle.read(folder).about == ABOUT
    assert not list(base.rglob("*.partial"))


def test_a_bundle_is_unpacked_once(tmp_path: Path, packed: Path) -> None:
    folder = unpack(packed, tmp_path / "base")
    (folder / "suite.yaml").write_text("mine")
    assert unpack(packed, tmp_path / "base") == folder
    assert (folder / "suite.yaml").read_text() == "mine"


def test_an_unpacking_that_was_cut_off_is_begun_anew(tmp_path: Path, packed: Path) -> None:
    folder = unpack(packed, tmp_path / "base")
    (folder / "manifest.json").unlink()
    (folder / "suite.yaml").write_text("half")
    unpack(packed, tmp_path / "base")
    assert (folder / "suite.yaml").read_text() == "a: 1"


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"wwwww") + 100] ^= 1
    path.write_bytes(bytes(content))


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size - 1_000_000])


def beheaded(path: Path) -> None:
    path.write_bytes(path.read_bytes()[5_000:])


def replaced(path: Path) -> None:
    path.write_text("no tar at all")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def rewritten(change: Callable[[dict[str, Any]], None], *more: tuple[str, bytes]) -> Callable[[Path], None]:
    """Return what writes a bundle anew with another manifest, and files that are not in it."""

    def rewrite(path: Path) -> None:
        with tarfile.open(path) as archive:
            members = [
                (each, getattr(archive.extractfile(each), "read", bytes)()) for each in archive if not each.issym()
            ]
        document = json.loads(members[0][1])
        change(document)
        with tarfile.open(path, "w") as archive:
            text = json.dumps(document).encode()
            for name, content in [("manifest.json", text), *((each.name, text) for each, text in members[1:]), *more]:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

    return rewrite


def without_links(document: dict[str, Any]) -> None:
    document["files"] = [each for each in document["files"] if each["link"] is None]


def of_another_format(document: dict[str, Any]) -> None:
    document["version"] = 9


def without_arch(document: dict[str, Any]) -> None:
    del document["about"]["arch"]


def leading_out(document: dict[str, Any]) -> None:
    without_links(document)
    document["files"][0]["name"] = "../../away"


def linking_out(document: dict[str, Any]) -> None:
    without_links(document)
    document["files"][0]["link"] = "../../../../etc"


def linked(name: str, link: str | None = None) -> Callable[[dict[str, Any]], None]:
    """Return what names the first file of a bundle anew, as a link where one is given."""

    def change(document: dict[str, Any]) -> None:
        document["files"][0] |= {"name": name, "link": link}

    return change


def through_a_link(document: dict[str, Any]) -> None:
    document["files"][0] |= {"name": "data/away", "link": "of"}
    document["files"][1]["name"] = "data/away/file"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (flipped, r"wheels/a.whl is damaged, its hash is not that in the manifest: copy it again"),
        (shortened, r"b.tar is cut off or damaged \(.*\): copy it again"),
        (beheaded, r"b.tar is no bundle"),
        (replaced, r"b.tar is no bundle \(milabench bundle-env makes them\)"),
        (emptied, r"b.tar is no bundle"),
        (rewritten(lambda document: None), r"lacks 1 of its files \(data/of/latest\)"),
        (rewritten(without_links, ("more", b"")), r"more does not stand in its manifest"),
        (rewritten(of_another_format), r"it has the format 9, and this milabench reads 1"),
        (rewritten(without_arch), r"its manifest.json is damaged \(about.arch is missing\)"),
        (rewritten(leading_out, ("../../away", b"")), r"would be written outside|does not stand"),
        (rewritten(linking_out), r"code/a/run.sh would be written outside of the base"),
        (rewritten(linked("data/a", "../../../etc")), r"data/a would be written outside of the base"),
        (rewritten(linked("data/a", "/etc")), r"data/a would be written outside of the base"),
        (rewritten(linked("data/a", "../venv")), r"data/a would be written outside of the base"),
        (rewritten(linked("data/a", "of/link/../..")), r"data/a would be written outside of the base"),
        (rewritten(linked("")), r" would be written outside of the base"),
        (rewritten(linked("manifest.json")), r"manifest.json would be written outside of the base"),
        (rewritten(through_a_link), r"data/away/file would be written through a link"),
    ],
)
def test_what_is_damaged_is_told_and_counts_for_nothing(
    tmp_path: Path, packed: Path, damage: Callable[[Path], None], told: str
) -> None:
    damage(packed)
    with pytest.raises(PreflightError, match=told):
        unpack(packed, tmp_path / "base")
    assert not list(tmp_path.glob("base/bundles/*/manifest.json"))
    assert not list(tmp_path.glob("**/away"))


def test_a_whole_bundle_follows_a_damaged_one(tmp_path: Path, packed: Path) -> None:
    whole = packed.read_bytes()
    flipped(packed)
    with pytest.raises(PreflightError):
        unpack(packed, tmp_path / "base")
    packed.write_bytes(whole)
    assert (unpack(packed, tmp_path / "base") / "wheels/a.whl").read_text() == "w" * 3_000_000


# Several bundles on one base ------------------------------------------------------------------------------------------


def made(folder: Path, name: str, **files: str) -> Path:
    """Return a bundle of files that are called so below the base, ``__`` for each ``/``; a link begins with ``->``."""
    found = {}
    for each, text in files.items():
        path = found[each.replace("__", "/")] = folder / "of" / name / each
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            path.symlink_to(text.removeprefix("->"))
        else:
            path.write_text(text)
    bundle.write(folder / f"{name}.tar", ABOUT, found)
    return folder / f"{name}.tar"


def test_the_files_below_the_base_are_those_of_the_bundle_that_is_asked_for_last(tmp_path: Path) -> None:
    files = {"data__a", "data__latest", "sources__key__commit", "cache__net"}
    one = made(tmp_path, "one", **{each: "->one" if each == "data__latest" else "one" for each in files})
    two = made(tmp_path, "two", **{each: "->two" if each == "data__latest" else "two" for each in files}, data__b="b")
    base, told = tmp_path / "base", list[str]()
    for path in (one, two, one, two):
        unpack(path, base, told)
        for name in ("data/a", "sources/key/commit", "cache/net"):
            assert (base / name).read_text() == path.stem
        assert (base / "data/latest").readlink() == Path(path.stem)
    assert (base / "data/b").read_text() == "b"
    assert len([line for line in told if line.startswith("unpacking ")]) == 2
    assert "of what other bundles brought below" in told[-1]
    assert "and 3 more is replaced" in told[-1]


def test_data_of_another_bundle_is_told_apart_and_equal_data_is_not(tmp_path: Path) -> None:
    one, same = made(tmp_path, "one", data__a="a"), made(tmp_path, "same", data__a="a", code__x="x")
    other, none = made(tmp_path, "other", data__a="b"), made(tmp_path, "none", code__y="y")
    base = tmp_path / "base"
    marks = []
    for path in (none, one, same, other, none, one):
        unpack(path, base)
        marks.append(bundle.placed_mark(base))
    assert marks[0] == ""
    assert marks[1] == marks[2] == marks[5] != ""
    assert marks[3] == marks[4] != marks[1]


def test_what_another_bundle_brought_stays_where_it_is_in_nobodys_way(tmp_path: Path) -> None:
    one, two = made(tmp_path, "one", data__a="a"), made(tmp_path, "two", data__b="b")
    base, told = tmp_path / "base", list[str]()
    for path in (one, two, one):
        unpack(path, base, told)
    assert ((base / "data/a").read_text(), (base / "data/b").read_text()) == ("a", "b")
    assert [line.split()[0] for line in told] == ["unpacking", "unpacking"]


def test_files_that_no_bundle_brought_are_not_written_over(tmp_path: Path) -> None:
    one, base = made(tmp_path, "one", data__a="a", data__b="b"), tmp_path / "base"
    (base / "data").mkdir(parents=True)
    (base / "data/a").write_text("mine")
    with pytest.raises(PreflightError, match=rf"in the way of those of .*one.tar.*: {base}/data/a: move what is yours"):
        unpack(one, base)
    assert (base / "data/a").read_text() == "mine"
    assert not (base / "data/b").exists()
    (base / "data/a").unlink()
    (base / "data/b").write_text("b")  # as the bundle has it
    unpack(one, base)
    unpack(made(tmp_path, "two", data__b="c"), base)
    assert (base / "data/b").read_text() == "c"


def test_what_has_become_of_the_data_of_a_bundle_stays_until_another_has_its_own(tmp_path: Path) -> None:
    one, base, told = made(tmp_path, "one", data__a="a", sources__k__commit="1"), tmp_path / "base", list[str]()
    unpack(one, base)
    (base / "data/a").write_text("prepared")
    (base / "sources/k/commit").write_text("2")
    unpack(one, base, told)
    assert (base / "data/a").read_text() == "prepared"
    assert (base / "sources/k/commit").read_text() == "1"
    unpack(made(tmp_path, "two", data__a="b"), base, told)
    assert (base / "data/a").read_text() == "b"
    assert told[-1].startswith("warning: data/a was changed there since")


def test_what_was_being_placed_as_it_was_cut_off_is_known_again(tmp_path: Path) -> None:
    one, two, base = made(tmp_path, "one", data__a="a"), made(tmp_path, "two", data__a="b" * 9000), tmp_path / "base"
    unpack(one, base)
    whole = two.read_bytes()
    two.write_bytes(whole.replace(b"b" * 512, b"c" * 512, 1))
    for _ in range(2):
        with pytest.raises(PreflightError, match="data/a is damaged"):
            unpack(two, base)
    (base / "data/a").write_text("half way")
    unpack(one, base)
    assert (base / "data/a").read_text() == "a"


def test_data_is_not_replaced_under_a_run(tmp_path: Path) -> None:
    one, two, base = made(tmp_path, "one", data__a="a"), made(tmp_path, "two", data__a="b"), tmp_path / "base"
    unpack(one, base)
    (base / "runs/x").mkdir(parents=True)
    with (base / "runs/x/run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(PreflightError, match="a run is at work there .*runs/x.: wait for it"):
            unpack(two, base)
        unpack(one, base)
    assert (base / "data/a").read_text() == "a"


# Room -----------------------------------------------------------------------------------------------------------------


def free(monkeypatch: pytest.MonkeyPatch, amount: int) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=amount))


def test_room_for_all_files_is_looked_for_before_any_is_written(
    tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 2_000_000)
    told = r"b.tar needs 2.9 MiB on the disk of .*, where 1.9 MiB is free: make room there, or choose another --base"
    with pytest.raises(PreflightError, match=told):
        unpack(packed, tmp_path / "base")
    assert not list((tmp_path / "base").rglob("*.whl"))
    free(monkeypatch, 4_000_000)
    unpack(packed, tmp_path / "base")


def test_room_for_a_bundle_is_looked_for_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 3000)
    with pytest.raises(
        PreflightError, match=r"b.tar needs .* KiB on the disk of .*: make room there, or write it else"
    ):
        made(tmp_path, "b", code__a="a")
    assert not (tmp_path / "b.tar").exists()


def test_a_disk_that_is_full_meanwhile_is_told_by_its_file(
    tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(PreflightError, match=r"b.tar: code/a/run.sh: no room is left on the disk of .*/code/a: make"):
        unpack(packed, tmp_path / "base")
    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(PreflightError, match=rf"b.tar: no room is left on the disk of {tmp_path}: make room there, or"):
        made(tmp_path, "b", code__a="a")


def test_folders_of_a_tar_that_was_made_anew_are_passed_over(tmp_path: Path, packed: Path) -> None:
    with tarfile.open(packed, "a") as archive:
        folder = tarfile.TarInfo("code")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    assert (unpack(packed, tmp_path / "base") / "suite.yaml").read_text() == "a: 1"


def test_a_bundle_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--bundle .*/none.tar: No such file or directory"):
        unpack(tmp_path / "none.tar", tmp_path)


def test_a_bundle_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("x")
    with pytest.raises(OSError, match="gone"):
        bundle.write(tmp_path / "b.tar", ABOUT, {"a": tmp_path / "here", "b": tmp_path / "gone"})
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_benchmate_is_compared_by_its_extras_alone() -> None:
    parts = {"benchmate": "benchmate-1+a.whl", "benchmate[voir]": "benchmate-1+a.whl", "a/requirements.in": "1"}
    assert bundle.comparable(parts) == {"benchmate[voir]": "", "a/requirements.in": "1"}
