"""A plan as JSON (documented, versioned, additions only) and back, and as a shell script to read or to run by hand."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from milabench.agent import container as containers
from milabench.agent.container import Container, Inside
from milabench.errors import RunDirError
from milabench.plan import decode
from milabench.plan.launchtime import with_port, without_temporary
from milabench.plan.types import Command, Fetched, Job, Once, Plan, Ranks, Size, Skip, Staged, Trial
from milabench.suite.types import Limit, Ready

VERSION = 1
_USER, _USERNS = "USER:GROUP", "MAPPING"  # known where the script runs
_CONTAINERS = (
    "# Each process is in a container of its own, whose files belong to whoever runs this.",
    'user="$(id -u):$(id -g)"; if [ "$(id -u)" = 0 ]; then userns=host; else userns=keep-id; fi',
)
_HEAD = (
    "#!/bin/sh",
    "# Processes of one trial run at the same time; a blank line ends a trial.",
    "# Time limits are not part of this script: only `milabench run` ends what takes too long.",
    "set -e",
)


def lines(plan: Plan) -> Iterator[str]:
    """Yield the JSON text that ``milabench plan --format json`` prints, in pieces: it can be larger than the plan.

    Each trial and each configuration has a line, so that two plans can be compared line by line.
    """
    yield f'{{"version": {VERSION}'
    for name in _FIELDS[Plan]:
        yield f",\n{json.dumps(name)}: "
        yield from _listed(getattr(plan, name))
    yield f',\n"time_bound_s": {json.dumps(plan.time_bound_s)}}}\n'


def lines_of_runs(runs: Iterable[tuple[str, Mapping[str, Any], Plan]]) -> Iterator[str]:
    """Yield the plans of a multirun as JSON text, of each the name of its run and the values of its options."""
    yield f'{{"version": {VERSION},\n"runs": ['
    for number, (name, values, plan) in enumerate(runs):
        yield f'{"," if number else ""}\n{{"name": {json.dumps(name)}, "options": {json.dumps(values)}, "plan": '
        yield from lines(plan)
        yield "}"
    yield "\n]}\n"


def _listed(value: Any) -> Iterator[str]:
    """Yield a value as JSON text, each item of a list or a map on a line of its own."""
    if isinstance(value, Mapping):
        brackets, items = "{}", (f"{json.dumps(key)}: {_text(item)}" for key, item in value.items())
    elif isinstance(value, tuple):
        brackets, items = "[]", (_text(item) for item in value)
    else:
        yield json.dumps(value)
        return
    yield brackets[0]
    for number, text in enumerate(items):
        yield f",\n{text}" if number else f"\n{text}"
    yield brackets[1]


def from_json(document: object) -> Plan:
    """Return the plan of such a mapping. Raises RunDirError for another version, and for what is missing or wrong."""
    version = document.get("version") if isinstance(document, Mapping) else None
    if version != VERSION:
        raise RunDirError(f"a plan of version {version!r}: this milabench reads version {VERSION}")
    try:
        return decode.read(Plan, document)
    except decode.Wrong as error:
        raise RunDirError(f"the plan is damaged: {error}") from None


def to_shell(plan: Plan) -> str:
    """Return the plan as a shell script: one line per process, with its variables and working directory."""
    return "\n".join([*_HEAD, *_shell_lines(plan)]) + "\n"


def to_shells(runs: Sequence[tuple[str, Plan]]) -> str:
    """Return the plans of a multirun as one shell script, each under its title."""
    body = (line for title, plan in runs for line in ("", f"# {title}", *_shell_lines(plan)))
    return "\n".join([*_HEAD, *body]) + "\n"


def _shell_lines(plan: Plan) -> Iterator[str]:
    nodes = {command.node for trial in plan.trials for command in trial.commands}
    if any(command.container for trial in plan.trials for command in trial.commands):
        yield from _CONTAINERS
    for trial in plan.trials:
        yield from ("", f"# {trial.id}")
        for job in trial.jobs:
            parallel = len(job.commands) > 1 and not job.sequence
            for node, commands in itertools.groupby(job.commands, lambda command: command.node):
                yield from [f"# on {node}"] if len(nodes) > 1 else []
                yield from (_shell_line(command) + (" &" if parallel else "") for command in commands)
            yield from ["wait"] if parallel else []


def _shell_line(command: Command) -> str:
    command = without_temporary(with_port(command, None))
    env, argv = command.env, shlex.join(command.argv)
    if command.container is not None:
        env, argv = _contained(command, command.container)
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
    return f"(cd {shlex.quote(command.cwd)} && env {given} {argv})"


def _contained(command: Command, container: Container) -> tuple[Mapping[str, str], str]:
    """Return the variables of the program that starts a command's container, and its words as a shell takes them."""
    env = containers.said({}, command.env, container.base)
    inside = Inside(argv=command.argv, cwd=command.cwd, env=env, user=_USER, userns=_USERNS)
    words = shlex.join(containers.started(container, inside, lambda _: None))
    for word, variable in ((_USER, "user"), (_USERNS, "userns")):
        words = words.replace(f"={word} ", f'="${variable}" ')
    return containers.environ(container, inside, {}), words


def _as_mapping(value: Any) -> dict[str, Any]:
    """Return a frozen value of plan/types.py as JSON has it; tuples and mappings are JSON to the encoder."""
    return {name: getattr(value, name) for name in _FIELDS[type(value)]}


_FIELDS = {
    kind: tuple(field.name for field in fields(kind))
    for kind in (Plan, Trial, Job, Command, Container, Ready, Ranks, Once, Staged, Skip, Limit, Fetched, Size)
}
_text = json.JSONEncoder(default=_as_mapping).encode
