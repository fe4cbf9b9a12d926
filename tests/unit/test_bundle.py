"""A bundle comes out as it went in, or not at all: each file is checked, and none leaves the base."""

from __future__ import annotations

import io
import json
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


def test_what_was_packed_comes_out(tmp_path: Path, packed: Path) -> None:
    base = tmp_path / "base"
    folder = bundle.unpack(packed, base)
    assert folder.parent == base / "bundles"
    assert (folder / "suite.yaml").read_text() == "a: 1"
    assert (folder / "code/a/run.sh").stat().st_mode & 0o777 == 0o755
    assert (folder / "wheels/a.whl").stat().st_size == 3_000_000
    assert (base / "data/of/latest").read_text() == "data"
    assert (base / "data/of/latest").is_symlink()
    assert bundle.read(folder).about == ABOUT
    assert not list(base.rglob("*.partial"))


def test_a_bundle_is_unpacked_once(tmp_path: Path, packed: Path) -> None:
    folder = bundle.unpack(packed, tmp_path / "base")
    (folder / "suite.yaml").write_text("mine")
    assert bundle.unpack(packed, tmp_path / "base") == folder
    assert (folder / "suite.yaml").read_text() == "mine"


def test_an_unpacking_that_was_cut_off_is_begun_anew(tmp_path: Path, packed: Path) -> None:
    folder = bundle.unpack(packed, tmp_path / "base")
    (folder / "manifest.json").unlink()
    (folder / "suite.yaml").write_text("half")
    bundle.unpack(packed, tmp_path / "base")
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
        (flipped, r"wheels/a.whl is damaged, its hash is not that in the manifest: copy the bundle again"),
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
        bundle.unpack(packed, tmp_path / "base")
    assert not list(tmp_path.glob("base/bundles/*/manifest.json"))
    assert not list(tmp_path.glob("**/away"))


def test_a_whole_bundle_follows_a_damaged_one(tmp_path: Path, packed: Path) -> None:
    whole = packed.read_bytes()
    flipped(packed)
    with pytest.raises(PreflightError):
        bundle.unpack(packed, tmp_path / "base")
    packed.write_bytes(whole)
    assert (bundle.unpack(packed, tmp_path / "base") / "wheels/a.whl").read_text() == "w" * 3_000_000


def test_a_bundle_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--bundle .*/none.tar: No such file or directory"):
        bundle.unpack(tmp_path / "none.tar", tmp_path)


def test_a_bundle_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("x")
    with pytest.raises(OSError, match="gone"):
        bundle.write(tmp_path / "b.tar", ABOUT, {"a": tmp_path / "here", "b": tmp_path / "gone"})
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_benchmate_is_compared_by_its_extras_alone() -> None:
    parts = {"benchmate": "benchmate-1+a.whl", "benchmate[voir]": "benchmate-1+a.whl", "a/requirements.in": "1"}
    assert bundle.comparable(parts) == {"benchmate[voir]": "", "a/requirements.in": "1"}
