"""The ports of commands that are only known when these start: ``${port:29400}`` stands for one."""

from __future__ import annotations

from dataclasses import replace

from milabench.launchtime import PORT
from milabench.plan.types import Command


def lowest_port(command: Command) -> int | None:
    """Return the lowest port that a command may be given, None where it asks for none."""
    found = next(filter(None, map(PORT.search, (*command.argv, *command.env.values()))), None)
    return None if found is None else int(found[1])


def with_port(command: Command, port: int | None) -> Command:
    """Return a command with its port in the token's place; None: the lowest, which may be taken by others."""
    if lowest_port(command) is None:
        return command

    def put(text: str) -> str:
        return PORT.sub(lambda found: str(port or found[1]), text)

    return replace(
        command,
        argv=tuple(map(put, command.argv)),
        env={name: put(value) for name, value in command.env.items()},
    )
