"""What ``--bundle`` does: a suite that was packed elsewhere is unpacked, and held against what is to be installed."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from milabench import bundle
from milabench import plan as planning
from milabench.agent.container import Container
from milabench.app.options import Options
from milabench.app.signals import ended_at_once
from milabench.bundle import Group, Manifest
from milabench.console import Console
from milabench.errors import PreflightError
from milabench.outcome import GOOD, Outcome
from milabench.plan import Command, Job, Plan, Trial, Workspace

_ASK = (
    "import sys; found = '%d.%d' % sys.version_info[:2];"
    " found == sys.argv[1] or sys.exit('it is for Python %s, and the image has %s' % (sys.argv[1], found))"
)
_ASK_S = 300.0


def unpacked(options: Options, console: Console) -> Options:
    """Return options with their bundle unpacked below the base; its suite is the suite where no other is named."""
    if options.bundle is None:
        return options
    found = there(options, only_unpacked=False)
    assert found.bundle is not None
    if not bundle.is_unpacked(found.bundle):
        console.note(f"unpacking {options.bundle.name} into {found.bundle}")
        with ended_at_once():
            bundle.unpack(options.bundle, options.base)
    return found


def there(options: Options, *, only_unpacked: bool = True) -> Options:
    """Return options with the folder of their bundle. Raises PreflightError for ``only_unpacked`` where it is not."""
    if options.bundle is None:
        return options
    folder = options.bundle if options.bundle.is_dir() else bundle.folder_of(options.bundle, options.base)
    if only_unpacked and not bundle.is_unpacked(folder):
        raise PreflightError(f"{options.bundle} is not unpacked yet. Type: {options.command('install')}")
    return replace(options, bundle=folder, config=options.config or str(folder / bundle.SUITE))


def check(ready: Workspace, plan: Plan) -> None:
    """Raise PreflightError where what an install wants is not what its bundle has, with all that is not."""
    if ready.site.bundle is None:
        return
    manifest = bundle.read(Path(ready.site.bundle))
    _refuse(_differences(manifest, ready, plan))


def asking(ready: Workspace, plan: Plan) -> Plan:
    """Return what asks container images whether they have the Python that the bundle of an install is for.

    An image is asked by a container of it, on each node that installs; without images there is nothing to ask.
    """
    container = planning.container(ready.system, ready.site.base)
    if ready.site.bundle is None or container is None:
        return Plan(phase="install", trials=())
    argv = ("python3", "-I", "-c", _ASK, bundle.read(Path(ready.site.bundle)).about.python)
    nodes = dict.fromkeys(each.node for trial in plan.trials for each in trial.commands)
    return Plan(phase="install", trials=tuple(_asking(node, argv, container) for node in nodes))


def _asking(node: str, argv: tuple[str, ...], container: Container) -> Trial:
    tag = f"python.{node}"
    command = Command(tag=tag, benchmark=tag, node=node, argv=argv, cwd="/", metrics="none", container=container)
    return Trial(benchmark=tag, jobs=(Job(tag=tag, commands=(command,), deadline_s=_ASK_S),))


def check_answers(outcomes: Mapping[str, Outcome]) -> None:
    """Raise PreflightError where an image has another Python, or none."""
    _refuse(outcome.reason for outcome in outcomes.values() if outcome.kind not in GOOD | {"interrupted"})


def _refuse(differences: Iterable[str]) -> None:
    if found := list(dict.fromkeys(differences)):
        again = "pack one there with the suite, on such a machine: milabench bundle-env"
        raise PreflightError("\n".join([f"the bundle does not fit ({again}):", *(f"  {each}" for each in found)]))


def _differences(manifest: Manifest, ready: Workspace, plan: Plan) -> Iterator[str]:
    about, groups = manifest.about, {group.name: group for group in manifest.about.groups}
    nodes = {node.name: node for node in ready.system.nodes}
    for trial in plan.trials:
        for job in trial.jobs:
            assert job.once is not None
            node, asked = nodes[job.commands[0].node], job.once.base
            machine = platform.machine() if node.local or not node.machine else node.machine
            where = f"node {node.name}" if len(nodes) > 1 else "this machine"
            if about.arch != asked["arch"]:
                yield f"it is for {about.arch}, and {where} is a system of {asked['arch']}"
            if about.machine != machine:
                yield f"it is for processors of {about.machine}, and {where} has {machine}"
            if "image" not in asked and about.python != bundle.minor(asked["python"]):
                yield f"it is for Python {about.python}, and environments of {where} are made from {asked['python']}"
            yield from _of_group(groups.get(trial.benchmark), trial.benchmark, groups, job.once.parts)


def _of_group(group: Group | None, name: str, known: Mapping[str, Group], asked: Mapping[str, str]) -> Iterator[str]:
    if group is None:
        yield f"it has no packages of the install group {name}: it has those of {', '.join(known) or 'none'}"
        return
    for part, value in bundle.comparable(asked).items():
        if group.parts.get(part) != value:
            yield f"{part} is {'another' if part in group.parts else 'new'} since it was packed"
