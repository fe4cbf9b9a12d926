"""Where things are on the nodes a plan is made for: the base and its folders, the interpreter, the installer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from milabench.pack import BasePackage
from milabench.plan.scaling import Scaling
from milabench.plan.types import Fetched
from milabench.suite.types import Suite
from milabench.system.types import System

Installer = Literal["uv", "pip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a plan needs to know of the nodes' disks; all paths absolute.

    ``boot`` is the argv that runs a module of milabench's on a node; ``benchmate`` the folder of its sources and
    ``wheel`` the file name of the wheel made of them, which holds their hash.
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

    def module(self, name: str, *arguments: str) -> tuple[str, ...]:
        """Return the argv that runs ``name.main()`` of milabench with its own interpreter."""
        boot = f"import sys; sys.path[:0] = {list(self.import_path)!r}; from {name} import main; main()"
        return (self.python, "-c", boot, *arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """All that a plan is made of; ``packages`` by the folder of their definition.

    ``fetched`` says what came by git; ``unfetched`` names the benchmarks whose definition could not be, with why: they
    are part of a run, and cannot run.
    ``scaling`` is the scaling file that batch sizes are worked out of, if any is needed.
    ``environ`` is the operator's environment, where secrets come from: a plan holds their names only.
    """

    suite: Suite
    system: System
    packages: Mapping[str, type[BasePackage]]
    site: Site
    environ: Mapping[str, str] = field(default_factory=dict)
    scaling: Scaling | None = None
    fetched: tuple[Fetched, ...] = ()
    unfetched: Mapping[str, str] = field(default_factory=dict)


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
