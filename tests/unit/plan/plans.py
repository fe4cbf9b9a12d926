"""Plans for tests: a suite in a temporary folder, on a system that is only described."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Any

from milabench import package, plan, suite, system
from milabench.plan import Phase, Plan, Site, Workspace

FACTS: Mapping[str, Any] = {
    "hostname": "here",
    "cpus": 16,
    "memory_bytes": 64 * 2**30,
    "arch": "cpu",
    "cpu_name": "a CPU",
    "devices": [],
    "environ": {"PATH": "/bin", "HOME": "/home/me"},
    "ips": [],
}
NOTHING: Mapping[str, str] = MappingProxyType({})
SITE = Site(
    base="/base",
    python="/usr/bin/python3",
    python_version="3.11.7",
    uv="/usr/bin/uv",
    installer="uv",
    constraints="/constraints",
    benchmate="/sources/benchmate",
    wheel="benchmate-0.1.0+abc-py3-none-any.whl",
    import_path=("/sources",),
)


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


def workspace(
    folder: Path,
    files: Mapping[str, str],
    *,
    environ: Mapping[str, str] = NOTHING,
    site: Site = SITE,
    facts: Mapping[str, Any] = FACTS,
    **shape: Any,
) -> Workspace:
    """Return what a plan is made of; ``suite.yaml`` is among the files, and ``system.yaml`` where there is one.

    ``environ`` is the operator's environment, ``facts`` what was probed on this machine.
    """
    write(folder, files)
    operator = system.Operator(environ=environ)
    found = suite.select(suite.resolve(folder / "suite.yaml", (), environ), (), ())
    definitions = {each.definition: each.mark for each in found.benchmarks if each.definition}
    return Workspace(
        suite=found,
        system=system.resolve(folder / "system.yaml" if "system.yaml" in files else None, facts, shape, operator),
        packages=package.load(definitions, FACTS["environ"]),
        site=site,
        environ=environ,
    )


def planned(folder: Path, files: Mapping[str, str], phase: Phase = "run", repeats: int = 1, **shape: Any) -> Plan:
    return plan.plan(workspace(folder, files, **shape), phase, repeats=repeats)
