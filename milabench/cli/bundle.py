"""``milabench bundle-env``."""

from __future__ import annotations

from typing import Any

import click

from milabench.cli.shared import arch_option, carry_out, quiet_option, read_options, suite_options
from milabench.paths import expanded


@click.command("bundle-env")
@suite_options
@arch_option
@click.option("--output", "-o", required=True, metavar="FILE.tar", help="Where to write it.")
@click.option("--data", is_flag=True, help="Pack the data too that `milabench prepare` has made.")
@quiet_option
def bundle_env(output: str, data: bool, **values: Any) -> int:
    """Pack a suite for a machine without a network: its packages, benchmarks, repositories and, if asked, data.

    There `milabench run --all --bundle FILE.tar` does the rest. What is packed is for this machine's kind of processor
    and Python.
    """
    from milabench.app.bundle import pack as flow
    from milabench.console import Console

    target = expanded(output).absolute()
    return carry_out(flow(read_options(values), Console(quiet=values["quiet"]), target, with_data=data))
