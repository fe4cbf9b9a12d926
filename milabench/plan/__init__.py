"""Suite + System + Packages → Plan. Pure: it reads benchmark folders and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from milabench import system
from milabench.errors import ConfigurationError, Problem, UsageError
from milabench.plan import codec, environ, fetch, pack, pin, run, setup
from milabench.plan.bases import apart, keeper, keepers
from milabench.plan.context import Context, container
from milabench.plan.fetch import fetches, locate
from milabench.plan.setup import delivered
from milabench.plan.site import Dirs, Image, Site, Tools, Workspace
from milabench.plan.types import Command, Fetched, Job, Once, Phase, Plan, Size, Skip, Staged, Trial
from milabench.problems import Code
from milabench.system.types import Node

Needs = tuple[dict[str, Once], dict[str, Once]]  # environments by install group, data by benchmark
DELIVERY: Final = "the bundle's data"  # among what is prepared on a base: that it has it
MOST_JOBS: Final = 50_000  # of a plan: a minute each, they take five weeks

__all__ = [
    "DELIVERY",
    "MOST_JOBS",
    "Command",
    "Dirs",
    "Fetched",
    "Image",
    "Job",
    "Once",
    "Phase",
    "Plan",
    "Site",
    "Size",
    "Skip",
    "Staged",
    "Tools",
    "Trial",
    "Workspace",
    "apart",
    "codec",
    "codes",
    "container",
    "delivered",
    "fetches",
    "keeper",
    "keepers",
    "locate",
    "needs",
    "needs_of_all",
    "packs",
    "pins",
    "plan",
    "remaining",
]


def plan(workspace: Workspace, phase: Phase, *, repeats: int = 1) -> Plan:
    """Return what a phase does. Raises ConfigurationError with every mistake that only shows here.

    Raises UsageError for more than MOST_JOBS in a run.

    Batch sizes follow the system's options in a run alone: what is prepared does not depend on them.
    """
    contexts = _contexts(workspace, sized=phase == "run")
    match phase:
        case "fetch":
            sources = (each.source for each in workspace.suite.benchmarks if each.source)
            return fetch.fetches(sources, workspace.site, workspace.environ)
        case "install":
            made = _install(contexts)
        case "prepare":
            made = _prepare(contexts)
        case "run":
            made = _with_unfetched(_run(contexts, repeats), workspace)
        case "pin":
            return pins(workspace)[0]
        case "pack":
            return packs(workspace, Path(workspace.site.base) / "cache" / "packing")[0]
    return replace(made, fetched=workspace.fetched)


def remaining(whole: Plan, done: Collection[str]) -> Plan:
    """Return a plan without the trials that are done, by their ids."""
    return replace(whole, trials=tuple(trial for trial in whole.trials if trial.id not in done))


def needs(workspace: Workspace, node: Node | None = None) -> Needs:
    """Return what a run needs on the base of a node, the main one where none is given, by install group and benchmark.

    That is the environments, and the data, of what runs there or on a node that shares the base; of a base that is not
    this machine's, the data that it must have of a bundle is among them as DELIVERY.
    """
    kept_by = keeper(workspace.system, node or workspace.system.main)
    return needs_of_all(workspace).get(kept_by.name, ({}, {}))


def needs_of_all(workspace: Workspace) -> dict[str, Needs]:
    """Return the same for each base that needs something, by the name of the first node that has it."""
    there: dict[str, list[Context]] = {}
    for context in _contexts(workspace):
        for each in setup.kept(context) if run.placed(context)[0] else ():
            there.setdefault(each.node.name, []).append(each)
    return {name: _needs(contexts) for name, contexts in there.items()}


def _needs(contexts: Sequence[Context]) -> Needs:
    prepared = {context.benchmark.name: once for context in contexts if (once := setup.preparation(context))}
    if prepared and setup.is_delivered(contexts[0]):
        prepared[DELIVERY] = delivered(contexts[0].here)
    return {group: setup.environment(members) for group, members in _groups(contexts).items()}, prepared


def pins(workspace: Workspace, *, hashes: bool = False) -> tuple[Plan, dict[str, pin.Group]]:
    """Return how the requirements of every install group are locked, and the files that follow from it.

    What was fetched by git is left out: its locks belong into its repository.
    """
    own = [context for context in _contexts(_here(workspace)) if context.commit is None]
    return pin.pin(_groups(own), hashes=hashes)


def packs(workspace: Workspace, folder: Path) -> tuple[Plan, dict[str, Once]]:
    """Return how the packages of every install group are had as wheels below a folder, and what they are for."""
    return pack.pack(_groups(_contexts(workspace)), folder)


def _here(workspace: Workspace) -> Workspace:
    """Return it for what this machine does itself, in no container."""
    return replace(workspace, system=replace(workspace.system, container=None))


def codes(workspace: Workspace) -> dict[str, str]:
    """Return what the folder of each benchmark that has one is called where it is staged."""
    return {each.benchmark.name: each.code for each in _contexts(workspace) if each.code is not None}


def _install(contexts: Sequence[Context]) -> Plan:
    there = [each for context in contexts for each in setup.kept(context)]
    groups = _groups(there)
    notes = tuple(dict.fromkeys(name for members in groups.values() for name in setup.unpinned(members)))
    trials = tuple(setup.install_trial(group, members) for group, members in groups.items())
    return _set_up("install", trials, contexts, there, notes)


def _prepare(contexts: Sequence[Context]) -> Plan:
    there = [setup.kept(context) for context in contexts]
    trials = tuple(trial for members in there if (trial := setup.prepare_trial(members)))
    return _set_up("prepare", trials, contexts, [each for members in there for each in members])


def _set_up(
    phase: Phase,
    trials: tuple[Trial, ...],
    contexts: Sequence[Context],
    there: Iterable[Context],
    notes: tuple[str, ...] = (),
) -> Plan:
    """Return the plan of a setup phase; ``there`` are the benchmarks on the nodes where something is made for them."""
    return Plan(
        phase=phase,
        trials=trials,
        configs={context.benchmark.name: _setup_config(context) for context in contexts},
        node_configs=_differing(contexts, there, _setup_config),
        notes=notes,
    )


def _run(contexts: Sequence[Context], repeats: int) -> Plan:
    _check_number(contexts, repeats)
    trials: list[Trial] = []
    skipped: list[Skip] = []
    problems: list[Problem] = []
    sizes: list[Size] = []
    for context in contexts:
        try:
            for item in run.trials(context, repeats):
                if isinstance(item, Skip):
                    skipped.append(item)
                else:
                    trials.append(item)
            sizes += _sizes(context)
        except ConfigurationError as error:
            problems.extend(error.problems)
    problems += _equal_tags(trials, contexts)
    if problems:
        raise ConfigurationError(problems)
    return Plan(
        phase="run",
        trials=tuple(sorted(trials, key=lambda trial: trial.repeat)),  # a run cut off has each benchmark as often
        skipped=tuple(skipped),
        configs={context.benchmark.name: context.config for context in contexts},
        node_configs=_node_configs(contexts),
        sizes=tuple(sizes),
    )


def _check_number(contexts: Sequence[Context], repeats: int) -> None:
    """Raise UsageError where there would be too many jobs, before they are made: each node's part has one at least."""
    if repeats * sum(len(context.system.nodes) for context in contexts) <= MOST_JOBS:
        return
    number = repeats * sum(len(run.placed(context)[0]) for context in contexts)
    if number > MOST_JOBS:
        times = f" ({repeats:,} repeats)" if repeats > 1 else ""
        fewer = "choose fewer by --select" + (" or --repeat" if repeats > 1 else "")
        raise UsageError(f"that would be {number:,} jobs{times}, and a plan has {MOST_JOBS:,} at most: {fewer}")


