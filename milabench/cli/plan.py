"""``milabench plan``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from milabench.cli.shared import bundle_option, read_options, repeat_option, suite_options
from milabench.errors import UsageError
from milabench.system.types import ARCHES

if TYPE_CHECKING:
    from milabench.app.multirun import Asked
    from milabench.plan import Plan


@click.command()
@suite_options
@bundle_option
@click.option("--phase", type=click.Choice(["install", "prepare", "run"]), default="run", show_default=True)
@click.option("--arch", type=click.Choice(ARCHES), help="Plan for this architecture.")
@click.option("--gpus", type=click.IntRange(0), help="Plan for this many devices a node.")
@click.option("--nodes", type=click.IntRange(1), help="Plan for this many nodes.")
@click.option("--gpu-memory", metavar="SIZE", help="Memory of a device: 80GiB.")
@click.option("--cpus", type=click.IntRange(1), help="Cores of a node.")
@repeat_option
@click.option("--format", "form", type=click.Choice(["text", "json", "sh"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
def plan(phase: Any, form: str, as_json: bool, gpu_memory: str | None, **values: Any) -> int:
    """Show every process that would be started, for this machine or one you describe. Changes nothing."""
    from milabench.app.reading import plans

    memory = {"gpu_memory": _bytes(gpu_memory)} if gpu_memory else {}
    made = plans(read_options({**values, **memory}), phase)
    sys.stdout.writelines(_written(made, "json" if as_json else form))
    return 0


def _written(made: Sequence[tuple[Asked, Plan]], form: str) -> Iterator[str]:
    """Yield the text of the one plan, or with a multirun that of each of its runs under a heading."""
    from milabench.plan import codec
    from milabench.render.plan import render

    plan, several = made[0][1], made[0][0].variation is not None
    match form:
        case "json" if several:
            yield from codec.lines_of_runs((each.name, each.values, plan) for each, plan in made)
        case "json":
            yield from codec.lines(plan)
        case "sh":
            yield codec.to_shells([(each.title, plan) for each, plan in made]) if several else codec.to_shell(plan)
        case _ if several:
            for number, (each, plan) in enumerate(made, 1):
                yield f"{'' if number == 1 else chr(10)}run {number} of {len(made)}, {each.title}\n\n{render(plan)}"
        case _:
            yield render(plan)


def _bytes(text: str) -> int:
    from milabench import expression
    from milabench.tokens import ExpressionError

    try:
        return expression.size(text)
    except ExpressionError as error:
        raise UsageError(f"--gpu-memory: {error}") from None
