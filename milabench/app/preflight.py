"""The look before a run: what the agents tell of their nodes, judged; then told, or the end of it.

No network is used but the connections to nodes, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from milabench import plan as planning
from milabench import preflight
from milabench.app import containers, sizing
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.errors import PreflightError
from milabench.paths import expanded
from milabench.plan import Phase, Plan, Workspace
from milabench.plan.environ import Secrets, redacted, secrets
from milabench.preflight import SEVERITIES, Conditions, Finding, Wanted
from milabench.preflight.nodes import Part
from milabench.system.types import Node, System

Subject = tuple[System, Wanted | None]
# Of what stands in the way of a run, what stands in that of install, a shell, prepare; and what prepare tells besides.
OF_CONTAINERS = ("no-container-program", "container-program-fails", "no-image")
OF_SHELL = (*OF_CONTAINERS, "not-installed", "installed-otherwise", "secret-missing")
OF_PREPARE = (*OF_CONTAINERS, "not-installed", "installed-otherwise", "folder-not-writable", "disk-full")
TOLD_BY_PREPARE = ("environment-changed", "secret-missing", "token-missing", "disk-low")
_OF_RUNS = ("files", "absent", "environments", "data")  # what nodes tell of runs, not of themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was found, the worst first, and the conditions of each node as its agent tells them."""

    findings: tuple[Finding, ...]
    conditions: Mapping[str, Mapping[str, Any]]


def wanted(
    options: Options, ready: Workspace, plan: Plan, *, ahead: tuple[Phase, ...] = (), without: Collection[str] = ()
) -> Wanted:
    """Return what a plan of a workspace needs; ``ahead`` are phases that come first.

    ``without`` are benchmarks that cannot run anyway, as is known already.
    """
    groups = {each.install_group for each in ready.suite.benchmarks if each.name not in without}

    def able(needs: planning.Needs) -> planning.Needs:
        environments, data = needs
        data = {name: once for name, once in data.items() if name not in without}
        return (
            {group: once for group, once in environments.items() if group in groups},
            data if data.keys() != {planning.DELIVERY} else {},
        )

    needs = {node: able(each) for node, each in planning.needs_of_all(ready).items()}
    environments, data = needs.pop(ready.system.main.name, ({}, {}))
    return Wanted(
        plan=replace(plan, trials=tuple(trial for trial in plan.trials if trial.benchmark not in without)),
        environments=environments,
        data=data,
        elsewhere=needs,
        ahead=ahead,
        offline=options.offline,
        commands={verb: options.command(verb) for verb in ("install", "prepare", "run")},
        environ=options.environ,
        tokens=tuple(_tokens(options)),
        scaling=ready.scaling or sizing.known(ready.system),
        side_by_side=options.side_by_side,
    )


def begun(options: Options, plan: Plan, described: System, *, side_by_side: bool) -> Subject:
    """Return what is left of a run that was begun, on a system as it is now: what it is made of is there."""
    return described, Wanted(plan=plan, environ=options.environ, offline=True, side_by_side=side_by_side)


async def check(
    work: Operation, subjects: Sequence[Subject], *, force: bool = False, known: Collection[Finding] = ()
) -> tuple[Finding, ...]:
    """Look before runs begin, tell what is found (but not again what is ``known``), and return it.

    Raises PreflightError with all that stands in the way, unless it is forced.
    """
    found = (await look(work, subjects)).findings
    if not force:
        # A run that is gone on with has a suite of its own, which doctor is not shown.
        what = "all that was found" if work.options.config is not None else "what else is found of the nodes alone"
        stop(found, hint=f"go on all the same: --force; {what}: {work.options.command('doctor')}")
    before = {_what(each) for each in known}  # amounts are others now
    tell(work, [each for each in found if _what(each) not in before])
    return found


def _what(finding: Finding) -> tuple[object, ...]:
    return finding.code, finding.severity, finding.subject, finding.nodes


def recorded(found: Iterable[Finding], before: Iterable[Mapping[str, Any]] = ()) -> list[Mapping[str, Any]]:
    """Return findings as run.json has them, after those that it has already; none twice."""
    known = list(before)
    told = ({**asdict(each), "nodes": list(each.nodes)} for each in found)
    return [*known, *(each for each in told if each not in known)]


async def require(work: Operation, ready: Workspace, plan: Plan, codes: Collection[str], *tells: str) -> None:
    """Raise PreflightError where what has one of these codes stands in the way; tell what has one of ``tells``.

    Devices are not asked about.
    """
    subject = wanted(work.options, ready, plan, ahead=("prepare",))
    found = (await look(work, [(replace(ready.system, arch="cpu"), subject)])).findings
    stop([each for each in found if each.code in codes])
    for each in found:
        if each.code in tells:
            work.console.note(f"warning: {_line(each)}")


async def look(work: Operation, subjects: Sequence[Subject], total: int | None = None) -> Look:
    """Look at all nodes: for each of several runs, or with None at its machines alone.

    ``total`` is how many nodes there are, where these are not all.
    """
    parts = [preflight.apart(*subject) for subject in subjects]
    nodes = {node.name: node for described, _ in subjects for node in described.nodes}
    asked = {name: _asked(work.options, node, [each.get(name) for each in parts]) for name, node in nodes.items()}
    replies = await work.fleet.ask(asked, "conditions")
    told = {name: reply.get("conditions", {}) for name, reply in replies.items()}
    by_node = {name: list(_judged(told[name], [each.get(name) for each in parts])) for name in nodes}
    found = preflight.together(by_node, total)
    for described, each in subjects:
        found += preflight.compared(described, each)
        found += await containers.findings(work.fleet.ask, described, each, str(work.options.base))
        if each is not None and not any(node.local for node in described.nodes):
            found += await _room(work, each)
    found.sort(key=lambda each: SEVERITIES.index(each.severity))
    known = secrets(work.options.environ)
    return Look(
        findings=tuple(_without_secrets(each, known) for each in dict.fromkeys(found)),
        conditions={node: {name: each[name] for name in each if name not in _OF_RUNS} for node, each in told.items()},
    )


