"""``milabench explain``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from milabench.cli.shared import bundle_option, read_options, reading_options


@click.command()
@click.argument("target", metavar="BENCH[.KEY]")
@reading_options
@bundle_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def explain(target: str, as_json: bool, **values: Any) -> int:
    """Show each value of a benchmark, or of the system, with the file and line that set it, through every layer.

    \b
    milabench explain resnet50.argv.--lr --config mine.yaml
    milabench explain system.options.sizer --system cluster.yaml
    """
    from milabench.app.reading import explain as flow
    from milabench.render import explain as page

    found = flow(read_options(values), target)
    sys.stdout.write(json.dumps(page.as_json(found), indent=1) + "\n" if as_json else page.render(found))
    return 0
