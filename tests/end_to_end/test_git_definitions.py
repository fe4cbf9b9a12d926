"""Definitions by git: fetched by install at a commit that stays, from repositories made here."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from harness import OBSERVED, PRINTER, Project, folder, shell, wait_until
from repository import Repository

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no program git")
# Stands before git on PATH: waits where it would check out.
SLOW = """
    #!/bin/sh
    for word in "$@"; do
        [ "$word" = checkout ] && exec sleep 600
    done
    exec {git} "$@"
"""


def observed(word: str) -> str:
    return f"print({word!r}, flush=True)\n" + dedent(OBSERVED)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit(main=observed("first"))
    return made


def defined(**definition: Any) -> dict[str, Any]:
    return {**folder("."), "definition": {"git": "./repository", **definition}}


def said(project: Project) -> str:
    return project.run().files("mine").stdout.read_text().strip()


def fetched(project: Project) -> Any:
    return project.run().facts()["fetched"]


@pytest.mark.parametrize("kind", ["branch", "tag", "annotated", "commit", "old commit", "HEAD"])
def test_a_benchmark_runs_from_a_branch_a_tag_and_a_commit(project: Project, repository: Repository, kind: str) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", "v1")
    repository.git("tag", "-a", "v2", "-m", "two")
    newest = repository.commit(main=observed("second"))
    asked: dict[str, tuple[dict[str, str], str, str]] = {
        "branch": ({"branch": "main"}, "branch main", "second"),
        "tag": ({"tag": "v1"}, "tag v1", "first"),
        "annotated": ({"tag": "v2"}, "tag v2", "first"),
        "commit": ({"commit": newest}, f"commit {newest}", "second"),
        "old commit": ({"commit": first}, f"commit {first}", "first"),
        "HEAD": ({}, "HEAD", "second"),
    }
    definition, reference, prints = asked[kind]
    project.suite(mine=defined(**definition))
    assert project.verb("install").code == 0
    assert project.verb("run").code == 0
    assert said(project) == prints
    commit = newest if prints == "second" else first
    found = {"benchmark": "mine", "git": str(repository.path), "reference": reference, "commit": commit, "path": "."}
    assert fetched(project) == [found]
    assert project.verb("plan", "--json").json["fetched"] == [found]
    assert f"from {repository.path}, {reference}" in project.verb("plan").out
    assert commit in project.verb("plan").out


def test_a_folder_within_a_repository_is_what_is_run(project: Project, repository: Repository) -> None:
    repository.commit(benches__one__main="from helper import word\n" + observed("one"), benches__one__helper="word = 1")
    project.suite(mine=defined(branch="main", path="benches/one"), twin=defined(branch="main"))
    done = project.verb("run", "--all")
    assert (done.code, done.err.count("fetching")) == (0, 1)
    assert said(project) == "one"
    assert sorted(path.name for path in (project.base / "code").iterdir()) == ["one", "repository"]


def test_what_is_fetched_needs_no_repository_any_more_and_a_branch_stays(
    project: Project, repository: Repository
) -> None:
    project.suite(mine=defined(branch="main"))
    assert project.verb("run", "--all").code == 0
    before = fetched(project)
    newest = repository.commit(main=observed("second"))
    again = project.verb("run", "--all")
    assert (again.code, again.err.count("there already"), said(project), fetched(project)) == (0, 2, "first", before)
    assert project.verb("install", "--refresh").code == 0
    assert project.verb("run").code == 0
    assert (said(project), fetched(project)[0]["commit"]) == ("second", newest)
    repository.path.rename(project.folder / "elsewhere")
    repository.path.mkdir()
    assert project.verb("run", "--all").code == 0
    assert said(project) == "second"


@pytest.mark.parametrize("gone", ["branch", "repository"])
def test_a_refresh_that_fails_is_told_and_the_commit_stays(project: Project, repository: Repository, gone: str) -> None:
    project.suite(mine=defined(branch="main"))
    assert project.verb("run", "--all").code == 0
    before = fetched(project)
    if gone == "branch":
        repository.git("branch", "-m", "trunk")
    else:
        repository.path.rename(project.folder / "elsewhere")
    refused = project.verb("install", "--refresh")
    says = "has no branch main" if gone == "branch" else "cannot be read"
    assert (refused.code, says in refused.err) == (4, True)
    (key,) = (path.name for path in (project.base / "sources").iterdir() if path.is_dir())
    logs = project.milabench("logs", "--setup", key)
    assert says in logs.out
    assert project.verb("plan", "--json").json["fetched"] == before
    assert project.verb("run").code == 0
    assert (said(project), fetched(project)) == ("first", before)


@pytest.mark.parametrize("lost", ["commit", "*/repository"])
def test_what_was_fetched_and_is_gone_is_fetched_again(project: Project, repository: Repository, lost: str) -> None:
    project.suite(mine=defined(branch="main"))
    assert project.verb("run", "--all").code == 0
    (path,) = (project.base / "sources").glob(f"*/{lost}")
    path.rename(project.folder / "elsewhere")
    planned = project.verb("plan")
    assert (planned.code, "not fetched: mine" in planned.err) == (4, True)
    assert project.verb("install").code == 0
    assert project.verb("run").code == 0
    assert said(project) == "first"


def test_a_new_commit_is_installed_anew(project: Project, repository: Repository) -> None:
    benchfile = """
