"""The contract of a benchmark's folder: what its ``benchfile.py`` subclasses and names ``__pack__``.

Standard library only: benchfiles are evaluated where plans are made and on nodes where nothing is installed.
``build_run_plan``, ``build_prepare_plan`` and ``make_env`` are asked while the plan is made and may change nothing;
``install``, ``prepare`` and an overridden ``run`` are awaited in a child process on the node whose disk they change.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any, ClassVar

from milabench import commands as cmd
from milabench.fs import XPath
from milabench.paths import joined
from milabench.utils import assemble_options

STAGED = ".milabench-staged.json"  # in a staged folder: where it came from, and its files
LOCKED_FROM = "# sha256 of what it was made of: "  # begins a line of a lock

_xpath = functools.lru_cache(maxsize=4096)(XPath)  # one object for all: thousands of jobs share a few folders


def digest(requirements: str) -> str:
    """Return a hash of what requirements say; comments, blanks and the order of lines do not count."""
    lines = (line.split(" #")[0].strip() for line in requirements.splitlines())
    return hashlib.sha256("\n".join(sorted(line for line in lines if line and line[0] != "#")).encode()).hexdigest()


class CommandFailed(RuntimeError):
    """A process a benchfile started ended with another code than 0."""


class BasePackage:
    """A benchmark of a suite, seen from its benchfile.

    ``config`` is the suite's entry; ``dirs`` has ``code`` (the staged folder), ``venv``, ``data``, ``runs``, ``extra``
    and ``cache``; ``phase`` is install, prepare or run.
    """

    main_script: ClassVar[str] = "main.py"
    prepare_script: ClassVar[str] = "prepare.py"
    base_requirements: ClassVar[str | list[str]] = "requirements.in"

    def __init__(self, config: Mapping[str, Any], core: object = None) -> None:
        self.core = core
        self.config: dict[str, Any] = dict(config)
        self.dirs = SimpleNamespace(**{name: _xpath(path) for name, path in self.config["dirs"].items()})
        self.pack_path = self.dirs.code
        self.definition = _xpath(self.config.get("definition") or str(self.dirs.code))
        self.phase: str = self.config.get("phase", "run")

    def copy(self, config: Mapping[str, Any]) -> BasePackage:
        """Return the same package with some keys of its configuration replaced."""
        clone = copy.copy(self)
        clone.config = {**self.config, **config}
        return clone

    @property
    def argv(self) -> list[str]:
        return assemble_options(self.config.get("argv") or [])

    @property
    def tag(self) -> str:
        return ".".join(self.config.get("tag") or [self.config["name"]])

    @property
    def working_directory(self) -> XPath:
        """Where processes start that are given no ``cwd``: scripts that the default plans name start where they lie."""
        code: XPath = self.dirs.code
        return code

    @property
    def interpreter(self) -> str:
        """The Python of the benchmark's environment."""
        return f"{self.dirs.venv}/bin/python"

    def has(self, name: str | os.PathLike[str]) -> bool:
        """Say whether the folder holds a file, as it was written or as it was staged and installed.

        What is not below it (an absolute path, the folder itself, ``..``) is none of its files.
        """
        path = PurePath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            return False
        here, there = (joined(folder, os.fspath(name)).exists() for folder in (self.definition, self.dirs.code))
        return here or (there and self._is_staged())

    def _is_staged(self) -> bool:
        """Say whether ``dirs.code`` holds this folder: before it is staged, another of the same name may lie there."""
        if self.definition == self.dirs.code:
            return True
        try:
            manifest = json.loads((self.dirs.code / STAGED).read_text())
        except (OSError, ValueError):
            return False
        return isinstance(manifest, dict) and manifest.get("source") == str(self.definition)

    def _folder_of(self, script: str) -> XPath:
        folder: XPath = (self.dirs.code / script).parent
        return folder

    def make_env(self) -> dict[str, str]:
        """Return further variables for the scripts of this benchmark."""
        return {}

    def build_run_plan(self) -> cmd.Command:
        """Return what one placement of the benchmark runs: ``main_script``, in its folder, with the suite's argv."""
        return cmd.VoirCommand(cmd.PackCommand(self, lazy=True), cwd=self._folder_of(self.main_script))

    def build_prepare_plan(self) -> cmd.Command | None:
        """Return what prepares the benchmark's data, or None where nothing does."""
        return None

    def resolve_argument(self, name: str, default: object) -> str:
        """Return the value the suite gives an option, its placeholders resolved; ``default`` where it gives none."""
        argv = self.config.get("argv")
        found = argv.get(name) if isinstance(argv, Mapping) else None
        return str(default if found is None else found)

    async def install(self) -> None:
        """Do what an environment alone does not: clone, compile, patch."""

    async def prepare(self) -> None:
        """Fetch or make data."""

    async def run(self) -> None:
        """Run the benchmark; only an override is ever called (else ``build_run_plan`` says what to run)."""

    async def message(self, *parts: object) -> None:
        """Write a line to the log of the phase."""
        sys.stdout.write(" ".join(map(str, parts)) + "\n")
        sys.stdout.flush()

    async def execute(
        self,
        *args: object,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        **_: object,
    ) -> None:
        """Run a program in the benchmark's environment. Raises CommandFailed when it does not end with 0."""
        import asyncio  # most of the time that importing this module would take

        argv = [str(item) for item in args]
        own = {key: str(value) for key, value in {**self.make_env(), **(env or {})}.items()}
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd or self.working_directory,
            env={**os.environ, **own},
        )
        if code := await process.wait():
            raise CommandFailed(f"{argv[0]} ended with exit code {code}: {' '.join(argv)}")

    async def python(self, *args: object, **options: Any) -> None:
        """Run a Python script in the benchmark's environment; arguments and errors are those of ``execute``."""
        await self.execute(self.interpreter, *args, **options)

    async def pip_install(self, *args: object, **_: object) -> None:
        """Install requirements into the benchmark's environment; the arguments are those of ``pip install``."""
        uv = os.environ.get("MILABENCH_UV") or shutil.which("uv")
        if uv and os.environ.get("MILABENCH_INSTALLER") != "pip":
            await self.execute(uv, "pip", "install", "--python", self.interpreter, *args)
        else:
            await self.execute(self.interpreter, "-m", "pip", "install", *args)


