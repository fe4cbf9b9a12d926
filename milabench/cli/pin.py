"""``milabench pin``."""

from __future__ import annotations

from typing import Any

import click

from milabench.cli.shared import arch_option, carry_out, read_options, suite_options


@click.command()
@suite_options
@arch_option
@click.option("--hashes", is_flag=True, help="Write the hashes of the files too (cuda only).")
@click.option("--upgrade", is_flag=True, help="Take the newest versions instead of keeping those of the locks.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but failures.")
def pin(hashes: bool, upgrade: bool, **values: Any) -> int:
    """Lock the requirements of the suite's benchmarks for a vendor: requirements.ARCH.txt beside requirements.in."""
    from milabench.app.pin import pin as flow
    from milabench.console import Console

    return carry_out(flow(read_options(values), Console(quiet=values["quiet"]), hashes=hashes, upgrade=upgrade))