def _sizes(context: Context) -> Iterator[Size]:
    """Yield the batch sizes of a benchmark, of every node where they are not the same on all."""
    others = context.system.nodes[1:] if context.is_on_all else ()
    elsewhere = {node.name: context.on(node).sizes for node in others}
    for size in context.sizes.all():
        found = [sizes.of(size.default, node) for node, sizes in elsewhere.items()]
        if all(each.batch_size == size.batch_size for each in found):
            yield size
        else:
            yield from (replace(size, node=context.node.name), *found)


def _equal_tags(trials: Sequence[Trial], contexts: Sequence[Context]) -> Iterator[Problem]:
    """Yield a problem for each process with the tag of an earlier one: both would write the same files."""
    marks = {context.benchmark.name: context.benchmark.mark for context in contexts}
    first: dict[str, Command] = {}
    for command in (command for trial in trials for job in trial.jobs for command in job.commands):
        known = first.setdefault(command.tag, command)
        if known is not command:
            name, other = command.benchmark, known.benchmark
            of = "another of its own" if name == other else f"one of {other}: give one of the two another name"
            message = f"{name}: a process would write the files {command.tag}.*, and so would {of}"
            yield Problem(code=Code.EQUAL_NAMES.code, message=message, mark=marks[name], path=name)


def _with_unfetched(plan: Plan, workspace: Workspace) -> Plan:
    """Return a plan with the benchmarks that could not be fetched: nothing is started for them, and they count."""
    lacking = [each for each in workspace.suite.benchmarks if each.name in workspace.unfetched]
    trials = tuple(Trial(benchmark=each.name, jobs=()) for each in lacking)
    configs = {each.name: environ.without_secrets(each.config) for each in lacking}
    return replace(plan, trials=(*plan.trials, *trials), configs={**plan.configs, **configs})


