from __future__ import annotations

from milabench.fs import XPath
from milabench.pack import Package


class PpoBenchmark(Package):
    """JAX for an accelerator is another set of packages: ``requirements.<arch>.in`` where there is one."""

    base_requirements = "requirements.in"
    main_script = "main.py"

    def requirements_map(self, variant: str | None = None) -> dict[XPath, XPath]:
        (written, locked), *_ = super().requirements_map(variant).items()
        own = self.dirs.code / f"requirements.{self.config['system']['arch']}.in"
        if not self.has(own.name):
            return {written: locked}
        return {own: own if locked == written else locked}

    def make_env(self) -> dict[str, str]:
        return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # else JAX takes three quarters of the device at once


__pack__ = PpoBenchmark
