"""``milabench dev``."""

from __future__ import annotations

import os
from typing import Any

import click

from milabench.cli.shared import bundle_option, carry_out, dev_options, read_options
from milabench.errors import PreflightError


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("bench")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@dev_options
@bundle_option
def dev(bench: str, command: tuple[str, ...], **values: Any) -> None:
    """Open a shell, or run a command, as a process of BENCH sees the world: environment, variables, devices, folder.

    \b
    milabench dev bert
    milabench dev bert -- python main.py --help

    Without --config the suite is the first of ./config/*.yaml and of those milabench brings that has BENCH.
    Options before `--` are milabench's.
    """
    from milabench.app.dev import dev as flow
    from milabench.console import Console

    session = carry_out(flow(read_options(values), Console(quiet=False), bench, command))
    os.chdir(session.cwd)
    try:
        os.execvpe(session.argv[0], session.argv, session.env)  # noqa: S606 - the command is the user's own
    except OSError as error:
        raise PreflightError(f"{session.argv[0]} cannot be started in {session.cwd}: {error.strerror}") from None
