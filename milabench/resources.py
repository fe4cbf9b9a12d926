"""Where suites, benchmark folders, constraints and benchmate's sources are, in a clone and in a wheel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def data_root() -> Path:
    """Return the folder that holds ``config/``, ``benchmarks/`` and ``constraints/``."""
    package = Path(__file__).resolve().parent
    installed = package / "data"
    return installed if installed.is_dir() else package.parent


def benchmate_sources() -> Path:
    """Return the folder of the benchmate package that milabench carries."""
    spec = find_spec("benchmate")
    if spec is None or spec.origin is None:
        raise RuntimeError("milabench is installed without benchmate: install it again from its wheel or its clone")
    return Path(spec.origin).parent


def import_path() -> list[str]:
    """Return what a child interpreter started without site-packages needs to import milabench and benchmate."""
    return list(dict.fromkeys((str(Path(__file__).resolve().parent.parent), str(benchmate_sources().parent))))


def nvml_binding() -> str:
    """Return the file of nvidia-ml-py, which the monitor of a node is given; empty where that is not installed."""
    spec = find_spec("pynvml")
    return spec.origin or "" if spec is not None else ""
