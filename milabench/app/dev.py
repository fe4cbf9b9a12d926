"""``milabench dev``: a benchmark's surroundings for a shell or a command, without a run."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from milabench import plan as planning
from milabench import resources
from milabench.agent.abandoned import mark
from milabench.agent.contained import begun
from milabench.agent.container import Container, Inside, named
from milabench.agent.serve import FOLDERS, WITHHELD
from milabench.app import preflight
from milabench.app.options import Options
from milabench.app.phases import Operation, operation
from milabench.app.unbundle import there
from milabench.app.workspace import resolve_suite
from milabench.console import Console
from milabench.errors import ConfigurationError, PreflightError, UsageError
from milabench.plan import Workspace
from milabench.plan.launchtime import without_temporary
from milabench.problems import nearest

_SHELL_OF_IMAGE = ("sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")
_FIRST = ("standard", "quickstart", "smoke")  # of the suites milabench brings


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is to take the place of milabench's process."""

    argv: list[str]
    env: dict[str, str]
    cwd: str


async def dev(options: Options, console: Console, name: str, argv: Sequence[str]) -> Session:
    """Return a benchmark's first process with ``argv`` in its place, a shell where that is empty.

    The suite is the one the options name, else the first of the folder's ``config/*.yaml`` and of milabench's own that
    has the benchmark; one for which it is installed before others. Raises PreflightError where it is not installed.
    """
    options = there(options)
    async with operation(options, console) as work:
        ready, chosen = await _installed(work, name)
        plan = planning.plan(ready, "run")
        await preflight.require(replace(work, options=chosen), ready, plan, preflight.OF_SHELL)
        if not plan.trials:
            raise PreflightError(f"{name} cannot run here: {plan.skipped[0].reason}")
        if not ready.system.main.local:
            node = ready.system.main.name
            raise PreflightError(f"{name} would run on node {node}, and a shell opens on this machine: type it there")
        job = plan.trials[0].jobs[0]
        await work.host.stage([asdict(folder) for folder in job.staged])
    command = without_temporary(job.commands[0])
    for folder in FOLDERS & command.env.keys():
        Path(command.env[folder]).mkdir(parents=True, exist_ok=True)
    secrets = {secret: options.environ[secret] for secret in job.secrets}
    outer = {key: value for key, value in options.environ.items() if key not in WITHHELD}
    given = {**command.env, **secrets, "MILABENCH_CONFIG": json.dumps(plan.config_of(command))}
    env = {**outer, **given}
    if not argv:
        devices = ", ".join(map(str, command.devices))
        console.note(f"a shell for {name}: folder {command.cwd}, devices {devices or 'none'}; `exit` leaves it")
        console.note(f"what a run starts here: {shlex.join(command.argv)}")
    if command.container is not None:
        inside = Inside(argv=[*argv] or _SHELL_OF_IMAGE, cwd=command.cwd, env={"VOIRFILE": "", **given})
        return _contained(command.container, _called(inside, name), outer)
    return Session(argv=[*argv] or _shell(options.base, env.get("VIRTUAL_ENV")), env=env, cwd=command.cwd)


def _called(inside: Inside, name: str) -> Inside:
    """Return it with a name of its own, since a second shell is another container, and as this process's.

    Where what starts it is killed, which takes this process's place, the next agent here ends it.
    """
    own = os.getpid()
    return replace(inside, name=named(str(own), f"dev.{name}", inside.argv), agent=mark(own))


def _contained(container: Container, inside: Inside, environ: Mapping[str, str]) -> Session:
    """Return what runs it in the benchmark's container, at this terminal if it is one."""
    terminal = ("-i", *(("-t",) if os.isatty(0) else ())) if container.kind != "apptainer" else ()
    here = replace(container, args=(*container.args, *terminal))
    argv, env = begun(here, inside, environ, resource.getrlimit(resource.RLIMIT_NOFILE))
    return Session(argv=argv, env=env, cwd=inside.cwd)


async def _installed(work: Operation, name: str) -> tuple[Workspace, Options]:
    found: list[tuple[Workspace, Options]] = []
    for options in _candidates(work.options, name):
        ready = _alone(await replace(work, options=options).workspace(), name)
        if not await work.missing(planning.needs(ready)[0]):
            return ready, options
        found.append((ready, options))
    return found[0]


def _alone(ready: Workspace, name: str) -> Workspace:
    """Return the workspace with the one benchmark: a selection by name finds tags and groups of that name too."""
    benchmarks = tuple(each for each in ready.suite.benchmarks if each.name == name)
    return replace(ready, suite=replace(ready.suite, benchmarks=benchmarks))


def _candidates(options: Options, name: str) -> Iterator[Options]:
    """Yield the options with each suite that has the benchmark. Raises UsageError where none has."""
    asked = replace(options, select=(name,), exclude=())
    if options.config is not None:
        if name not in (each.name for each in resolve_suite(asked).benchmarks):
            raise UsageError(f"{name} is no benchmark of {options.config}: `milabench list` shows them")
        yield asked
        return
    none, known = True, set[str]()
    for config in _suites():
        try:
            names = {each.name for each in resolve_suite(replace(options, config=config, select=())).benchmarks}
        except (ConfigurationError, UsageError):  # it is no suite
            continue
        known |= names
        if name in names:
            none = False
            yield replace(asked, config=config)
    if none:
        near = nearest(name, known)
        hint = f" (did you mean {near!r}?)" if near else ""
        where = "no suite in ./config and none that milabench brings"
        raise UsageError(f"{where} has a benchmark {name!r}{hint}: give --config")


def _suites() -> Iterator[str]:
    yield from map(str, sorted(Path("config").glob("*.yaml")))
    brought = (path.stem for path in sorted((resources.data_root() / "config").glob("*.yaml")) if path.stem != "base")
    yield from dict.fromkeys((*_FIRST, *brought))


def _shell(base: Path, venv: str | None) -> list[str]:
    """Return an interactive shell; one that activates the environment after the user's own start-up file."""
    bash = shutil.which("bash")
    if bash is None or venv is None:
        return [bash or "/bin/sh", "-i"]
    start = base / "extra" / "setup" / f"{Path(venv).name}.bashrc"
    start.parent.mkdir(parents=True, exist_ok=True)
    quoted = shlex.quote(f"{venv}/bin/activate")
    start.write_text(f'[ -f "$HOME/.bashrc" ] && . "$HOME/.bashrc"\n. {quoted}\n')
    return [bash, "--rcfile", str(start), "-i"]