def _asked(options: Options, node: Node, parts: Sequence[Part | None]) -> dict[str, Any]:
    """Return what a node is asked, of the part that it has in each of several runs."""
    runs = [(number, part[1]) for number, part in enumerate(parts) if part is not None and part[1] is not None]
    arches = (part[0].arch for part in parts if part is not None and part[0].arch != "cpu")
    return {
        "arch": next(arches, "cpu"),
        "folders": _folders(options) if node.local else _folders_there(options, node),
        "files": sorted({file for _, each in runs for file in each.tokens}),
        "needed": [] if node.local else sorted(_outside(options, (each for _, each in runs))),
        "environments": {_key(n, name): asdict(once) for n, each in runs for name, once in each.environments.items()},
        "data": {_key(n, name): asdict(once) for n, each in runs for name, once in each.data.items()},
    }


def _judged(told: Mapping[str, Any], parts: Sequence[Part | None]) -> Iterator[Finding]:
    """Yield what follows from what a node tells, for its part in each run."""
    for number, part in enumerate(parts):
        if part is not None:
            yield from preflight.judge(Conditions.of(_of_run(told, number)), *part)


async def _room(work: Operation, wanted: Wanted) -> Iterable[Finding]:
    """Return what is found of the room for what runs write on this machine, which is no node of them."""
    runs = {"runs": _folders(work.options)["runs"]}
    asked = {"arch": "cpu", "folders": runs, "files": [], "environments": {}, "data": {}}
    told = (await work.host.request("conditions", **asked)).get("conditions", {})
    return preflight.room(Conditions.of(told), wanted)


def stop(found: Iterable[Finding], *, hint: str = "") -> None:
    """Raise PreflightError with all that is blocking."""
    stops = [each for each in found if each.severity == "blocking"]
    if stops:
        many = [f"{len(stops)} things stand in the way:"] if len(stops) > 1 else []
        lines = [line for each in stops for line in (_line(each), f"  ({each.consequence})")]
        raise PreflightError("\n".join([*many, *lines, *([hint] if hint else [])]))


def tell(work: Operation, found: Sequence[Finding]) -> None:
    """Tell warnings, a line each, and how many notes there are."""
    for each in found:
        if each.severity != "note":
            work.console.note(f"{'warning' if each.severity == 'warning' else 'in spite of'}: {_line(each)}")
    if notes := sum(each.severity == "note" for each in found):
        many = "a note" if notes == 1 else f"{notes} notes"
        where = "these nodes" if len(work.hosts) > 1 else "this machine"
        work.console.note(f"{many} on {where}: {work.options.command('doctor')}")


def _line(finding: Finding) -> str:
    """Return a finding in a line: what it is, and what to do."""
    end = "" if finding.what.endswith((".", "?", "!")) else "."  # it may be what a program has said
    return f"{finding.what}{end} {finding.remedy[:1].upper()}{finding.remedy[1:]}"


def _folders(options: Options) -> dict[str, str]:
    """Return the folders that are written to, by name."""
    name = options.run_name
    runs = expanded(name).absolute() if name and name[0] in "/.~" else options.base / "runs"
    temporary = options.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - it is only looked at
    kept = {each: str(options.base / each) for each in ("data", "cache")}
    return {"base": str(options.base), "runs": str(runs), **kept, "tmp": temporary}


def _folders_there(options: Options, node: Node) -> dict[str, str]:
    """Return the same for another node, which writes on its own disk first what belongs into the run."""
    temporary = node.environ.get("TMPDIR")
    kept = {each: str(options.base / each) for each in ("data", "cache")}
    spool, small = temporary or "/var/tmp", temporary or "/tmp"  # noqa: S108 - they are only looked at
    return {"base": str(options.base), **kept, "tmp": small, "spool": spool}


def _outside(options: Options, runs: Iterable[Wanted]) -> set[str]:
    """Return the folders that processes start in, but those below the base, which are made by install and prepare."""
    return {folder for each in runs for folder in each.folders if not Path(folder).is_relative_to(options.base)}


def _tokens(options: Options) -> Iterator[str]:
    """Yield the files that a token may be in: first where benchmarks look, then where a login of the user leaves it."""
    environ = options.environ
    caches = environ.get("XDG_CACHE_HOME") or "~/.cache"
    yield environ.get("HF_TOKEN_PATH") or str(options.base / "data" / "token")
    yield str(expanded(environ.get("HF_HOME") or f"{caches}/huggingface") / "token")


def _key(number: int, name: str) -> str:
    """Return what an environment, or data, of one of several runs is called in a request."""
    return f"{number} {name}"


def _of_run(told: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return what was told with the environments and the data of one run, by their own names."""
    own = f"{number} "
    environments = {name: state for name, state in told.get("environments", {}).items() if name.startswith(own)}
    return {
        **told,
        "environments": {name.removeprefix(own): state for name, state in environments.items()},
        "data": [name.removeprefix(own) for name in told.get("data", ()) if name.startswith(own)],
    }


def _without_secrets(finding: Finding, known: Secrets) -> Finding:
    """Return a finding with secrets by name: what to type may hold an override that has one."""
    return replace(
        finding,
        subject=redacted(finding.subject, known),
        what=redacted(finding.what, known),
        consequence=redacted(finding.consequence, known),
        remedy=redacted(finding.remedy, known),
    )
