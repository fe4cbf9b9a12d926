"""A plan as text: what would be started, where, and what is skipped."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from milabench.plan.types import Command, Plan


def render(plan: Plan) -> str:
    """Return the plan for a person to read; variables that all its processes share are said once."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    commands = [command for trial in plan.trials for job in trial.jobs for command in job.commands]
    shared = _shared(commands)
    bound = f"at most {plan.time_bound_s / 60:.0f} min"
    yield f"{plan.phase}: {len(plan.trials)} trials, {len(commands)} processes, {bound}"
    yield from _fetched(plan)
    if shared:
        yield "\nin every process"
        yield from _variables(shared)
    for trial in plan.trials:
        deadline_s = max((job.deadline_s or 0.0 for job in trial.jobs), default=0.0)
        yield f"\n{trial.id}" + (f" (ended after {deadline_s:g} s at the latest)" if deadline_s else "")
        for job in trial.jobs:
            for command in job.commands:
                yield from _command(command, shared)
    for skip in plan.skipped:
        yield f"\nskipped {skip.benchmark}: {skip.reason}"


def _fetched(plan: Plan) -> Iterator[str]:
    """Yield a line for each repository: the commit, and the benchmarks that come from it."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for each in plan.fetched:
        names.setdefault((each.git, each.reference, each.commit), []).append(each.benchmark)
    for (url, reference, commit), benchmarks in names.items():
        at = "" if reference.endswith(commit) else f" at commit {commit}"
        yield f"from {url}, {reference}{at}: {', '.join(benchmarks)}"


def _command(command: Command, shared: Mapping[str, str]) -> Iterator[str]:
    devices = f", devices {','.join(map(str, command.devices))}" if command.devices else ""
    yield f"  {command.tag} on {command.node}{devices}"
    yield f"    $ {shlex.join(command.argv)}"
    yield f"    in {command.cwd}"
    yield from _variables({name: value for name, value in command.env.items() if name not in shared})


def _variables(env: Mapping[str, str]) -> Iterator[str]:
    yield from (f"    {name}={shlex.quote(value)}" for name, value in sorted(env.items()))


def _shared(commands: Sequence[Command]) -> dict[str, str]:
    """Return the variables that have the same value in all of several commands."""
    if len(commands) < 2:
        return {}
    first, *others = commands
    return {name: value for name, value in first.env.items() if all(each.env.get(name) == value for each in others)}
