"""``milabench check`` and ``milabench list``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from milabench.amounts import many
from milabench.cli.shared import bundle_option, read_options, suite_options
from milabench.errors import ExitCode, Problem


@click.command()
@suite_options
@bundle_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def check(as_json: bool, **values: Any) -> int:
    """Find all mistakes in a suite and a system, or in a system file alone. Exit code 2 when there are any."""
    from milabench.app.reading import check as flow

    found, errors, warnings = flow(read_options(values))
    if as_json:
        document = {"version": 1, "errors": _as_json(errors), "warnings": _as_json(warnings)}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        for warning in warnings:
            print(f"warning {warning.code}: {warning}", file=sys.stderr)
        for error in errors:
            print(f"error {error.code}: {error}", file=sys.stderr)
        good = f"ok: {many(len(found.benchmarks), 'benchmark')}" if found else "ok"
        print(f"{many(len(errors), 'error') if errors else good}, {many(len(warnings), 'warning')}")
    return ExitCode.USAGE if errors else ExitCode.OK


@click.command(name="list")
@suite_options
@bundle_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_(as_json: bool, **values: Any) -> int:
    """List the benchmarks of a suite that would be run."""
    from milabench.app.reading import listed

    rows = listed(read_options(values))
    if as_json:
        sys.stdout.write(json.dumps({"version": 1, "benchmarks": rows}, indent=1) + "\n")
        return ExitCode.OK
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        about = f"{row['group']:<12}  {row['plan']:<8}  weight {row['weight']:g}"
        print(f"{row['name']:<{width}}  {about}  {', '.join(row['tags'])}")
    return ExitCode.OK


def _as_json(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [
        {
            "file": problem.mark.file if problem.mark else None,
            "line": problem.mark.line if problem.mark else None,
            "column": problem.mark.column if problem.mark else None,
            "path": problem.path,
            "code": problem.code,
            "message": problem.message,
            "suggestion": problem.suggestion,
        }
        for problem in problems
    ]
