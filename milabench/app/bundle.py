"""``milabench bundle-env``: a suite packed on one machine, to be installed on another."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import yaml

import milabench
from milabench import amounts, bundle, suite
from milabench import plan as planning
from milabench.agent import once, stage
from milabench.app.options import Options
from milabench.app.phases import Operation, operation
from milabench.app.signals import ended_at_once
from milabench.app.workspace import indexes, resolve_suite, workspace
from milabench.bundle import About, Group
from milabench.console import Console
from milabench.errors import ExitCode, PreflightError, UsageError
from milabench.outcome import GOOD
from milabench.plan import Workspace, environ
from milabench.plan.pack import wheels_of
from milabench.setuplogs import SetupLogs
from milabench.suite.types import Benchmark

_OF_DATA = ("data", "extra", "cache")
# Of the cache, what is made again where it is wanted, or is a record of what was done here.
_MADE_AGAIN = {"wheels", "tools", "constraints", "pins", "packing", "triton", "inductor", "pip", "uv", "virtualenv"}
_OF_THIS_MACHINE = {("extra", "setup"), *(("cache", name) for name in _MADE_AGAIN)}
_RECORDS = "prepared"  # what prepare has done here: it looks for itself where the data goes


async def pack(options: Options, console: Console, target: Path, *, with_data: bool = False) -> ExitCode:
    """Write a bundle of the suite to ``target``; exit code 4 where something of it cannot be had.

    Raises PreflightError for data that is not prepared, UsageError for a target that cannot be written.
    """
    if not target.parent.is_dir():
        raise UsageError(f"--output {target}: there is no folder {target.parent}")
    async with operation(options, console) as work:
        reach = {} if options.offline else indexes()
        facts = (await work.host.request("probe", arch=options.arch, reach=reach))["facts"]
        options = replace(options, shape={**options.shape, "arch": facts["arch"]})
        if await work.fetch(resolve_suite(options)):
            return work.exit_code({}, ExitCode.ENVIRONMENT) or ExitCode.ENVIRONMENT
        ready = workspace(options, facts)
        if with_data:
            _check_prepared(ready, options)
        folder = _folder(options.base)
        try:
            return await _pack(work, ready, folder, target, with_data=with_data)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


async def _pack(work: Operation, ready: Workspace, folder: Path, target: Path, *, with_data: bool) -> ExitCode:
    plan, asked = planning.packs(ready, folder)
    outcomes = await work.carry_out(plan, SetupLogs(work.options.base))
    if work.interrupt.asked or any(outcome.kind not in GOOD for outcome in outcomes.values()):
        return work.exit_code(outcomes, ExitCode.ENVIRONMENT)
    groups = tuple(_group(name, parts, wheels_of(folder, name)) for name, parts in asked.items())
    about = About(
        milabench=milabench.__version__,
        arch=ready.system.arch,
        machine=platform.machine(),
        python=bundle.minor(ready.site.python_version),
        groups=groups,
        benchmarks=tuple(each.name for each in ready.suite.benchmarks),
        data=with_data,
    )
    for each in ready.suite.benchmarks:
        if each.program is not None:
            work.console.note(f"not packed: what {each.name} runs, in {each.program.cwd}: a command is not milabench's")
    with ended_at_once():
        manifest = bundle.write(target, about, dict(_files(ready, folder, groups, with_data=with_data)))
    size = amounts.size(sum(each.size for each in manifest.files))
    wheels = sum(each.name.startswith("wheels/") for each in manifest.files)
    what = f"{len(about.benchmarks)} benchmarks, {wheels} wheels{', data' if with_data else ''}"
    work.console.note(f"{target}: {what}, {size}, for {about.arch} on {about.machine} with Python {about.python}")
    return ExitCode.OK


def _folder(base: Path) -> Path:
    """Return a new folder below the base in which wheels are made."""
    packing = base / "cache" / "packing"
    try:
        packing.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=packing))
    except OSError as error:
        raise PreflightError(f"cannot make a folder in {packing}: {error.strerror}: choose another --base") from None


def _group(name: str, parts: Mapping[str, str], wheels: Path) -> Group:
    return Group(
        name=name, parts=bundle.comparable(parts), wheels=tuple(sorted(path.name for path in wheels.glob("*.whl")))
    )


def _check_prepared(ready: Workspace, options: Options) -> None:
    _, data = planning.needs(ready)
    if absent := [name for name, each in data.items() if not once.done(asdict(each))]:
        raise PreflightError(f"--data: not prepared: {', '.join(absent)}. Type: {options.command('prepare')}")


# What goes into it ---------------------------------------------------------------------------------------------------


def _files(ready: Workspace, folder: Path, groups: Sequence[Group], *, with_data: bool) -> Iterator[tuple[str, Path]]:
    """Yield the files of a bundle, by their names in it."""
    for group in groups:
        wheels = wheels_of(folder, group.name)
        yield from ((f"wheels/{name}", wheels / name) for name in group.wheels)
        lock = folder / group.name / "lock.txt"
        lock.write_text("".join(_locked(group.wheels)))
        yield f"locks/{group.name}.txt", lock
    codes = planning.codes(ready)
    for each in ready.suite.benchmarks:
        if each.definition is not None and each.source is None:
            yield from _below(Path(each.definition), f"code/{codes[each.name]}")
    base = Path(ready.site.base)
    for key in {each.source.key for each in ready.suite.benchmarks if each.source is not None}:
        yield from _below(base / "sources" / key, f"sources/{key}")
    text = folder / bundle.SUITE
    text.write_text(_suite(ready, codes))
    yield bundle.SUITE, text
    if with_data:
        yield from _data(base, {each.group for each in ready.suite.benchmarks})


def _locked(wheels: Sequence[str]) -> Iterator[str]:
    """Yield the lines of what is installed: every package of a group but benchmate, which is installed beside them."""
    for name, version, *_ in (wheel.split("-") for wheel in wheels):
        if name != "benchmate":
            yield f"{name}=={version}\n"


def _below(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    return ((f"{name}/{each}", folder / each) for each in stage.files_below(folder))


def _suite(ready: Workspace, codes: Mapping[str, str]) -> str:
    """Return the suite as one of its own whose folders lie beside it; secrets stand in it by name."""
    known = environ.secrets(ready.environ)
    benchmarks = (_moved(each, codes.get(each.name)) for each in ready.suite.benchmarks)
    flat = suite.flat(benchmarks, lambda text: environ.redacted(text, known))
    return yaml.safe_dump(flat, sort_keys=False, allow_unicode=True)


def _moved(benchmark: Benchmark, code: str | None) -> Benchmark:
    config = environ.without_secrets(benchmark.config)
    if code is not None:
        config["definition"] = f"code/{code}"
    return replace(benchmark, config=config)


def _data(base: Path, groups: set[str]) -> Iterator[tuple[str, Path]]:
    """Yield what preparing has made; links within stay links, and others become what they lead to."""
    for name in _OF_DATA:
        for root, folders, files in os.walk(base / name):
            parts = Path(root).relative_to(base).parts
            below = [each for each in folders if _is_wanted((*parts, each), groups)]
            folders[:] = [each for each in below if not (Path(root) / each).is_symlink()]
            linked = [each for each in below if (Path(root) / each).is_symlink()]
            for each in (*files, *linked):
                path = Path(root) / each
                yield str(path.relative_to(base)), path if _stays(path, base) else path.resolve()


def _is_wanted(parts: tuple[str, ...], groups: set[str]) -> bool:
    of_another = parts[0] == "extra" and len(parts) == 2 and parts[1] not in groups
    return parts not in _OF_THIS_MACHINE and not of_another and not (parts[0] == "extra" and parts[-1] == _RECORDS)


def _stays(path: Path, base: Path) -> bool:
    """Say whether a path is no link, or one that leads to another place of the data by a relative way."""
    if not path.is_symlink():
        return True
    target = os.readlink(path)  # noqa: PTH115 - a text, as it stands
    led = os.path.relpath(os.path.normpath(path.parent / target), base)
    stays = not target.startswith("/") and led.partition("/")[0] in _OF_DATA
    if not stays and path.is_dir():
        raise PreflightError(f"--data: {path} leads out of the base to a folder: copy it there, or leave --data out")
    return stays
