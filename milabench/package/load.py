"""Load benchfiles, and ask one what it wants to run, with the world held still."""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from milabench.commands import Command, Rendered
from milabench.commands.base import Unplaced
from milabench.errors import ConfigurationError, Mark, Problem
from milabench.pack import BasePackage, Package
from milabench.package.guard import Refused, guarded
from milabench.paths import joined, shared
from milabench.problems import Code

_PREFIX = "_benchfile_"  # of the names benchfiles have as modules


class CannotBePlaced(ConfigurationError):
    """What a benchfile wants to run cannot be started on the nodes that it is given, for a ``reason`` in words."""

    def __init__(self, problems: Sequence[Problem], reason: str) -> None:
        super().__init__(problems)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a benchfile answered: its command, its variables, and what it changed in the environment (None = unset)."""

    command: Command
    env: Mapping[str, str]
    env_delta: Mapping[str, str | None]


def load(definitions: Mapping[str, Mark], environ: Mapping[str, str]) -> dict[str, type[BasePackage]]:
    """Return the package class of every folder: its benchfile's ``__pack__``, else Package. Raises ConfigurationError.

    ``definitions`` maps each folder to the place in the suite that names it.
    """
    packages: dict[str, type[BasePackage]] = {}
    problems: list[Problem] = []
    for folder, mark in definitions.items():
        try:
            with _apart(Path(folder)):
                packages[folder] = load_one(Path(folder), environ)
            problems.extend(_judge(Path(folder), packages[folder], mark))
        except ConfigurationError as error:
            problems.extend(replace(p, mark=mark) for p in error.problems)
    if problems:
        raise ConfigurationError(problems)
    return packages


def load_one(folder: Path, environ: Mapping[str, str]) -> type[BasePackage]:
    """Return the package class of one folder; import errors become a ConfigurationError that names file and line."""
    path = folder / "benchfile.py"
    if not path.exists():
        return Package
    spec = importlib.util.spec_from_file_location(_module_name(folder), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up the names in their annotations
    with _benchfile_errors(path), guarded(dict(environ)), _importable(folder):
        spec.loader.exec_module(module)
    pack = getattr(module, "__pack__", None)
    if not (isinstance(pack, type) and issubclass(pack, BasePackage)):
        message = f"{path} names no package: end it with `__pack__ = <your subclass of milabench.pack.Package>`"
        raise ConfigurationError([Problem(code=Code.NO_PACKAGE.code, message=message)])
    return pack


def evaluate(package: type[BasePackage], config: Mapping[str, Any], environ: Mapping[str, str]) -> Evaluation:
    """Ask a benchfile for its command and variables, refusing processes, sockets and writes meanwhile.

    ``environ`` is the node's probed environment; what the benchfile changes in it comes back as ``env_delta``.
    Raises ConfigurationError when the benchfile raises or is refused something, CannotBePlaced where its command cannot
    be started on the nodes that it is given.
    """
    with _asked(shared(config["definition"]), environ) as seen:
        pack = package(config)
        env = {key: str(value) for key, value in pack.make_env().items()}
        command: object = pack.build_run_plan()
        if not isinstance(command, Command):
            raise TypeError(f"build_run_plan() returned {command!r}, which is no command of milabench.commands")
        delta = {} if seen == environ else _changes(environ, seen)
    return Evaluation(command=command, env=env, env_delta=delta)


def render(command: Command, environ: Mapping[str, str], folder: str) -> list[tuple[Command, list[Rendered]]]:
    """Return what lives and dies together in a command, each part with its processes, under the guard of ``evaluate``.

    ``cwd`` is among the options of each process. Raises as ``evaluate`` does.
    """
    with _asked(shared(folder), environ):
        return [(part, _rendered(part)) for part in command.jobs()]


def requirements(
    package: type[BasePackage], config: Mapping[str, Any], environ: Mapping[str, str]
) -> list[tuple[Path, bool]]:
    """Return (file in the folder, whether it is a locked one) of what a benchmark needs installed, under the guard."""
    if not issubclass(package, Package):
        return []
    folder = Path(config["definition"])
    with _asked(folder, environ):
        pack = package(config)
        written = {path.name for path in pack.requirements_map("unpinned")}
        return [(folder / path.name, path.name not in written) for path in pack.requirements_files()]


def lockable(
    package: type[BasePackage], config: Mapping[str, Any], environ: Mapping[str, str]
) -> list[tuple[Path, Path]]:
    """Return (written requirements, file to lock them in) of a folder, asked under the guard."""
    if not issubclass(package, Package):
        return []
    folder = Path(config["definition"])
    with _asked(folder, environ):
        pairs = package(config).requirements_map().items()
        return [(folder / a.name, folder / b.name) for a, b in pairs if a != b and (folder / a.name).exists()]


def preparation(
    package: type[BasePackage], config: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[list[Rendered], dict[str, str]]:
    """Return (processes, variables) of a benchmark's preparation, asked under the guard; none where there is none."""
    with _asked(shared(config["definition"]), environ):
        pack = package(config)
        env = {key: str(value) for key, value in pack.make_env().items()}
        command = pack.build_prepare_plan()
        return [] if command is None else _rendered(command), env


