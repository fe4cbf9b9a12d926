"""``milabench resolve``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from milabench.cli.shared import bundle_option, read_options, suite_options
from milabench.errors import ExitCode


@click.command()
@click.argument("benchmarks", nargs=-1, metavar="[BENCH]...")
@suite_options
@bundle_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def resolve(benchmarks: tuple[str, ...], as_json: bool, **values: Any) -> int:
    """Print a suite with all it includes, inherits, refers to and combines worked out, as a suite of its own.

    \b
    milabench resolve --config standard > flat.yaml
    milabench plan --config flat.yaml               the same processes

    All benchmarks, or those that are named (disabled ones too) or selected. Placeholders such as {cpu_count} stay: they
    need a system.
    """
    from milabench.app.reading import resolved as flow
    from milabench.document import dump

    suite = flow(read_options(values), benchmarks)
    if as_json:
        sys.stdout.write(json.dumps(suite, indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(dump({name: entry}) for name, entry in suite.items()))
    return ExitCode.OK
