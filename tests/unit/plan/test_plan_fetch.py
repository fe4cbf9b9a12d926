"""Repositories as jobs: what is fetched where, when it counts as fetched, and what a plan says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from plans import FACTS, SITE, write

from milabench import package, plan, suite, system
from milabench.errors import ConfigurationError, PreflightError
from milabench.plan import Fetched, Site, Workspace, codec, locate
from milabench.render.plan import render
from milabench.suite import GitSource, Suite

URL = "https://example.org/team/mine"
SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"
SUITE = f"""
_mine: {{definition: {{git: '{URL}', branch: main}}, plan: {{method: njobs}}, install_group: mine}}
a: {{inherits: _mine}}
b: {{inherits: _mine, definition: {{path: sub}}}}
c: {{inherits: _mine, definition: {{branch: null, commit: {SHA}}}}}
d: {{command: {{argv: [x], cwd: .}}}}
"""


@pytest.fixture
def selected(tmp_path: Path) -> Suite:
    write(tmp_path, {"suite.yaml": SUITE})
    return suite.select(suite.resolve(tmp_path / "suite.yaml"), (), ())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return replace(SITE, base=str(tmp_path / "base"))


def sources(selected: Suite) -> list[GitSource]:
    return [each.source for each in selected.benchmarks if each.source is not None]


def fetch(selected: Suite, site: Site, commit: str = SHA) -> None:
    """Write what fetching leaves behind."""
    for trial in plan.fetches(sources(selected), site, {}).trials:
        job = trial.jobs[0]
        *_, folder, repository = job.commands[0].argv
        tree = f"{commit}/{repository}"
        write(Path(folder), {f"{tree}/main.py": "", f"{tree}/sub/main.py": "", "commit": f"{commit}\n"})
        assert job.once is not None
        Path(job.once.record).write_text(json.dumps({"base": job.once.base, "parts": {}}))


def ready(selected: Suite, site: Site, unfetched: Mapping[str, str] | None = None) -> Workspace:
    here, fetched = locate(selected, site, unfetched or {}, "install")
    definitions = {each.definition: each.mark for each in here.benchmarks if each.definition}
    packages = package.load(definitions, {})
    return Workspace(
        suite=here,
        system=system.resolve(None, FACTS, {}),
        packages=packages,
        site=site,
        fetched=fetched,
        unfetched=unfetched or {},
    )


def test_each_repository_is_fetched_once_by_a_process_with_a_deadline(selected: Suite, site: Site) -> None:
    made = plan.fetches(sources(selected), site, {})
    assert made.phase == "fetch"
    (main, commit) = (trial.jobs[0] for trial in made.trials)
    assert main.commands[0].argv[-5:-2] == (URL, "branch", "main")
    assert commit.commands[0].argv[-5:-2] == (URL, "commit", SHA)
    assert (main.deadline_s, main.commands[0].cwd) == (3600, site.base)
    assert main.once is not None
    assert main.once.base == {"git": URL, "reference": "branch main"}
    assert main.once.record.startswith(f"{site.base}/sources/mine-main-")
    assert codec.from_json(json.loads("".join(codec.lines(made)))) == made


def test_only_what_can_move_is_fetched_again_when_asked(selected: Suite, site: Site) -> None:
    for refresh, again in ((False, [False, False]), (True, [True, False])):
        made = plan.fetches(sources(selected), site, {}, refresh=refresh)
        assert [trial.jobs[0].once.always for trial in made.trials if trial.jobs[0].once] == again
        assert all(trial.jobs[0].once.keep for trial in made.trials if trial.jobs[0].once)


def test_offline_git_may_use_no_network(selected: Suite, site: Site) -> None:
    (first, *_) = plan.fetches(sources(selected), replace(site, offline=True), {}).trials
    assert first.jobs[0].commands[0].env["GIT_ALLOW_PROTOCOL"] == "file"


def test_a_url_that_holds_a_secret_is_refused(selected: Suite, site: Site) -> None:
    with pytest.raises(ConfigurationError, match="holds the value of MY_TOKEN") as raised:
        plan.fetches(sources(selected), site, {"MY_TOKEN": "example.org/team"})
    assert raised.value.problems[0].mark is not None


def test_what_is_not_fetched_is_named_with_the_command(selected: Suite, site: Site) -> None:
    with pytest.raises(PreflightError) as raised:
        locate(selected, site, {}, "milabench install --config x")
    assert str(raised.value) == (
        f"not fetched: a (from {URL}, branch main), b (from {URL}, branch main), c (from {URL}, commit {SHA})."
        " Type: milabench install --config x (--fetch-only: without the environments)"
    )


def test_what_is_recorded_without_an_end_is_not_fetched(selected: Suite, site: Site) -> None:
    fetch(selected, site)
    for record in Path(site.base).rglob(".milabench.json"):
        record.unlink()
    with pytest.raises(PreflightError):
        locate(selected, site, {}, "install")


@pytest.mark.parametrize("lost", ["commit", SHA, f"{SHA}/mine"])
def test_what_is_recorded_and_gone_is_not_fetched_and_is_fetched_again(selected: Suite, site: Site, lost: str) -> None:
    fetch(selected, site)
    for path in Path(site.base).glob(f"sources/mine-*/{lost}"):
        path.rename(path.with_name("elsewhere"))
    with pytest.raises(PreflightError, match="not fetched: a .*, b .*, c .*"):
        locate(selected, site, {}, "install")
    again = [trial.jobs[0].once for trial in plan.fetches(sources(selected), site, {}).trials]
    assert [once.always for once in again if once] == [True, True]
    fetch(selected, site)
    again = [trial.jobs[0].once for trial in plan.fetches(sources(selected), site, {}).trials]
    assert [once.always for once in again if once] == [False, False]


def test_what_is_fetched_has_a_folder_and_a_commit(selected: Suite, site: Site) -> None:
    fetch(selected, site)
    here, fetched = locate(selected, site, {}, "install")
    a, b, c, d = here.benchmarks
    assert a.definition is not None
    assert a.definition.endswith(f"/{SHA}/mine")
    assert (b.definition, d.definition) == (f"{a.definition}/sub", None)
    assert a.config["definition"] == a.definition
    assert fetched == tuple(
        Fetched(benchmark=name, git=URL, reference=reference, commit=SHA, path=path)
        for name, reference, path in (
            ("a", "branch main", "."),
            ("b", "branch main", "sub"),
            ("c", f"commit {SHA}", "."),
        )
    )


def test_a_plan_says_the_commit(selected: Suite, site: Site) -> None:
    fetch(selected, site)
    made = plan.plan(ready(selected, site), "run")
    assert codec.from_json(json.loads("".join(codec.lines(made)))) == made
    assert plan.plan(ready(selected, site), "fetch") == plan.fetches(sources(selected), site, {})
    lines = render(made).splitlines()
    assert lines[1:3] == [f"from {URL}, branch main at commit {SHA}: a, b", f"from {URL}, commit {SHA}: c"]


def test_another_commit_asks_for_another_environment(selected: Suite, site: Site) -> None:
    found = []
    for commit in (SHA, OTHER):
        fetch(selected, site, commit)
        found.append(plan.needs(ready(selected, site))[0]["mine"].parts)
    assert (found[0]["mine/commit"], found[1]["mine/commit"], found[1]["sub/commit"]) == (SHA, OTHER, OTHER)


def test_what_could_not_be_fetched_counts_in_a_run_and_nothing_is_started(selected: Suite, site: Site) -> None:
    unfetched = dict.fromkeys("abc", "no network")
    made = plan.plan(ready(selected, site, unfetched), "run")
    assert [(trial.benchmark, len(trial.jobs)) for trial in made.trials] == [("d", 1), ("a", 0), ("b", 0), ("c", 0)]
    assert made.configs["a"]["weight"] == 1
    assert plan.plan(ready(selected, site, unfetched), "install").trials == ()


def test_a_folder_that_the_repository_lacks_is_a_mistake_with_a_place(selected: Suite, site: Site) -> None:
    fetch(selected, site)
    for folder in Path(site.base).rglob("sub"):
        (folder / "main.py").unlink()
        folder.rmdir()
    with pytest.raises(ConfigurationError) as raised:
        locate(selected, site, {}, "install")
    (problem,) = raised.value.problems
    assert (problem.code, problem.mark and problem.mark.line) == ("E212", 4)


def test_locks_of_what_is_fetched_are_not_written(selected: Suite, site: Site) -> None:
    fetch(selected, site)
    for main in Path(site.base).rglob("main.py"):
        (main.parent / "requirements.in").write_text("numpy\n")
    assert plan.pins(ready(selected, site))[0].trials == ()
