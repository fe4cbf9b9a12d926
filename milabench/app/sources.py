"""Definitions by git: from what a suite names to the folders that ``install`` has fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from milabench import plan as planning
from milabench.errors import ConfigurationError, PreflightError, Problem
from milabench.plan import Fetched, Site
from milabench.problems import Code
from milabench.suite import Benchmark, GitSource, Suite


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
    for each in selected.benchmarks:
        if each.source is None or each.name in unfetched:
            located.append(each)
            continue
        found = planning.fetched(each.source, site)
        if found is None:
            missing.append(f"{each.name} (from {each.source})")
            continue
        commit, tree = found
        folder, source = tree / each.source.path, each.source
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


def _no_folder(name: str, source: GitSource, commit: str) -> Problem:
    path = f"{name}.definition.path"
    message = f"{path} is {source.path!r}, and {source.url} has no such folder at commit {commit}"
    return Problem(code=Code.NO_FOLDER.code, message=message, mark=source.mark, path=path)
