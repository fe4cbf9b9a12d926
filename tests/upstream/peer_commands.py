"""Print, as JSON, the processes that milabench's own code would start: run by the interpreter of its environment.

    PYTHONPATH=CHECKOUT:CHECKOUT/benchmate PEER_PYTHON peer_commands.py SUITE SYSTEM BASE GPUS MEMORY_MIB CPUS

``check_commands.py`` runs this on a copy of a checkout. No GPU is asked, no environment is made, nothing is started.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

VENDOR_TOOL = "voir.instruments.gpu"


class Devices:
    """What voir asks a vendor's tool, answered with devices that are not there."""

    arch = "cuda"
    visible_devices = None

    def __init__(self, count: int, memory_mib: int) -> None:
        self.count, self.memory_mib = count, memory_mib

    def get_gpus_info(self, selection: object = None) -> dict[int, dict[str, Any]]:
        del selection
        memory = {"used": 0, "total": self.memory_mib}
        known = {"product": "GPU", "memory": memory, "utilization": {}, "selection_variable": "CUDA_VISIBLE_DEVICES"}
        return {number: {"device": number, **known} for number in range(self.count)}

    def system_info(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def packages(suite: str, system: str, base: str) -> list[Any]:
    """Return milabench's package of every benchmark that would run, its environment taken as made."""
    from milabench import common, network, pack  # type: ignore[attr-defined]

    pack.SessionRunner._create_venv = lambda _: None
    pack.Session = lambda _: types.SimpleNamespace(env={})
    args = common.CommonArguments(config=suite, system=system, base=base)
    with network.enable_offline(True):
        return list(common.get_multipack(args, run_name="run").packs.values())


def processes(pack: Any) -> Iterator[dict[str, Any]]:
    """Yield what a benchmark starts, as its executor would start it."""
    from milabench.multi import make_execution_plan  # type: ignore[import-not-found]
    from milabench.sizer import resolve_argv  # type: ignore[import-not-found]

    for placed, argv, options in make_execution_plan(pack).commands():
        yield {
            "benchmark": pack.config["name"],
            "argv": [str(word) for word in resolve_argv(placed, argv)],
            "devices": placed.config.get("devices"),
            "cwd": str(options.get("cwd") or placed.working_directory),
            "code": str(placed.dirs.code),
            "venv": placed.config["dirs"]["venv"],
        }


def answer(suite: str, system: str, base: str) -> dict[str, Any]:
    from milabench.capability import is_system_capable_with_reasons  # type: ignore[import-not-found]

    found: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    skipped: dict[str, list[str]] = {}
    for pack in packages(suite, system, base):
        name = pack.config["name"]
        capable, reasons = is_system_capable_with_reasons(pack)
        if not capable:
            skipped[name] = reasons
            continue
        try:
            found.extend(processes(pack))
        except Exception as error:  # what a benchfile raises there is an answer as well
            failed[name] = f"{type(error).__name__}: {error}"
    return {"processes": found, "skipped": skipped, "failed": failed}


def main() -> int:
    suite, system, base, gpus, memory_mib, cpus = sys.argv[1:]
    os.environ |= {"MILABENCH_CPU_TOTAL_COUNT": cpus, "MILABENCH_GPU_ARCH": "cuda", "MILABENCH_BASE": base}
    warnings.simplefilter("ignore")
    import voir.instruments.gpu as vendor

    vendor.DEVICESMI = Devices(int(gpus), int(memory_mib))
    with contextlib.redirect_stdout(sys.stderr):
        found = answer(suite, system, base)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
