"""``milabench resume``."""

from __future__ import annotations

from typing import Any

import click

from milabench.cli.shared import base_option, carry_out, connection_options, quiet_option, read_options, show_run
from milabench.errors import UsageError


@click.command()
@click.argument("run", metavar="[RUN]", required=False)
@base_option
@click.option("--failed", is_flag=True, help="Run again what failed, too.")
@click.option("--force", is_flag=True, help="Go on although the machine or an environment has changed.")
@click.option(
    "--other-nodes",
    is_flag=True,
    help="Nodes that are not there are replaced by others, of the Slurm allocation or of --system.",
)
@click.option("--system", metavar="FILE", help="With --other-nodes: a system file of the nodes to go on on.")
@connection_options
@quiet_option
def resume(**values: Any) -> int:
    """Go on with a run that was cut off, by its folder or name; the newest by default.

    What has ended is kept. What was under way is run again, from its beginning; what was measured of it then is kept
    aside, in the run's folder attempts/.
    """
    from milabench.app.resume import Resumed
    from milabench.app.resume import resume as flow
    from milabench.console import Console

    if values["system"] and not values["other_nodes"]:
        raise UsageError("--system goes with --other-nodes: without that a run goes on on the nodes it was begun on")
    console, options = Console(quiet=values["quiet"]), read_options(values)
    names = ("failed", "force", "other_nodes")
    asked = Resumed(name=values["run"], **{name: values[name] for name in names})
    return int(carry_out(flow(asked, options, console, show_run)))
