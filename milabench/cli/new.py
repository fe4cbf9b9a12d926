"""``milabench new``."""

from __future__ import annotations

from pathlib import Path

import click

from milabench.app.new import TEMPLATES


@click.command()
@click.argument("name")
@click.option(
    "--template",
    type=click.Choice(list(TEMPLATES)),
    default="simple",
    show_default=True,
    help="simple: a loop and its Observer. inference: throughput and latency, by a Session. voir: a script measured"
    " without touching it. stdout: metrics printed as JSON lines. multi-gpu, multi-node: data-parallel training under"
    " torchrun.",
)
def new(name: str, template: str) -> int:
    """Start a benchmark: write benchmarks/NAME/ and config/NAME.yaml here, ready to run."""
    from milabench.app.new import new as flow

    here = Path.cwd()
    for path in flow(name, template, here):
        print(path.relative_to(here))
    print(f"\nrun it:  milabench run --all --config config/{name}.yaml")
    return 0
