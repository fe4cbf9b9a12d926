"""Render the plan of every benchfile in a checkout of milabench's public repository, unmodified.

    python tests/upstream/check_benchfiles.py CHECKOUT

Prints a line per folder and a total; exit code 1 when one does not render. Not part of ``make test``: nothing of that
repository stands in this one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from milabench import plan as planning
from milabench.app.options import Options
from milabench.app.workspace import workspace
from milabench.errors import UserError

DEVICES = 8
ENTRY = {"argv": {"--batch-size": 8}, "plan": {"method": "njobs", "n": 1}}


def facts() -> dict[str, Any]:
    devices = [{"id": number, "name": "cuda", "memory_bytes": 80 * 2**30} for number in range(DEVICES)]
    known = {"hostname": "here", "cpus": 64, "memory_bytes": 2**38, "environ": {}, "ips": [], "indexes": []}
    return {**known, "arch": "cuda", "devices": devices}


def rendered(folder: Path, method: str, machines: int) -> dict[str, int]:
    """Return the number of processes that each phase starts. Raises UserError where the benchfile cannot be asked."""
    entry = {**ENTRY, "definition": str(folder), "num_machines": machines, "plan": {"method": method, "n": 1}}
    with tempfile.TemporaryDirectory() as base:
        suite = Path(base) / "suite.yaml"
        suite.write_text(json.dumps({"one": entry}))
        shape = {"nodes": machines} if machines > 1 else {}
        ready = workspace(Options(config=str(suite), base=Path(base), shape=shape), facts())
        plans = {phase: planning.plan(ready, phase) for phase in ("install", "prepare", "run")}  # type: ignore[arg-type]
    return {
        phase: sum(len(job.commands) for trial in made.trials for job in trial.jobs) for phase, made in plans.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    root: Path = parser.parse_args().checkout / "benchmarks"
    folders = sorted(path.parent for path in root.rglob("benchfile.py") if "retired" not in path.parts)
    failed = 0
    for folder in folders:
        for method, machines in (("per_gpu", 1), ("njobs", 1), ("njobs", 2)):
            what = f"{folder.relative_to(root)!s:<22} {method:<8} {machines} node{'s' if machines > 1 else ''}"
            try:
                print(what, rendered(folder, method, machines))
            except UserError as error:
                failed += 1
                print(what, f"FAILED: {error}")
    print(f"{len(folders)} folders, {failed} failures")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
