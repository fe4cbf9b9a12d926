"""What ``--bundle`` does: a suite that was packed elsewhere is unpacked, and held against what is to be installed."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from milabench import bundle
from milabench import plan as planning
from milabench.agent.container import Container
from milabench.app.multirun import asked
from milabench.app.options import Options
from milabench.app.signals import ended_at_once
from milabench.app.workspace import find_config, resolve_system
from milabench.bundle import About, Bundle, Group, Manifest
from milabench.console import Console
from milabench.errors import PreflightError, UsageError
from milabench.outcome import GOOD, Outcome
from milabench.plan import Command, Job, Plan, Trial, Workspace

_ASK = (
    "import sys; found = '%d.%d' % sys.version_info[:2];"
    " found == sys.argv[1] or sys.exit('it is for Python %s, and the image has %s' % (sys.argv[1], found))"
)
_ASK_S = 300.0


def unpacked(options: Options, console: Console) -> Options:
    """Return options with their bundle unpacked below the base; its suite is the suite where no other is named.

    What can be told before is: a suite that is not there, and a bundle for other machines than this one, where it is
    the only one.
    """
    if options.bundle is None:
        return options
    found = _find(options)
    if options.config is not None:
        find_config(options.config)
    _check_here(options, found.manifest.about)
    with ended_at_once():
        bundle.unpack(found, console.note)
    return _of(options, found)


def there(options: Options) -> Options:
    """Return options with the folder of their bundle. Raises PreflightError where that is not unpacked, and in place.

    Nothing is changed.
    """
    if options.bundle is None:
        return options
    found = _find(options)
    if not found.is_in_place:
        why = "another bundle was unpacked below the base since" if found.is_unpacked else "it is not unpacked yet"
        raise PreflightError(f"{options.bundle}: {why}. Type: {options.command('install')}")
    return _of(options, found)


def suite_of(options: Options) -> Options:
    """Return options that read a suite alone with that of their bundle where they name no other.

    Raises PreflightError where the bundle is not unpacked.
    """
    if options.bundle is None or options.config is not None:
        return options
    found = _find(options)
    if not found.is_unpacked:
        raise PreflightError(f"{options.bundle}: it is not unpacked yet. Type: {options.command('install')}")
    return _of(options, found)


def _find(options: Options) -> Bundle:
    assert options.bundle is not None
    if options.bundle.is_dir():
        unpacks = "milabench unpacks it, checks each file, and puts what belongs there below the base"
        raise UsageError(f"--bundle {options.bundle}: this is a folder: give the file that was packed ({unpacks})")
    return bundle.find(options.bundle, options.base)


def _of(options: Options, found: Bundle) -> Options:
    return replace(options, unpacked=found.folder, config=options.config or str(found.folder / bundle.SUITE))


def _check_here(options: Options, about: About) -> None:
    """Raise PreflightError where a bundle is not for this machine and it alone is asked, which is known at once."""
    facts = {"hostname": platform.node(), "cpus": 1, "memory_bytes": 0, "arch": "cpu", "devices": [], "environ": {}}
    systems = [resolve_system(each.options, facts) for each in asked(options)]
    if any(each.container is not None or not all(node.local for node in each.nodes) for each in systems):
        return
    python = bundle.minor(platform.python_version())
    found = [
        *(() if about.machine == platform.machine() else (_of_machine(about, "this machine", platform.machine()),)),
        *(() if about.python == python else (_of_python(about, "this machine", python),)),
    ]
    if found:
        raise _unfit(found)


def _unfit(found: Iterable[str]) -> PreflightError:
    again = "pack one there with the suite, on such a machine: milabench bundle-env"
    return PreflightError("\n".join([f"the bundle does not fit ({again}):", *(f"  {each}" for each in found)]))


def _of_machine(about: About, where: str, machine: str) -> str:
    return f"it is for processors of {about.machine}, and {where} has {machine}"


def _of_python(about: About, where: str, python: str) -> str:
    return f"it is for Python {about.python}, and environments of {where} are made from {python}"


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
        raise _unfit(found)


def _differences(manifest: Manifest, ready: Workspace, plan: Plan) -> Iterator[str]:
    about, groups = manifest.about, {group.name: group for group in manifest.about.groups}
    nodes = {node.name: node for node in ready.system.nodes}
    for trial in plan.trials:
        for job in trial.jobs:
            assert job.once is not None
            node, once = nodes[job.commands[0].node], job.once
            machine = platform.machine() if node.local or not node.machine else node.machine
            where = f"node {node.name}" if len(nodes) > 1 else "this machine"
            if about.arch != once.base["arch"]:
                yield f"it is for {about.arch}, and {where} is a system of {once.base['arch']}"
            if about.machine != machine:
                yield _of_machine(about, where, machine)
            if "image" not in once.base and about.python != bundle.minor(once.base["python"]):
                yield _of_python(about, where, once.base["python"])
            yield from _of_group(groups.get(trial.benchmark), trial.benchmark, groups, once.parts)


def _of_group(group: Group | None, name: str, known: Mapping[str, Group], asked: Mapping[str, str]) -> Iterator[str]:
    if group is None:
        yield f"it has no packages of the install group {name}: it has those of {', '.join(known) or 'none'}"
        return
    for part, value in bundle.comparable(asked).items():
        if group.parts.get(part) != value:
            yield f"{part} is {'another' if part in group.parts else 'new'} since it was packed"
