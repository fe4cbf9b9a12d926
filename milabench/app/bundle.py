"""``milabench bundle-env``: a suite packed on one machine, to be installed on another."""

from __future__ import annotations

import fcntl
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

import milabench
from milabench import amounts, bundle
from milabench import plan as planning
from milabench.agent import once
from milabench.app import packed
from milabench.app.options import Options
from milabench.app.phases import Operation, operation
from milabench.app.signals import ended_at_once
from milabench.app.workspace import check_index, indexes, put_together, resolve_suite, resolve_system, workspace
from milabench.bundle import About, Group
from milabench.console import Console
from milabench.errors import ExitCode, PreflightError, UsageError
from milabench.outcome import all_good
from milabench.plan import Workspace
from milabench.plan.pack import wheels_of
from milabench.setuplogs import SetupLogs

_VERSION = re.compile(r"^version(?:_info)? *= *(\d+\.\d+)", re.MULTILINE)


async def pack(options: Options, console: Console, target: Path, *, with_data: bool = False) -> ExitCode:
    """Write a bundle of the suite to ``target``; exit code 4 where something of it cannot be had.

    Raises PreflightError for data that is not prepared, UsageError for a target that cannot be written.
    """
    if not target.parent.is_dir():
        raise UsageError(f"--output {target}: there is no folder {target.parent}")
    if target.is_dir():
        raise UsageError(f"--output {target}: this is a folder: name a file in it")
    async with operation(options, console) as work:
        facts = await _facts(work, options)
        options = replace(options, shape={**options.shape, "arch": facts["arch"]})
        if await work.fetch(resolve_suite(options)):
            return work.exit_code({}, ExitCode.ENVIRONMENT) or ExitCode.ENVIRONMENT
        ready = workspace(options, facts)
        if with_data:
            _check_prepared(ready, options)
        with packing_folder(options.base) as folder:
            return await _pack(work, ready, folder, target, with_data=with_data)


async def _facts(work: Operation, options: Options) -> dict[str, Any]:
    """Return the facts of this machine, with the architecture that is packed for, and its index, instead of its own."""
    here: dict[str, Any] = (await work.host.request("probe", arch=options.arch, reach={}))["facts"]
    arch = resolve_system(options, here).arch
    facts: dict[str, Any] = (await work.host.request("probe", arch=arch, reach=indexes()))["facts"]
    check_index(facts, options.environ)
    return facts


async def _pack(work: Operation, ready: Workspace, folder: Path, target: Path, *, with_data: bool) -> ExitCode:
    plan, asked = planning.packs(ready, folder)
    put_together(ready, plan)
    outcomes = await work.carry_out(plan, SetupLogs(work.options.base))
    if work.interrupt.asked or not all_good(outcomes.values()):
        return work.exit_code(outcomes, ExitCode.ENVIRONMENT)
    groups = tuple(_group(name, each.parts, wheels_of(folder, name)) for name, each in asked.items())
    about = About(
        milabench=milabench.__version__,
        arch=ready.system.arch,
        machine=platform.machine(),
        python=_python(ready, [folder / name / "venv" for name in asked]),
        groups=groups,
        benchmarks=tuple(each.name for each in ready.suite.benchmarks),
        data=with_data,
    )
    codes = {**planning.codes(ready), **packed.commands(ready.suite.benchmarks, work.console)}
    with ended_at_once():
        manifest = bundle.write(target, about, dict(packed.files(ready, codes, folder, groups, with_data=with_data)))
    size = amounts.size(sum(each.size for each in manifest.files))
    wheels = sum(each.name.startswith("wheels/") for each in manifest.files)
    many = f"{amounts.many(len(about.benchmarks), 'benchmark')}, {amounts.many(wheels, 'wheel')}"
    what = f"{many}, data" if with_data else many
    work.console.note(f"{target}: {what}, {size}, for {about.arch} on {about.machine} with Python {about.python}")
    return ExitCode.OK


def _python(ready: Workspace, environments: Iterable[Path]) -> str:
    """Return what wheels were made by (``3.11``): with a container image its Python, as their environments say."""
    if ready.system.container is None:
        return bundle.minor(ready.site.python_version)
    made = (_VERSION.search((each / "pyvenv.cfg").read_text()) for each in environments)
    return next((bundle.minor(found[1]) for found in made if found), "")


@contextmanager
def packing_folder(base: Path) -> Iterator[Path]:
    """Yield a new folder below the base in which wheels are made. Raises PreflightError where there can be none.

    What one that was killed has left is removed, unless another is at work beside this one.
    """
    packing = base / "cache" / "packing"
    with ExitStack() as held:
        try:
            packing.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((packing / ".lock").open("w"))
            _remove_left(packing, lock)
            fcntl.flock(lock, fcntl.LOCK_SH)
            folder = Path(tempfile.mkdtemp(dir=packing))
        except OSError as error:
            raise PreflightError(
                f"cannot make a folder in {packing}: {error.strerror}: choose another --base"
            ) from None
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def _remove_left(packing: Path, lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    for folder in packing.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def _group(name: str, parts: Mapping[str, str], wheels: Path) -> Group:
    return Group(
        name=name, parts=bundle.comparable(parts), wheels=tuple(sorted(path.name for path in wheels.glob("*.whl")))
    )


def _check_prepared(ready: Workspace, options: Options) -> None:
    _, data = planning.needs(ready)
    if absent := [name for name, each in data.items() if not once.done(asdict(each))]:
        raise PreflightError(f"--data: not prepared: {', '.join(absent)}. Type: {options.command('prepare')}")
