"""The verbs that only read: ``check``, ``list``, ``resolve``, ``explain`` and ``plan``. They change no disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from milabench import plan as planning
from milabench import suite, system
from milabench.agent import probe
from milabench.app.multirun import Asked, asked
from milabench.app.options import Options
from milabench.app.unbundle import suite_of, there
from milabench.app.workspace import find_config, resolve_suite, workspace
from milabench.errors import ConfigurationError, Problem, UsageError
from milabench.overrides import SYSTEM
from milabench.plan import Phase, Plan, environ
from milabench.problems import nearest
from milabench.provenance import Provenance
from milabench.suite import Benchmark, Suite


def check(options: Options) -> tuple[Suite | None, Sequence[Problem], Sequence[Problem]]:
    """Return (suite, errors, warnings) of a suite, and of the system; loads no benchfile.

    Where a system file is given and no suite, that file alone is judged. Else the suite has the selected benchmarks;
    all are judged. Secrets stand in the messages by name. Raises UsageError for a selection that cannot be.
    """
    options = suite_of(options)
    errors: list[Problem] = []
    warnings: list[Problem] = []
    found: Suite | None = None
    if options.config is not None or options.system is None:
        try:
            path = find_config(options.config)
            judge = partial(_misplaced_secrets, environ.secrets(options.environ))
            found = suite.resolve(path, options.override, options.environ, lenient=options.lenient, judge=judge)
        except ConfigurationError as error:
            errors.extend(error.problems)
            warnings.extend(error.warnings)
    try:
        warnings += _judge_system(options)
    except ConfigurationError as error:
        errors.extend(problem for problem in error.problems if problem not in errors)
        warnings.extend(error.warnings)
    if found and not errors and (options.select or options.exclude):
        found = suite.select(found, options.select, options.exclude)
    told = (*(found.warnings if found else ()), *warnings)
    secrets = environ.secrets(options.environ)
    return found, [_by_name(each, secrets) for each in errors], [_by_name(each, secrets) for each in told]


def _misplaced_secrets(known: environ.Secrets, benchmarks: Sequence[Benchmark]) -> Sequence[Problem]:
    """Return what is wrong with variables that no plan takes, since they would tell secrets; each place once."""
    problems = (problem for each in benchmarks for problem in environ.misplaced(each, known))
    return list({problem.mark: problem for problem in problems}.values())


def _by_name(problem: Problem, secrets: environ.Secrets) -> Problem:
    """Return a problem that tells the values of secrets by name."""
    suggestion = problem.suggestion and environ.redacted_message(problem.suggestion, secrets)
    message, path = (environ.redacted_message(text, secrets) for text in (problem.message, problem.path))
    return replace(problem, message=message, path=path, suggestion=suggestion)


def _judge_system(options: Options) -> Sequence[Problem]:
    """Return the warnings of a system, for each run of its multirun. Raises ConfigurationError with all errors."""
    errors: dict[Problem, None] = {}
    warnings: dict[Problem, None] = {}
    for each in asked(options):
        try:
            with each.told_at_its_place():
                found = system.resolve(options.system, _no_facts(), {}, each.options.operator)
                warnings.update(dict.fromkeys(map(each.at_its_place, found.warnings)))
        except ConfigurationError as error:
            errors.update(dict.fromkeys(error.problems))
    if errors:
        raise ConfigurationError(list(errors))
    return list(warnings)


def listed(options: Options) -> list[dict[str, Any]]:
    """Return what ``list`` shows of each selected benchmark."""
    return [
        {
            "name": each.name,
            "group": each.group,
            "install_group": each.install_group,
            "tags": list(each.tags),
            "weight": each.weight,
            "plan": each.placement.method,
            "definition": each.source.as_mapping() if each.source else each.definition,
        }
        for each in resolve_suite(suite_of(options)).benchmarks
    ]


def resolved(options: Options, names: Sequence[str]) -> dict[str, Any]:
    """Return the suite the options name as a suite of its own: of its benchmarks those named, else all or the selected.

    Secrets stand in it by name. Raises UsageError for a name that is none.
    """
    options = suite_of(options)
    path = find_config(options.config)
    whole = suite.resolve(path, options.override, options.environ, lenient=options.lenient)
    if options.select or options.exclude:
        whole = suite.select(whole, options.select, options.exclude)
    known = {each.name: each for each in whole.benchmarks}
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else "`milabench list` shows them"
            raise UsageError(f"{name!r} is no benchmark of {options.config}: {hint}")
    secrets = environ.secrets(options.environ)
    chosen = [known[name] for name in dict.fromkeys(names)] or whole.benchmarks
    by_name = (replace(each, config=environ.without_secrets(each.config)) for each in chosen)
    return suite.flat(by_name, lambda text: environ.redacted(text, secrets))


def explain(options: Options, target: str) -> list[Provenance]:
    """Return every value at ``target`` with the places that set it; secrets stand in it by name."""
    if target.split(".", maxsplit=1)[0] == SYSTEM:
        found = system.explain(options.system, target, options.environ, options.override, lenient=options.lenient)
    else:
        path = find_config(suite_of(options).config)
        found = suite.explain(path, target, options.override, options.environ, lenient=options.lenient)
    secrets = environ.secrets(options.environ)
    return [each.shown(lambda value: environ.redacted_data(value, secrets)) for each in found]


def plans(options: Options, phase: Phase) -> list[tuple[Asked, Plan]]:
    """Return the plan of a phase on this machine, or on the system that the options describe.

    With a multirun it is the plan of each of its runs.
    """
    options = there(options)
    facts = dict(probe.facts("cpu" if options.arch else None, {}))
    if options.shape or options.system or options.arch:
        facts["environ"] = {}
    made = []
    for each in asked(options):
        with each.told_at_its_place():
            made.append((each, planning.plan(workspace(each.options, facts), phase, repeats=options.repeats)))
    return made


def _no_facts() -> Mapping[str, Any]:
    return {
        "hostname": "localhost",
        "cpus": 1,
        "memory_bytes": 0,
        "arch": "cpu",
        "devices": [],
        "environ": {},
        "ips": [],
    }