def overrides(package: type[BasePackage], method: str) -> bool:
    """Say whether a benchfile defines a coroutine of its own."""
    return getattr(package, method) not in (getattr(BasePackage, method), getattr(Package, method))


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    return {key: after.get(key) for key in {*before, *after} if before.get(key) != after.get(key)}


def _rendered(command: Command) -> list[Rendered]:
    return [
        (pack, argv, {**options, "cwd": options.get("cwd") or pack.working_directory})
        for pack, argv, options in command.commands()
    ]


def _judge(folder: Path, package: type[BasePackage], mark: Mark) -> Iterator[Problem]:
    has_main = bool(package.main_script) and (folder / package.main_script).exists()
    if has_main or overrides(package, "build_run_plan") or overrides(package, "run"):
        return
    if package.main_script != Package.main_script and overrides(package, "install"):
        return  # install() brings the script
    remedy = "or a benchfile.py with main_script or build_run_plan()"
    message = f"{folder} has nothing to run: add {package.main_script}, {remedy}"
    yield Problem(code=Code.NOTHING_TO_RUN.code, message=message, mark=mark)


def _module_name(folder: Path) -> str:
    """Return a name that no other folder's benchfile has."""
    return re.sub(r"\W", "_", f"{_PREFIX}{folder.name}_{zlib.crc32(str(folder.resolve()).encode()):08x}")


@contextmanager
def _asked(folder: Path, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run a block that calls a folder's benchfile: errors named, the world held still, modules beside it found."""
    errors = _benchfile_errors(joined(folder, "benchfile.py"))
    with errors, guarded(dict(environ)) as seen, _apart(folder), _importable(folder):
        yield seen


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a benchfile import modules that lie beside it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _apart(folder: Path) -> Iterator[None]:
    """Forget what a block imports from a folder: the next folder has modules of the same names."""
    known = len(sys.modules)
    try:
        yield
    finally:
        for name in list(sys.modules)[known:] if len(sys.modules) != known else ():
            if not name.startswith(_PREFIX) and _lies_in(sys.modules[name], folder):
                del sys.modules[name]


def _lies_in(module: object, folder: Path) -> bool:
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return file is not None and Path(file).is_relative_to(folder)


@contextmanager
def _benchfile_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except ConfigurationError:
        raise
    except Unplaced as error:
        problem = Problem(code=Code.BENCHFILE.code, message=f"{_where(path, error)}: {error}")
        raise CannotBePlaced([problem], reason=str(error)) from None
    except Refused as error:
        rule = f"a benchfile may not {error} while the plan is made: do it in install() or prepare()"
        message = f"{_where(path, error)}: {rule}"
        raise ConfigurationError([Problem(code=Code.REFUSED.code, message=message)]) from None
    except (Exception, SystemExit) as error:
        message = f"{_where(path, error)}: the benchfile raised {type(error).__name__}: {error}"
        raise ConfigurationError([Problem(code=Code.BENCHFILE.code, message=message)]) from None


def _where(path: Path, error: BaseException) -> str:
    """Return file:line of the benchfile's own line that led to an error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}"
    frames: Iterable[traceback.FrameSummary] = reversed(traceback.extract_tb(error.__traceback__))
    line = next((frame.lineno for frame in frames if frame.filename == str(path)), None)
    return f"{path}:{line}" if line else str(path)
