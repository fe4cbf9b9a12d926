"""Where things are on the nodes a plan is made for: the base and its folders, the interpreter, the installer.

This machine has milabench's own installation. Another node, or a container, has a Python, and what makes environments
there travels into the base.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from milabench.pack import BasePackage
from milabench.plan.scaling import Scaling
from milabench.plan.types import Fetched, Staged
from milabench.suite.types import Suite
from milabench.system.types import Node, System
from milabench.tools import Tool

Installer = Literal["uv", "pip"]
BUNDLES = "bundles"  # below the base: a folder for each bundle that was unpacked
SUITE = "suite.yaml"  # in each of them
_VERSION = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What travels to where nothing is installed, and the folder here in which each is put together.

    ``machine`` is the kind that ``uv``, a program, runs on.
    """

    folder: str
    seeds: Tool
    sources: Tool
    uv: Tool | None = None
    machine: str = ""

    @property
    def all(self) -> tuple[Tool, ...]:
        return (self.seeds, self.sources, *((self.uv,) if self.uv else ()))

    def folder_of(self, tool: Tool) -> str:
        return f"{self.folder}/{tool.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a plan needs to know of one node's disk; all paths absolute.

    ``import_path`` is where milabench's own modules are there; ``benchmate`` the folder of its sources here and
    ``wheel`` the file name of the wheel made of them, which holds their hash. ``tools`` can travel, those in
    ``carried`` do. ``bundle`` is the folder of the bundle that packages come from, where they come from one, and
    ``wheels`` has the names of those of each install group in it. ``data`` tells data that bundles brought into the
    base from any other, empty where none did, and ``delivers`` that of this bundle, which other bases are to have.
    """

    base: str
    python: str
    python_version: str
    uv: str | None
    installer: Installer
    constraints: str
    benchmate: str
    wheel: str
    import_path: tuple[str, ...]
    offline: bool = False
    bundle: str | None = None
    wheels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    data: str = ""
    delivers: str = ""
    tools: Tools | None = None
    carried: tuple[Tool, ...] = ()

    def on(self, node: Node) -> Site:
        """Return it as it is on a node: a machine that is not this one, and was asked, has its own Python."""
        if node.local or node.python is None:
            return self
        return self.inside(node.python, node.python_version, node.machine)

    def inside(self, python: str, python_version: str, machine: str) -> Site:
        """Return it for a Python that finds nothing installed, on another node or in a container's image.

        uv's program runs on machines of its own kind; on others pip fills environments.
        """
        assert self.tools is not None
        program = self.tools.uv if self.installer == "uv" and machine in ("", self.tools.machine) else None
        carried = tuple(each for each in (self.tools.seeds, self.tools.sources, program) if each is not None)
        return replace(
            self,
            python=python,
            python_version=python_version,
            uv=f"{self._kept(program)}/uv" if program else None,
            import_path=(self._kept(self.tools.sources),),
            carried=carried,
        )

    def dirs(self, group: str, install_group: str, code: str | None) -> Dirs:
        return Dirs(
            base=self.base,
            venv=f"{self.base}/venv/{install_group}",
            code=f"{self.base}/code/{code}" if code else self.base,
            data=f"{self.base}/data",
            runs=f"{self.base}/runs",
            extra=f"{self.base}/extra/{group}",
            cache=f"{self.base}/cache",
        )

    @property
    def wheel_path(self) -> str:
        return f"{self.base}/cache/wheels/{self.wheel}"

    def environment(self, venv: str) -> dict[str, tuple[str, ...]]:
        """Return the argvs that make an environment with pip in it, one after the other, by what their step is called.

        Here virtualenv does; elsewhere Python's own venv, which is part of every Python, and the wheel of pip itself.
        """
        if not self.carried:
            options = ("--python", self.python, *(("--no-download",) if self.offline else ()))
            return {"virtualenv": (self.python, "-m", "virtualenv", *options, venv)}
        return {"venv": (self.python, "-I", "-m", "venv", "--without-pip", venv), "pip": self._seeding(venv)}

    def _seeding(self, venv: str) -> tuple[str, ...]:
        assert self.tools is not None
        seeds = self.tools.seeds
        wheels = {name.partition("-")[0]: f"{self._kept(seeds)}/{name}" for name in seeds.files}
        quickly = ("--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--disable-pip-version-check")
        return (f"{venv}/bin/python", f"{wheels['pip']}/pip", "install", *quickly, *self._wanted(wheels))

    def _wanted(self, wheels: Mapping[str, str]) -> tuple[str, ...]:
        """Return what virtualenv puts into an environment: setuptools too up to Python 3.11, or an unknown one."""
        known = _VERSION.match(self.python_version)
        with_setuptools = known is None or (int(known[1]), int(known[2])) < (3, 12)
        return tuple(path for name, path in wheels.items() if name == "pip" or with_setuptools)

    @property
    def staged(self) -> tuple[Staged, ...]:
        """What travels there to make an environment."""
        return tuple(self._staged(tool) for tool in self.carried)

    @property
    def staged_sources(self) -> tuple[Staged, ...]:
        """What travels there to await a benchfile's coroutine: milabench's modules."""
        return tuple(self._staged(tool) for tool in self.carried if self.tools and tool is self.tools.sources)

    def module(self, name: str, *arguments: str) -> tuple[str, ...]:
        """Return the argv that runs ``name.main()`` of milabench with its own interpreter."""
        return (self.python, "-c", _with_path(self.import_path, f"from {name} import main; main()"), *arguments)

    def _staged(self, tool: Tool) -> Staged:
        assert self.tools is not None
        return Staged(source=self.tools.folder_of(tool), target=self._kept(tool))

    def _kept(self, tool: Tool) -> str:
        return f"{self.base}/cache/tools/{tool.name}"


def _with_path(folders: Sequence[str], statements: str) -> str:
    return f"import sys; sys.path[:0] = {list(folders)!r}; {statements}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A container image as a node has it: ``digest`` says what it is, or ``root``, a folder that may change.

    ``id`` is equal on all nodes that have the same one; ``environ`` are the variables that it sets.
    """

    id: str | None
    digest: str | None
    root: str | None
    machine: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tells it from others."""
        return self.digest or str(self.root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """All that a plan is made of; ``packages`` by the folder of their definition.

    ``fetched`` says what came by git; ``unfetched`` names the benchmarks whose definition could not be, with why: they
    are part of a run, and cannot run.
    ``scaling`` is the scaling file that batch sizes are worked out of, if any is needed.
    ``environ`` is the operator's environment, where secrets come from: a plan holds their names only.
    ``images``: by node the container image that the system names, where it is there.
    """

    suite: Suite
    system: System
    packages: Mapping[str, type[BasePackage]]
    site: Site
    environ: Mapping[str, str] = field(default_factory=dict)
    scaling: Scaling | None = None
    fetched: tuple[Fetched, ...] = ()
    unfetched: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Image] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dirs:
    """The folders of one benchmark, as its scripts see them (``MILABENCH_DIR_VENV`` …)."""

    base: str
    venv: str
    code: str
    data: str
    runs: str
    extra: str
    cache: str

    def as_mapping(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ("venv", "data", "runs", "extra", "cache", "code")}
