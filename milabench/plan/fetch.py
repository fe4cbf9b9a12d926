"""The fetch phase: repositories that definitions name, each a job needed once; and where they are afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from milabench.agent import once
from milabench.agent.fetch import COMMIT
from milabench.errors import ConfigurationError, PreflightError, Problem
from milabench.plan import environ
from milabench.plan.setup import OFFLINE, RECORD
from milabench.plan.site import Site
from milabench.plan.types import Command, Fetched, Job, Once, Plan, Trial
from milabench.problems import Code
from milabench.suite.types import Benchmark, GitSource, Suite

DEADLINE_S = 3600.0
HERE = "here"  # benchfiles are loaded where milabench runs, so that is where repositories go


def fetches(sources: Iterable[GitSource], site: Site, operator: Mapping[str, str], *, refresh: bool = False) -> Plan:
    """Return what fetches repositories, a trial each named by its key; what is recorded, and there, is left alone.

    ``refresh``: branches, tags and HEADs are asked for anew. Raises ConfigurationError where a URL holds a secret of
    the operator's environment.
    """
    known = environ.secrets(operator)
    unique = {source.key: source for source in sources}
    for source in unique.values():
        if secret := environ.exposed(source.url, known):
            message = f"a repository's URL holds the value of {secret}, a secret: leave it to git's credential helper"
            raise ConfigurationError([Problem(code=Code.SECRET.code, message=message, mark=source.mark)])
    return Plan(phase="fetch", trials=tuple(_trial(source, site, refresh) for source in unique.values()))


def locate(
    selected: Suite, site: Site, unfetched: Mapping[str, str], install: str
) -> tuple[Suite, tuple[Fetched, ...]]:
    """Return the suite with the folders of what is fetched, and the commits; ``unfetched`` stay without one.

    Raises PreflightError, with the command to type (``install``), where anything else is not fetched, and
    ConfigurationError where a repository lacks the folder that is named within it.
    """
    located: list[Benchmark] = []
    commits: list[Fetched] = []
    missing: list[str] = []
    problems: list[Problem] = []
    sources = {each.source.key: each.source for each in selected.benchmarks if each.source is not None}
    there = {key: _fetched(source, site) for key, source in sources.items()}
    for each in selected.benchmarks:
        if each.source is None or each.name in unfetched:
            located.append(each)
            continue
        source, found = each.source, there[each.source.key]
        if found is None:
            missing.append(f"{each.name} (from {source})")
            continue
        commit, tree = found
        folder = tree / source.path
        if not folder.is_dir():
            problems.append(_no_folder(each.name, source, commit))
        config = {**each.config, "definition": str(folder)}
        located.append(replace(each, definition=str(folder), config=config))
        asked = {"git": source.url, "reference": source.reference, "path": source.path}
        commits.append(Fetched(benchmark=each.name, commit=commit, **asked))
    if missing:
        hint = "--fetch-only: without the environments"
        raise PreflightError(f"not fetched: {', '.join(missing)}. Type: {install} ({hint})")
    if problems:
        raise ConfigurationError(problems)
    return replace(selected, benchmarks=tuple(located)), tuple(commits)


def _fetched(source: GitSource, site: Site) -> tuple[str, Path] | None:
    """Return the commit of a source and the folder of its files, None where it is not fetched, or no longer there."""
    if not _is_recorded(source, site):
        return None
    try:
        commit = (_folder(source, site) / COMMIT).read_text().strip()
    except (OSError, ValueError):
        return None
    tree = _folder(source, site) / commit / source.repository
    return (commit, tree) if commit and tree.is_dir() else None


def _is_recorded(source: GitSource, site: Site) -> bool:
    return once.done({"record": _record(source, site), "base": _base(source), "parts": {}})


def _no_folder(name: str, source: GitSource, commit: str) -> Problem:
    path = f"{name}.definition.path"
    message = f"{path} is {source.path!r}, and {source.url} has no such folder at commit {commit}"
    return Problem(code=Code.NO_FOLDER.code, message=message, mark=source.mark, path=path)


def _folder(source: GitSource, site: Site) -> Path:
    return Path(site.base) / "sources" / source.key


def _base(source: GitSource) -> dict[str, str]:
    return {"git": source.url, "reference": source.reference}


def _record(source: GitSource, site: Site) -> str:
    return f"{_folder(source, site)}/{RECORD}"


def _trial(source: GitSource, site: Site, refresh: bool) -> Trial:
    words = (source.url, source.kind or "", source.name or "", str(_folder(source, site)), source.repository)
    command = Command(
        tag=f"{source.key}.fetch",
        benchmark=source.key,
        node=HERE,
        argv=site.module("milabench.agent.fetch", *words),
        cwd=site.base,
        env=OFFLINE if site.offline else {},
        metrics="none",
    )
    lost = _is_recorded(source, site) and _fetched(source, site) is None
    always = lost or (refresh and source.kind != "commit")
    needed = Once(record=_record(source, site), folder=None, base=_base(source), parts={}, always=always, keep=True)
    return Trial(
        benchmark=source.key,
        jobs=(Job(tag=source.key, commands=(command,), deadline_s=DEADLINE_S, once=needed),),
    )
