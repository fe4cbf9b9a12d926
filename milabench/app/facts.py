"""What a run directory says of the run besides its plan: the machine, versions, environments, code, the suite."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import milabench
from milabench import plan as planning
from milabench.app.phases import Operation
from milabench.plan import Plan, Workspace
from milabench.plan.environ import is_secret, redacted, secrets, without_secrets


async def facts(work: Operation, ready: Workspace, plan: Plan) -> dict[str, Any]:
    """Return the facts of run.json: the system, versions, environments; no secret's value."""
    options = work.options
    groups = [each.install_group for each in ready.suite.benchmarks]
    system = {name: value for name, value in ready.system.facts.items() if name not in ("environ", "ips")}
    environ = {
        name: value for name, value in options.environ.items() if name.startswith("MILABENCH_") and not is_secret(name)
    }
    return {
        "milabench": milabench.__version__,
        "python": sys.version.split()[0],
        "argv": [redacted(word, secrets(options.environ)) for word in sys.argv[1:]],
        "config": options.config,
        "sources": list(ready.suite.sources),
        "base": str(options.base),
        "started": time.time(),
        "system": {**system, "arch": ready.system.arch},
        "environ": environ,
        **await made_of(work, groups, str(options.base), plan),
        "unpinned": list(planning.plan(ready, "install").notes),
        "fetched": [asdict(each) for each in ready.fetched],
        "side_by_side": options.side_by_side,
        "save_sizes": ready.system.options.sizer.save,
        "monitor_interval_s": ready.system.options["monitor.interval"],
    }


async def made_of(work: Operation, groups: Iterable[str], base: str, plan: Plan) -> dict[str, Any]:
    """Return what a run is made of: the packages of ``environments`` by group, hashes of the ``code`` it stages."""
    folders = {group: f"{base}/venv/{group}" for group in groups}
    sources = dict.fromkeys(each.source for trial in plan.trials for job in trial.jobs for each in job.staged)
    frozen = await work.host.request("freeze", folders=folders, sources=[*sources])
    return {"environments": frozen["packages"], "code": frozen.get("code", {})}


def resolved(ready: Workspace) -> dict[str, Any]:
    """Return what suite.json holds: every entry, without secrets."""
    return {"version": 1, "benchmarks": {each.name: without_secrets(each.config) for each in ready.suite.benchmarks}}
