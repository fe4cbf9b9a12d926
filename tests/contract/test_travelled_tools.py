"""What makes environments on other machines, carried out with a Python that finds nothing installed."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness import OBSERVED, Project, folder
from milabench import plan as planning
from milabench import resources
from milabench.agent import probe, stage
from milabench.app.options import Options
from milabench.app.workspace import put_together, workspace
from milabench.execute import Interrupt, Setting, TrialEnded, execute
from milabench.execute.hosts.local import LocalHost
from milabench.outcome import Outcome
from milabench.plan import Job, Plan
from milabench.plan.site import Installer
from milabench.setuplogs import SetupLogs

OWN = """
    import sys
    from pathlib import Path

    import milabench
    from milabench.pack import Package

    class __pack__(Package):
        async def install(self):
            (self.dirs.code / "by").write_text(f"{milabench.__file__}\\n{sys.flags.no_site}")
"""
NOBODY = 65534


def interpreter() -> str:
    """Return a Python that knows nothing of this environment: the system's where it is new enough."""
    system = "/usr/bin/python3"
    new = "import sys; sys.exit(sys.version_info < (3, 10))"
    if Path(system).exists() and subprocess.run([system, "-c", new], check=False).returncode == 0:
        return system
    return os.path.realpath(sys.executable)


def version_of(python: str) -> str:
    argv = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def planned(project: Project, installer: Installer) -> Plan:
    """Return the plan of installing on a machine that is taken to be another one, with all that travels made."""
    project.write("own/main.py", OBSERVED)
    project.write("own/benchfile.py", OWN)
    project.suite(own=folder("own"))
    options = Options(
        config=str(project.folder / "suite.yaml"),
        base=project.base,
        installer=installer,
        shape={"arch": "cpu"},
        environ={"XDG_CACHE_HOME": str(project.folder / "operator")},
    )
    facts = {**probe.facts("cpu", {}), "ips": [], "environ": {}}
    python = interpreter()
    (project.folder / "system.yaml").write_text("nodes: [{name: there, ip: 192.0.2.1, main: true}]")
    options = replace(options, system=project.folder / "system.yaml")
    told = {"python": python, "python_version": version_of(python), "machine": platform.machine()}
    ready = workspace(options, facts, {"there": {**facts, **told}})
    plan = planning.plan(ready, "install")
    put_together(ready, plan)
    return plan


def bare(project: Project) -> dict[str, str]:
    """Return an environment in which nothing of this one is found."""
    home = project.folder / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))}
    return {**kept, "PATH": "/usr/bin:/bin", "HOME": str(home)}


def carried_out(plan: Plan, project: Project) -> Mapping[str, Outcome]:
    async def all_of_it() -> Mapping[str, Outcome]:
        async with LocalHost(resources.import_path(), bare(project)) as host:
            setting = Setting(hosts={"there": host}, records=SetupLogs(project.base), interrupt=Interrupt())
            happened = [each async for each in execute(plan, setting)]
        return {each.trial.id: each.outcome for each in happened if isinstance(each, TrialEnded)}

    return asyncio.run(all_of_it())


def made(project: Project) -> dict[str, str]:
    """Return what the environment holds, and who awaited the benchfile's install()."""
    argv = [str(project.base / "venv/own/bin/python"), "-c", "import benchmate, sys; print(benchmate.__file__)"]
    found = subprocess.run(argv, capture_output=True, text=True, check=True, env={}, cwd="/").stdout.strip()
    by, *_ = (project.base / "code/own/by").read_text().split("\n")
    return {"benchmate": found, "by": by}


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_an_environment_is_made_by_what_has_travelled(project: Project, installer: Installer) -> None:
    plan = planned(project, installer)
    outcomes = carried_out(plan, project)
    assert outcomes["own"].kind == "ok", (outcomes, SetupLogs(project.base).log_tail("own.venv", 20))
    found = made(project)
    assert found["benchmate"].startswith(str(project.base / "venv/own/lib"))
    assert found["by"].startswith(str(project.base / "cache/tools/milabench-"))
    programs = {command.argv[0] for command in plan.trials[0].commands}
    assert sys.executable not in programs
    assert any("/cache/tools/uv-" in program for program in programs) == (installer == "uv")
    assert carried_out(plan, project)["own"].kind == "ok"  # what is there already


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user can look into, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act for another user")
def test_an_environment_is_made_by_a_user_who_can_write_nowhere_else(open_folder: Path) -> None:
    project = Project(open_folder)
    project.base = open_folder / "private" / "base"
    (job,) = planned(project, "uv").trials[0].jobs
    for each in job.staged:
        stage.stage(each.source, each.target)
    environ = bare(project)
    (project.base / "data").mkdir(parents=True)
    for path in (open_folder / "home", open_folder / "private", *(open_folder / "private").rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    (open_folder / "private").chmod(0o700)
    shutil.rmtree(open_folder / "operator")  # nothing is needed any more of the machine that it came from
    for code, text in _run_as(NOBODY, job, environ):
        assert code == 0, text
    owners = {path.stat().st_uid for path in (project.base / "venv/own").rglob("*") if not path.is_symlink()}
    assert owners == {NOBODY}
    assert made(project)["by"].startswith(str(project.base / "cache/tools/milabench-"))


def _run_as(user: int, job: Job, environ: Mapping[str, str]) -> list[tuple[int, str]]:
    config = '{"name": "own", "dirs": %s}'
    found = []
    for command in job.commands:
        dirs = {name[14:].lower(): value for name, value in command.env.items() if name.startswith("MILABENCH_DIR_")}
        env = {**environ, **command.env, "MILABENCH_CONFIG": config % str(dirs).replace("'", '"')}
        done = subprocess.run(
            command.argv, cwd=command.cwd, env=env, user=user, group=user, capture_output=True, text=True, check=False
        )
        found.append((done.returncode, done.stdout + done.stderr))
    return found