def _contexts(workspace: Workspace, *, sized: bool = False) -> list[Context]:
    packages = workspace.packages
    benchmarks = [each for each in workspace.suite.benchmarks if each.name not in workspace.unfetched]
    commits = {each.benchmark: each.commit for each in workspace.fetched}
    seen, secrets = system.values(workspace.system), environ.secrets(workspace.environ)
    codes = _code_names([each.definition for each in benchmarks if each.definition is not None])
    return [
        Context(
            benchmark=each,
            package=packages[each.definition] if each.definition is not None else None,
            system=workspace.system,
            node=workspace.system.main,
            here=workspace.site,
            values=seen,
            secrets=secrets,
            code=codes[each.definition] if each.definition is not None else None,
            commit=commits.get(each.name),
            lenient=workspace.suite.lenient,
            sized=sized,
            scaling=workspace.scaling,
            images=workspace.images,
        )
        for each in benchmarks
    ]


def _code_names(definitions: Sequence[str]) -> dict[str, str]:
    """Return the name each folder is staged under: its own, with a number where two folders share one."""
    names: dict[str, str] = {}
    for definition in dict.fromkeys(definitions):
        name, number = Path(definition).name, 1
        while name in names.values():
            number += 1
            name = f"{Path(definition).name}-{number}"
        names[definition] = name
    return names


def _groups(contexts: Sequence[Context]) -> dict[str, list[Context]]:
    groups: dict[str, list[Context]] = {}
    for context in contexts:
        if context.package is not None:
            groups.setdefault(context.benchmark.install_group, []).append(context)
    return groups


def _setup_config(context: Context) -> Mapping[str, object]:
    """Return what ``install()`` and ``prepare()`` see: the system and the variant too."""
    return {**context.config, "install_variant": context.variant, "system": context.values}


def _run_config(context: Context) -> Mapping[str, object]:
    return context.config


def _node_configs(contexts: Sequence[Context]) -> dict[str, dict[str, Mapping[str, object]]]:
    everywhere = [context for context in contexts if context.is_on_all]
    there = (context.on(node) for context in everywhere for node in context.system.nodes)
    return _differing(everywhere, there, _run_config)


def _differing(
    contexts: Sequence[Context], there: Iterable[Context], config: Callable[[Context], Mapping[str, object]]
) -> dict[str, dict[str, Mapping[str, object]]]:
    """Return the keys in which a benchmark's configuration is another on a node than on the main one."""
    main = {context.benchmark.name: context for context in contexts}
    known: dict[str, Mapping[str, object]] = {}
    found: dict[str, dict[str, Mapping[str, object]]] = {}
    for each in there:
        name = each.benchmark.name
        if each.node is main[name].node:
            continue
        usual = known.setdefault(name, config(main[name]))
        own = {key: value for key, value in config(each).items() if value != usual[key]}
        if own:
            found.setdefault(each.node.name, {})[name] = own
    return found
