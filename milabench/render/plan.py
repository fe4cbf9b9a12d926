"""A plan as text: what would be started, where, and what is skipped. What processes share is said once."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from milabench.plan.types import Command, Job, Plan, Trial


def render(plan: Plan) -> str:
    """Return the plan for a person to read.

    Variables that all processes have are at the top; what the processes of a job share stands above them, and each has
    a line with what is its own. Only configurations, and what the records of what is done hold, are left to JSON.
    """
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    commands = [command for trial in plan.trials for job in trial.jobs for command in job.commands]
    shared = _shared(commands) if len(commands) > 1 else {}
    bound = f"at most {plan.time_bound_s / 60:.0f} min ({plan.time_bound_s:.0f} s)"
    yield f"{plan.phase}: {len(plan.trials)} trials, {len(commands)} processes, {bound}"
    yield from _fetched(plan)
    if shared:
        yield "\nin every process"
        yield from _variables(shared)
    for trial in plan.trials:
        for number, job in enumerate(trial.jobs, 1):
            yield f"\n{_heading(trial, job, number)}"
            yield from _job(job, shared)
    for skip in plan.skipped:
        yield f"\nskipped {skip.benchmark}: {skip.reason}"
    for size in plan.sizes:
        if size.reason:
            other = "" if size.batch_size == size.default else f" instead of {size.default}"
            where = f" on {size.node}" if size.node else ""
            yield f"\nbatch size of {size.benchmark}{where}: {size.batch_size}{other} ({size.reason})"
    for note in plan.notes:
        yield f"\nunpinned: {note} is installed as written"


def _fetched(plan: Plan) -> Iterator[str]:
    """Yield a line for each repository: the commit, and the benchmarks that come from it."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for each in plan.fetched:
        names.setdefault((each.git, each.reference, each.commit), []).append(each.benchmark)
    for (url, reference, commit), benchmarks in names.items():
        at = "" if reference.endswith(commit) else f" at commit {commit}"
        yield f"from {url}, {reference}{at}: {', '.join(benchmarks)}"


def _heading(trial: Trial, job: Job, number: int) -> str:
    facts = [f"job {number} of {len(trial.jobs)}"] if len(trial.jobs) > 1 else []
    if len(job.commands) > 1:
        facts.append(f"{len(job.commands)} processes" + (", one after the other" if job.sequence else ""))
    if job.deadline_s is not None:
        facts.append(f"ended after {job.deadline_s:g} s at the latest")
    return trial.id + (f" ({', '.join(facts)})" if facts else "")


def _job(job: Job, shared: Mapping[str, str]) -> Iterator[str]:
    alike = len({command.argv for command in job.commands}) == 1
    together = len({command.cwd for command in job.commands}) == 1
    alike_contained = len({command.container for command in job.commands}) == 1
    common = _shared(job.commands)
    if any(command.metrics != "none" for command in job.commands):
        yield f"    {_stop(job)}"
    yield from (
        f"    {staged.target} from {staged.source}{', made anew' if staged.fresh else ''}" for staged in job.staged
    )
    if job.once:
        yield f"    recorded in {job.once.record}" + ("" if job.once.always else ", and not done again")
    if alike:
        yield f"    $ {shlex.join(job.commands[0].argv)}"
    if together:
        yield f"    in {job.commands[0].cwd}"
    if alike_contained:
        yield from _container(job.commands[0])
    yield from _variables({name: value for name, value in common.items() if name not in shared})
    yield from (f"    {name} from your environment" for name in job.secrets)
    for command in job.commands:
        yield _process(job, command, {name: value for name, value in command.env.items() if name not in common})
        if not alike:
            yield f"    $ {shlex.join(command.argv)}"
        if not together:
            yield f"    in {command.cwd}"
        if not alike_contained:
            yield from _container(command)


def _container(command: Command) -> Iterator[str]:
    container = command.container
    if container is None:
        return
    args = f" {shlex.join(container.args)}" if container.args else ""
    digest = f" ({container.digest})" if container.digest else ""
    folders = ", ".join((container.base, *container.folders))
    yield f"    in a container of {container.image}{digest} by {container.executable}{args}, with {folders}"
    if container.arch != "cpu":
        yield f"    and the devices of {container.arch}"


def _stop(job: Job) -> str:
    limit = job.limit
    amounts = [f"{limit.observations} observations"] if limit.observations is not None else []
    amounts += [f"{limit.seconds:g} s"] if limit.seconds is not None else []
    amounts += [f"± {100 * limit.precision:g} %"] if limit.precision is not None else []
    who = "ends itself" if job.stop == "self" else "is ended"
    end = f"{who} after {' or '.join(amounts)}" if amounts else "measures to its own end"
    return f"{end}, {limit.skip} observations of warm-up not counted"


def _process(job: Job, command: Command, own: Mapping[str, str]) -> str:
    facts = [f"{command.tag} on {command.node}"]
    if command.devices:
        facts.append(f"device{'s' if len(command.devices) > 1 else ''} {','.join(map(str, command.devices))}")
    if any(each.rank for each in job.commands):
        facts.append(f"rank {command.rank}")
    if command.metrics == "stdout":
        facts.append("metrics on its output")
    if command.metrics == "none" and any(each.metrics != "none" for each in job.commands):
        facts.append("no metrics")
    if command.service:
        facts.append("serves the others")
    variables = " ".join(_assigned(own))
    return f"  {', '.join(facts)}" + (f": {variables}" if variables else "")


def _variables(env: Mapping[str, str]) -> Iterator[str]:
    yield from (f"    {text}" for text in _assigned(env))


def _assigned(env: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{name}={shlex.quote(value)}" for name, value in sorted(env.items()))


def _shared(commands: Sequence[Command]) -> dict[str, str]:
    """Return the variables that have the same value in all the commands."""
    first, *others = commands
    return {name: value for name, value in first.env.items() if all(each.env.get(name) == value for each in others)}
