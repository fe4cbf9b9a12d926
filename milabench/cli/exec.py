"""``milabench exec``."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterable
from typing import Any

import click

from milabench.cli.shared import carry_out, connection_options, read_options
from milabench.errors import UsageError
from milabench.streams import abandon

UNREAD = 128 + signal.SIGPIPE  # as shells call the end of a command that prints where nobody reads


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, required=True)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="A node of the system by its name, or user@host:port; repeatable.",
)
@click.option("--slurm", is_flag=True, help="The nodes of the Slurm allocation that this is run in.")
@click.option(
    "--system", metavar="FILE", help="A system file: all its nodes where no --host is given. [MILABENCH_SYSTEM]"
)
@click.option("--cwd", metavar="DIR", default="", help="A folder of the nodes, from one's home there if relative.")
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="A variable for the command; without a value the one it has here. Repeatable.",
)
@click.option(
    "--timeout", "limit_s", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="End it then."
)
@connection_options
def exec_(argv: tuple[str, ...], **values: Any) -> int:
    """Run a command on nodes at the same time; what stands after `--` arrives there word for word, without a shell.

    \b
    milabench exec --host n1 --host bench@10.0.0.2:2222 -- nvidia-smi -L
    milabench exec --system cluster.yaml -- sh -c 'df -h "$HOME"'

    Each line of several nodes begins with the node's name. The exit code is that of the command, the worst of several:
    128 and the number of a signal, 127 where it cannot be started, 124 after --timeout; 4 where a node cannot be used.
    Where nobody reads on (`| head -1`) it is ended, which is 141.
    """
    from milabench.app.exec import Wanted
    from milabench.app.exec import exec_ as flow
    from milabench.console import Console

    if not values["hosts"] and not values["slurm"] and not (values["system"] or os.environ.get("MILABENCH_SYSTEM")):
        raise UsageError("where? give --host with a node or an address, --system with a file, or --slurm")
    if not argv[0]:
        raise UsageError(
            "which command? its first word, the program, is empty: a variable of your shell that is not set?"
        )
    if re.match("~[^/]", values["cwd"]):
        raise UsageError(f"--cwd {values['cwd']}: ~ alone is known, your home there: give this folder in full")
    wanted = Wanted(
        argv=argv,
        hosts=values["hosts"],
        slurm=values["slurm"],
        cwd=values["cwd"],
        env=dict(_variables(values["variables"])),
        limit_s=values["limit_s"],
    )
    return carry_out(flow(read_options(values), Console(quiet=False), wanted, _show))


def _variables(given: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in given:
        name, equals, value = text.partition("=")
        if not name or (not equals and name not in os.environ):
            raise UsageError(f"--env {text}: give NAME=VALUE, or the NAME of a variable that is set here")
        yield name, value if equals else os.environ[name]


def _show(name: str, content: bytes, is_error: bool) -> None:
    del name
    stream = sys.stderr if is_error else sys.stdout
    try:
        stream.buffer.write(content)
        stream.buffer.flush()
    except BrokenPipeError:
        abandon(stream)
        raise click.exceptions.Exit(UNREAD) from None
