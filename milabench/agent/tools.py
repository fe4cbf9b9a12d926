"""Asking the vendors' tools, and reading the forms in which they answer."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from typing import Any

_TIMEOUT_S = 20.0


def answer(tool: str, *arguments: str) -> str | None:
    """Return what a tool prints; None where it is missing, fails or hangs, which says nothing of the machine."""
    path = shutil.which(tool)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def printed(tool: str, *arguments: str) -> str:
    """Return what a tool prints, nothing where it gives no answer."""
    return answer(tool, *arguments) or ""


def rows(output: str, width: int) -> list[list[str]]:
    """Return the rows of a table without heading; lines of another width are no rows."""
    return [row for row in csv.reader(output.splitlines(), skipinitialspace=True) if len(row) == width]


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object, an empty one where the text is none."""
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def amount(text: str, unit: int = 1) -> int | None:
    """Return an amount in units; None where the tool says it does not know (``[N/A]``)."""
    try:
        return int(float(text) * unit)
    except (ValueError, OverflowError):
        return None
