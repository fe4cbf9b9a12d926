"""What of commands is only known when these start: ports, and folders of their own."""

from __future__ import annotations

from dataclasses import replace

from milabench.launchtime import PORT, TEMPORARY
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


def uses_temporary(command: Command) -> bool:
    """Say whether a command is to have a temporary folder of its own."""
    return any(TEMPORARY in text for text in (*command.argv, *command.env.values()))


def without_temporary(command: Command) -> Command:
    """Return a command without what names its temporary folder, for whoever starts it where none is removed."""
    return replace(
        command,
        argv=tuple(word for word in command.argv if TEMPORARY not in word),
        env={name: value for name, value in command.env.items() if TEMPORARY not in value},
    )
