"""``milabench plan``."""

from __future__ import annotations

import sys
from typing import Any

import click

from milabench.cli.shared import read_options, suite_options
from milabench.errors import UsageError
from milabench.system.types import ARCHES


@click.command()
@suite_options
@click.option("--phase", type=click.Choice(["install", "prepare", "run"]), default="run", show_default=True)
@click.option("--arch", type=click.Choice(ARCHES), help="Plan for this architecture.")
@click.option("--gpus", type=click.IntRange(0), help="Plan for this many devices a node.")
@click.option("--nodes", type=click.IntRange(1), help="Plan for this many nodes.")
@click.option("--gpu-memory", metavar="SIZE", help="Memory of a device: 80GiB.")
@click.option("--cpus", type=click.IntRange(1), help="Cores of a node.")
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True)
@click.option("--format", "form", type=click.Choice(["text", "json", "sh"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
def plan(phase: Any, form: str, as_json: bool, gpu_memory: str | None, **values: Any) -> int:
    """Show every process that would be started, for this machine or one you describe. Changes nothing."""
    from milabench.app.reading import plan as flow
    from milabench.plan import codec
    from milabench.render.plan import render

    memory = {"gpu_memory": _bytes(gpu_memory)} if gpu_memory else {}
    made = flow(read_options({**values, **memory}), phase)
    if as_json or form == "json":
        sys.stdout.writelines(codec.lines(made))
    else:
        sys.stdout.write(codec.to_shell(made) if form == "sh" else render(made))
    return 0


def _bytes(text: str) -> int:
    from milabench import expression
    from milabench.tokens import ExpressionError

    try:
        return expression.size(text)
    except ExpressionError as error:
        raise UsageError(f"--gpu-memory: {error}") from None