from milabench.pack import Package


class __pack__(Package):
    async def install(self):
        await super().install()
        await self.execute("cp", self.dirs.code / "helper.py", self.dirs.code / "built.py")
"""
    main = "import built\nprint(built.word, flush=True)\n" + observed("")
    repository.commit(benchfile=benchfile, main=main, helper="word = 'old'")
    project.suite(mine=defined(branch="main"))
    assert project.verb("run", "--all").code == 0
    repository.commit(helper="word = 'new'")
    assert project.verb("install", "--refresh", "--fetch-only").code == 0
    refused = project.verb("run")
    assert (refused.code, "not installed: mine" in refused.err) == (4, True)
    assert project.verb("run", "--all").code == 0
    assert said(project) == "new"


@pytest.mark.parametrize(
    "verb", [["plan"], ["run"], ["prepare"], ["pin"], ["dev", "mine"], ["plan", "--arch", "cuda", "--gpus", "8"]]
)
def test_what_is_not_fetched_is_told_with_what_to_type(
    project: Project, repository: Repository, verb: list[str]
) -> None:
    project.suite(mine=defined(branch="main"), printer=shell(PRINTER))
    before = project.tree()
    name, *words = verb
    done = project.verb(name, *words)
    assert (done.code, done.out) == (4, "")
    assert f"not fetched: mine (from {repository.path}, branch main). Type: milabench install --config" in done.err
    assert project.tree() == before


def test_other_benchmarks_need_nothing_fetched_and_reading_starts_nothing(
    project: Project, repository: Repository, tmp_path: Path
) -> None:
    project.suite(mine=defined(branch="main"), printer=shell(PRINTER))
    nowhere = str(tmp_path / "nowhere")
    assert project.verb("check", PATH=nowhere).out == "ok: 2 benchmarks, 0 warnings\n"
    found = project.verb("list", "--json", PATH=nowhere).json["benchmarks"][0]
    assert found["definition"] == {"git": str(repository.path), "branch": "main"}
    assert project.verb("run", "--exclude", "mine").code == 0
    assert not (project.base / "sources").exists()


def test_a_plan_for_another_machine_needs_the_files_only(project: Project, repository: Repository) -> None:
    project.suite(mine=defined(branch="main"))
    assert project.verb("install", "--fetch-only").code == 0
    assert not (project.base / "venv").exists()
    plan = project.verb("plan", "--arch", "cuda", "--gpus", "2", "--json").json
    assert [trial["benchmark"] for trial in plan["trials"]] == ["mine"]


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ({"branch": "mian"}, "has no branch mian (did you mean main?)"),
        ({"branch": "v1.0"}, "has no branch v1.0, but a tag of that name: write tag: v1.0"),
        ({"tag": "v1.1"}, "has no tag v1.1 (did you mean v1.0?)"),
        ({"commit": "0123456789abcdef0123456789abcdef01234567"}, "has no commit 0123456789abcdef0123456789abcdef01234"),
        ({"git": "file:///nowhere/at/all"}, "does not appear to be a git repository"),
        ({"git": "https://localhost:1/mine"}, "https://localhost:1/mine cannot be read: unable to access"),
    ],
)
def test_what_cannot_be_fetched_is_told_and_the_others_are_installed(
    project: Project, repository: Repository, definition: dict[str, str], says: str
) -> None:
    repository.git("tag", "v1.0")
    project.write("plain/main.py", OBSERVED)
    project.suite(mine=defined(**definition), plain=folder("plain"))
    done = project.verb("install")
    assert (done.code, says in done.err, "Traceback" in done.err) == (4, True, False), done.err
    assert (project.base / "venv/plain/.milabench.json").exists()
    assert project.verb("run").code == 4


def test_in_a_run_of_all_what_cannot_be_fetched_counts_as_failed(project: Project, repository: Repository) -> None:
    project.suite(mine=defined(branch="mian"), printer=shell(PRINTER))
    assert project.verb("run", "--all").code == 1
    outcomes = project.run().outcomes()
    assert (outcomes["printer"].kind, outcomes["mine"].kind) == ("early_stop", "failed")
    assert "its definition could not be fetched" in outcomes["mine"].reason
    (missing,) = project.milabench("report", "--json").json["missing"]
    assert (missing["benchmark"], missing["weight"], "no branch mian" in missing["reason"]) == ("mine", 1.0, True)


def test_a_folder_that_a_repository_lacks_is_named_with_its_place(project: Project, repository: Repository) -> None:
    project.write("suite.yaml", "a:\n  plan: {method: njobs}\n  definition: {git: ./repository, path: benchs}\n")
    done = project.verb("install")
    assert (done.code, "suite.yaml:3:41: a.definition.path is 'benchs'" in done.err) == (2, True), done.err


def test_without_git_there_is_one_clear_line(project: Project, repository: Repository, tmp_path: Path) -> None:
    project.suite(mine=defined(branch="main"))
    (tmp_path / "empty").mkdir()
    done = project.verb("install", PATH=str(tmp_path / "empty"))
    assert (done.code, "there is no program git on PATH" in done.err, "Traceback" in done.err) == (4, True, False)


def test_a_fetch_that_was_killed_counts_for_nothing(project: Project, repository: Repository) -> None:
    project.suite(mine=defined(branch="main"))
    slow = project.write("bin/git", SLOW.format(git=shutil.which("git")).lstrip())
    slow.chmod(0o755)
    path, project.environ["PATH"] = project.environ["PATH"], f"{slow.parent}:{project.environ['PATH']}"
    with project.started("install", "--config", "suite.yaml") as process:
        wait_until(lambda: any(project.base.glob("sources/*/partial/repository/.git/FETCH_HEAD")))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not project.processes())
    project.environ["PATH"] = path
    refused = project.verb("run")
    assert (refused.code, "not fetched: mine" in refused.err) == (4, True)
    assert project.verb("run", "--all").code == 0
    assert said(project) == "first"
    assert not any(project.base.glob("sources/*/partial"))


def test_an_interrupted_fetch_is_interrupted(project: Project, repository: Repository) -> None:
    project.suite(mine=defined(branch="main"))
    slow = project.write("bin/git", SLOW.format(git=shutil.which("git")).lstrip())
    slow.chmod(0o755)
    project.environ["PATH"] = f"{slow.parent}:{project.environ['PATH']}"
    with project.started("run", "--all", "--config", "suite.yaml") as process:
        wait_until(lambda: any(project.base.glob("sources/*/partial/repository/.git/FETCH_HEAD")))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not (project.base / "runs").exists()


def test_no_hook_and_no_filter_of_the_user_runs(project: Project, repository: Repository, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    hook = project.write("hooks/post-checkout", f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    settings = f"""
        [core]
            hooksPath = {hook.parent}
        [filter "spy"]
            smudge = touch {ran}; cat
            required = true
    """
    (repository.path / ".gitattributes").write_text("*.py filter=spy\n")
    repository.commit(main=observed("filtered"))
    project.suite(mine=defined(branch="main"))
    assert project.verb("run", "--all", GIT_CONFIG_GLOBAL=str(project.write("gitconfig", settings))).code == 0
    assert (said(project), ran.exists()) == ("filtered", False)


def test_submodules_come_too(project: Project, repository: Repository, tmp_path: Path) -> None:
    inner = Repository(tmp_path / "inner")
    inner.commit(part="word = 'of the submodule'")
    repository.git("submodule", "--quiet", "add", "../inner", "sub")
    repository.commit(main="from sub import part\nprint(part.word, flush=True)\n" + observed(""))
    project.suite(mine=defined(branch="main"))
    assert project.verb("run", "--all").code == 0
    assert said(project) == "of the submodule"
    assert not (project.base / "code/repository/sub/.git").exists()


def test_offline_only_what_is_on_this_machine_is_fetched(project: Project, repository: Repository) -> None:
    project.suite(mine=defined(branch="main"), far=defined(git="https://example.org/mine"))
    done = project.verb("install", "--offline", "--fetch-only")
    assert (done.code, "GIT_ALLOW_PROTOCOL, which --offline sets, is file" in done.err) == (4, True), done.err
    assert project.verb("plan", "--select", "mine").code == 0


def test_clean_forgets_what_was_fetched_with_the_environments(project: Project, repository: Repository) -> None:
    project.suite(mine=defined(branch="main"))
    assert project.verb("install").code == 0
    assert project.milabench("clean", "caches", "--yes").code == 0
    assert project.verb("plan").code == 0
    assert project.milabench("clean", "environments", "--yes").code == 0
    assert "not fetched" in project.verb("plan").err
