"""A bundle is held against what is to be installed before anything is."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from milabench import bundle
from milabench import plan as planning
from milabench.agent import probe
from milabench.app import reading
from milabench.app.options import Options
from milabench.app.unbundle import check, suite_of, there, unpacked
from milabench.app.workspace import workspace
from milabench.bundle import About, Group
from milabench.console import Console
from milabench.errors import PreflightError, UsageError
from milabench.plan import Workspace

ABOUT: dict[str, Any] = {"milabench": "1", "arch": "cpu", "machine": "x", "python": "3", "groups": (), "benchmarks": ()}
FACTS = {"hostname": "here", "cpus": 4, "memory_bytes": 2**34, "arch": "cpu", "devices": [], "environ": {}}


def ready(folder: Path, **about: Any) -> Workspace:
    """Return a suite with a bundle that fits it but for what is given, unpacked by the options that name it."""
    (folder / "own").mkdir()
    (folder / "own/main.py").write_text("")
    (folder / "own/requirements.in").write_text("x\n")
    suite = folder / "suite.yaml"
    suite.write_text("own: {definition: own, install_group: torch, plan: {method: njobs, n: 1}}")
    options = Options(config=str(suite), base=folder / "base", shape={"arch": "cpu"}, offline=True)
    made = workspace(options, FACTS)
    parts = bundle.comparable(planning.needs(made)[0]["torch"].parts)
    fits = About(
        milabench="1",
        arch="cpu",
        machine=platform.machine(),
        python=bundle.minor(made.site.python_version),
        groups=(Group(name="torch", parts=parts, wheels=()),),
        benchmarks=("own",),
    )
    files = {name: folder / name for name in ("suite.yaml", "own/main.py", "own/requirements.in")}
    bundle.write(folder / "b.tar", replace(fits, **about), files)
    options = replace(options, bundle=folder / "b.tar")
    bundle.unpack(bundle.find(folder / "b.tar", options.base), str)
    return workspace(there(options), FACTS)


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"arch": "cuda"}, "it is for cuda, and this machine is a system of cpu"),
        ({"machine": "aarch65"}, f"it is for processors of aarch65, and this machine has {platform.machine()}"),
        ({"python": "3.1"}, "it is for Python 3.1, and environments of this machine are made from "),
        ({"groups": ()}, "it has no packages of the install group torch: it has those of none"),
        ({"groups": (Group(name="torch", parts={}, wheels=()),)}, "own/requirements.in is new since it was packed"),
    ],
)
def test_a_bundle_that_does_not_fit_is_told(tmp_path: Path, about: dict[str, Any], told: str) -> None:
    made = ready(tmp_path, **about)
    with pytest.raises(PreflightError) as refused:
        check(made, planning.plan(made, "install"))
    assert told in str(refused.value)
    assert "the bundle does not fit (pack one there with the suite" in str(refused.value)


@pytest.mark.parametrize(
    ("about", "options", "told"),
    [
        ({"machine": "aarch65"}, {}, f"it is for processors of aarch65, and this machine has {platform.machine()}"),
        ({"python": "3.1"}, {}, "it is for Python 3.1, and environments of this machine are made from "),
        ({}, {"config": "quikstart"}, "no suite 'quikstart'.*did you mean 'quickstart'"),
    ],
)
def test_what_is_known_at_once_is_told_before_anything_is_unpacked(
    tmp_path: Path, about: dict[str, Any], options: dict[str, Any], told: str
) -> None:
    ready(tmp_path, **about)
    asked = Options(**{"config": None, "base": tmp_path / "other", "bundle": tmp_path / "b.tar", **options})
    with pytest.raises((PreflightError, UsageError), match=told):
        unpacked(asked, Console(quiet=True))
    assert not asked.base.exists()


@pytest.mark.parametrize(
    "system",
    ["nodes: [{name: far, ip: 192.0.2.1, main: true}]", "docker: {executable: podman, image: an-image}"],
    ids=["other machines", "a container"],
)
def test_a_bundle_for_others_than_this_machine_is_unpacked(tmp_path: Path, system: str) -> None:
    ready(tmp_path, python="3.1")
    (tmp_path / "system.yaml").write_text(f"system: {{{system}}}")
    options = Options(config=None, base=tmp_path / "o", bundle=tmp_path / "b.tar", system=tmp_path / "system.yaml")
    assert unpacked(options, Console(quiet=True)).unpacked is not None


def test_a_folder_is_no_bundle(tmp_path: Path) -> None:
    made = ready(tmp_path)
    for folder in (Path(str(made.site.bundle)), tmp_path):
        options = Options(config=None, base=tmp_path / "base", bundle=folder)
        with pytest.raises(UsageError, match="this is a folder: give the file that was packed"):
            unpacked(options, Console(quiet=True))


def test_what_only_reads_a_suite_reads_that_of_the_bundle_where_no_other_is_named(tmp_path: Path) -> None:
    made = ready(tmp_path)
    options = Options(config=None, base=tmp_path / "base", bundle=tmp_path / "b.tar")
    assert suite_of(options).config == f"{made.site.bundle}/suite.yaml"
    assert suite_of(replace(options, config="quickstart", base=tmp_path)).config == "quickstart"
    with pytest.raises(PreflightError, match="b.tar: it is not unpacked yet"):
        suite_of(replace(options, base=tmp_path))


def test_verbs_that_read_know_the_suite_of_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "facts", lambda *_: FACTS)
    ready(tmp_path)
    options = Options(config=None, base=tmp_path / "base", bundle=tmp_path / "b.tar", shape={"arch": "cpu"})
    found, errors, _ = reading.check(options)
    assert (found is not None and [each.name for each in found.benchmarks], errors) == (["own"], [])
    assert [each["name"] for each in reading.listed(options)] == ["own"]
    assert list(reading.resolved(options, [])) == ["own"]
    assert [each.path for each in reading.explain(options, "own.definition")] == [("own", "definition")]
    (job,) = reading.plans(options, "install")[0][1].trials[0].jobs
    assert "--no-index" in job.commands[-1].argv


def test_a_plan_is_not_made_of_what_another_bundle_brought_since(tmp_path: Path) -> None:
    ready(tmp_path)
    options = Options(config=None, base=tmp_path / "base", bundle=tmp_path / "b.tar")
    bundle.write(tmp_path / "c.tar", About(**ABOUT), {"suite.yaml": tmp_path / "suite.yaml"})
    bundle.unpack(bundle.find(tmp_path / "c.tar", options.base), str)
    with pytest.raises(PreflightError, match="b.tar: another bundle was unpacked below the base since. Type"):
        reading.plans(options, "install")


def test_a_bundle_that_fits_is_taken(tmp_path: Path) -> None:
    made = ready(tmp_path)
    check(made, planning.plan(made, "install"))
    assert made.site.bundle is not None
    assert made.site.offline


def test_the_suite_is_the_bundles_own_where_no_other_is_named(tmp_path: Path) -> None:
    ready(tmp_path)
    found = unpacked(Options(config=None, base=tmp_path / "base", bundle=tmp_path / "b.tar"), Console(quiet=True))
    assert found.unpacked is not None
    assert found.config == str(found.unpacked / "suite.yaml")
    assert unpacked(found, Console(quiet=True)) == there(found) == found
    assert found.command("run") == f"milabench run --base {tmp_path / 'base'} --bundle {tmp_path / 'b.tar'}"


def test_a_look_unpacks_nothing(tmp_path: Path) -> None:
    made = ready(tmp_path)
    options = Options(config=None, base=tmp_path / "other", bundle=tmp_path / "b.tar")
    with pytest.raises(
        PreflightError, match=r"b.tar: it is not unpacked yet. Type: milabench install .*--bundle .*b.tar"
    ):
        there(options)
    assert not options.base.exists()
    assert str(there(replace(options, base=tmp_path / "base")).unpacked) == made.site.bundle
