"""What the command line asks for, whichever verb: the values of its shared options."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from milabench import system
from milabench.plan.site import Installer
from milabench.system import Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``environ`` is the operator's environment; ``shape`` the asked-for system of ``plan`` (arch, gpus, nodes, …).

    ``bundle``: the file that packages and data are taken from, and ``unpacked`` the folder that this is unpacked in;
    then no network is used.
    """

    config: str | None
    system: Path | None = None
    base: Path
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    run_name: str | None = None
    override: tuple[str, ...] = ()
    lenient: bool = False
    installer: Installer = "uv"
    offline: bool = False
    bundle: Path | None = None
    unpacked: Path | None = None
    refresh: bool = False
    repeats: int = 1
    side_by_side: bool = False
    accept_new_host_keys: bool = False
    shape: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def arch(self) -> str | None:
        """The architecture that is asked for, None where it is to be found out."""
        return self.shape.get("arch") or system.asked_arch(self.environ, self.override)

    @property
    def operator(self) -> Operator:
        """What the operator says of the system besides its file."""
        return Operator(environ=self.environ, changes=self.override, lenient=self.lenient)

    @property
    def suite_is_of_bundle(self) -> bool:
        """Whether the suite is that of the bundle, which needs no name."""
        return self.config is not None and self.unpacked is not None and Path(self.config).parent == self.unpacked

    def command(self, verb: str) -> str:
        """Return the command to type for another verb with the same options.

        Another run is submitted as this one was, where it was.
        """
        submits = self._submitting() if verb == "run" else ()
        words = ["milabench", *(submits or (verb,))]
        words += ["--config", self.config] if self.config and not self.suite_is_of_bundle else []
        if self.environ.get("MILABENCH_BASE") != str(self.base):
            words += ["--base", str(self.base)]
        words += ["--system", str(self.system)] if self.system else []
        for name in ("select", "exclude", "override"):
            words += [word for item in getattr(self, name) for word in (f"--{name}", item)]
        words += ["--legacy"] if self.lenient else []
        words += ["--arch", self.shape["arch"]] if "arch" in self.shape else []
        words += ["--installer", self.installer] if self.installer != "uv" else []
        words += ["--bundle", str(self.bundle)] if self.bundle else ["--offline"] if self.offline else []
        words += ["--accept-new-host-keys"] if self.accept_new_host_keys else []
        if verb == "run":
            words += ["--run-name", self.run_name] if self.run_name and not submits else []
            words += ["--repeat", str(self.repeats)] if self.repeats != 1 else []
            words += ["--side-by-side"] if self.side_by_side else []
        return shlex.join(words)

    def _submitting(self) -> tuple[str, ...]:
        """Return what submits a run, nothing where this one is not that of a Slurm job."""
        from milabench.slurm import records  # most verbs need nothing of Slurm

        if not self.run_name or not self.run_name.startswith("/") or not records.is_submitted(Path(self.run_name)):
            return ()
        profile = records.read(Path(self.run_name)).latest.profile
        return ("submit", *(("--profile", profile) if profile else ()), "--")
