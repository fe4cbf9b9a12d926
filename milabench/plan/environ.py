"""The variables that a benchmark's scripts see; secrets stand in a plan by name only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from milabench.plan.site import Dirs
from milabench.system.types import Node, System

SELECTION_VARIABLES = {
    "cuda": "CUDA_VISIBLE_DEVICES",
    "rocm": "ROCR_VISIBLE_DEVICES",
    "xpu": "ZE_AFFINITY_MASK",
    "hpu": "HABANA_VISIBLE_MODULES",
}
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Say whether a variable's value must not be written into a plan or a result."""
    return bool(_SECRET.search(name))


def folders(dirs: Dirs) -> dict[str, str]:
    """Return the MILABENCH_DIR_* variables."""
    return {f"MILABENCH_DIR_{name.upper()}": path for name, path in dirs.as_mapping().items()}


def activated(dirs: Dirs, node: Node) -> dict[str, str]:
    """Return what ``source <venv>/bin/activate`` would set."""
    return {"VIRTUAL_ENV": dirs.venv, "PATH": f"{dirs.venv}/bin:{node.environ.get('PATH', _DEFAULT_PATH)}"}


def caches(dirs: Dirs) -> dict[str, str]:
    """Return the variables that keep downloads and compiled kernels below the base."""
    return {
        "XDG_CACHE_HOME": dirs.cache,
        "TORCH_HOME": dirs.cache,
        "HF_HOME": dirs.data,
        "TRITON_CACHE_DIR": f"{dirs.cache}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{dirs.cache}/inductor",
    }


def threads(node: Node) -> dict[str, str]:
    """Return the CPU threads of one process: the node's cores shared among its devices."""
    return {"OMP_NUM_THREADS": str(max(node.cpus // max(len(node.devices), 1), 1))}


def devices(system: System, ids: Sequence[int]) -> dict[str, str]:
    """Return the vendor's variables that show a process only the given devices; none on a CPU."""
    if system.arch == "cpu":
        return {}
    selected = {SELECTION_VARIABLES[system.arch]: ",".join(map(str, ids))}
    if system.arch == "cuda":
        selected["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order nvidia-smi numbers devices in
    return selected


def split_secrets(delta: Mapping[str, str | None]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Split what a benchfile changed in the environment into values and names of secrets."""
    values = {name: value for name, value in delta.items() if value is not None and not is_secret(name)}
    return values, tuple(sorted(name for name, value in delta.items() if value is not None and is_secret(name)))