class Package(BasePackage):
    """A benchmark with requirements, a preparation script and a main script, each but the last optional."""

    def requirements_map(self, variant: str | None = None) -> dict[XPath, XPath]:
        """Return {written requirements: locked requirements} for a variant; ``unpinned`` maps each to itself."""
        variant = variant or self.config.get("install_variant")
        written = [self.base_requirements] if isinstance(self.base_requirements, str) else self.base_requirements
        paths = [self.dirs.code / name for name in written if name]
        if variant == "unpinned":
            return {path: path for path in paths}
        return {path: path.with_suffix(f".{variant}.txt" if variant else ".txt") for path in paths}

    def requirements_files(self, variant: str | None = None) -> list[XPath]:
        """Return the files to install: the locked one where it is that of what is written, else what is written."""
        pairs = self.requirements_map(variant).items()
        chosen = (locked if self._covers(locked.name, path.name) else path for path, locked in pairs)
        return [path for path in chosen if self.has(path.name)]

    def _covers(self, locked: str, written: str) -> bool:
        """Say whether a lock is that of the written requirements; one that does not tell what it was made of is."""
        if not self.has(locked):
            return False
        made_of = next((line for line in self._text(locked).splitlines() if line.startswith(LOCKED_FROM)), None)
        return made_of is None or not self.has(written) or made_of == LOCKED_FROM + digest(self._text(written))

    def _text(self, name: str) -> str:
        folder = self.definition if (self.definition / name).exists() else self.dirs.code
        text: str = (folder / name).read_text()
        return text

    def build_prepare_plan(self) -> cmd.Command | None:
        """Return the preparation script, in its folder, with the benchmark's arguments, where there is one."""
        if not (self.prepare_script and self.has(self.prepare_script)):
            return None
        return cmd.PackCommand(self, self.prepare_script, *self.argv, cwd=self._folder_of(self.prepare_script))

    async def install(self) -> None:
        """Install the requirements, with ``pip_install``.

        Only a benchfile's own ``install()`` that calls ``super().install()`` gets here: making the environment has
        installed the requirements of all its benchmarks by then, and the installer finds nothing to do.
        """
        for path in self.requirements_files():
            await self.pip_install("-r", path)

    async def prepare(self) -> None:
        """Run what ``build_prepare_plan`` says."""
        command = self.build_prepare_plan()
        if command is not None:
            for pack, argv, options in command.commands():
                await pack.execute(*argv, cwd=options.get("cwd"), env=options.get("env"))
