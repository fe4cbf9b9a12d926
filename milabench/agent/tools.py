"""Asking the vendors' tools, and reading the forms in which they answer."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

_TIMEOUT_S = 20.0
_UNKNOWN = ("", "N/A", "[N/A]", "[Not Found]", "UNKNOWN")


def answer(tool: str, *arguments: str, within_s: float = _TIMEOUT_S) -> str | None:
    """Return what a tool prints; None where it is missing, fails or hangs, which says nothing of the machine."""
    path = shutil.which(tool)
    if path is None:
        return None
    try:
        done = ask(path, *arguments, within_s=within_s)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def ask(
    *argv: str, within_s: float = _TIMEOUT_S, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Return how a tool ended and what it printed; it has nothing to read, and runs ``before`` in its process first.

    Raises OSError, subprocess.TimeoutExpired.
    """
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=within_s,
        check=False,
        preexec_fn=before,  # noqa: PLW1509 - none of ours holds a lock
    )


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


def rocm_cards(document: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return what rocm-smi says in JSON of each card, by its number."""
    return {int(name.removeprefix("card")): card for name, card in document.items() if name.startswith("card")}


def known(said: object) -> str | None:
    """Return a name or a UUID; None where the tool says, in one of its ways, that there is none."""
    return said if isinstance(said, str) and said not in _UNKNOWN else None


def amount(text: str, unit: int = 1) -> int | None:
    """Return an amount in units; None where the tool says it does not know (``[N/A]``)."""
    try:
        return int(float(text) * unit)
    except (ValueError, OverflowError):
        return None
