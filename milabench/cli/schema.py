"""``milabench schema``."""

from __future__ import annotations

import json
import sys

import click

from milabench.errors import ExitCode


@click.command()
@click.option("--system", "of_system", is_flag=True, help="Of system files instead of suites.")
def schema(of_system: bool) -> int:
    """Print the JSON Schema of suite files, for editors: it describes, completes and checks what you type.

    \b
    milabench schema > suite.schema.json
    # yaml-language-server: $schema=suite.schema.json      (first line of a suite)
    """
    from milabench.reference import schema as made

    document = made.system() if of_system else made.suite()
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return ExitCode.OK
