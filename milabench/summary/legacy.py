"""What releases of milabench before this one wrote into the event files of their runs, read as events of today.

From 2023-03 on a line is ``{"event", "data", "pipe"}``, in ``<tag>.data``. Before, it was the values themselves, those
of the runner under names with ``#`` (``#config``, ``#start``, ``#end``, ``#return_code``), in ``<tag>.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

# Kinds of events that say nothing a summary counts: logs, descriptions of the machine, marks of time.
SILENT: Final = frozenset(
    {"line", "binary", "meta", "phase", "note", "hello", "start-task", "end-task", "overseer_error", "message"}
)
_decode: Final = json.JSONDecoder().raw_decode
_RAISED: Final = re.compile(r"^(?:\[[^]]*\]:? )*(?P<error>(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit): \S.*)")
_TELLS: Final = re.compile(rb"(?:Error|Exception|Interrupt|Exit): ")
_DEADLINE: Final = re.compile(r"Terminating process because it ran for longer than \S+ seconds")


def is_setup(config: Mapping[str, Any]) -> bool:
    """Say whether a config is that of the commands milabench ran for itself, such as to copy files to a node."""
    return config.get("name") in ("setup", "remote") and config.get("definition") == "."


def is_hashed(line: Mapping[str, Any]) -> bool:
    """Say whether a line is one of the first releases' own."""
    return any(key.startswith("#") for key in line)


def events(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a line of the first releases: what the runner said, else the values as data."""
    if isinstance(line.get("#config"), dict):
        yield {"event": "config", "data": line["#config"]}
    if "#start" in line:
        yield {"event": "start", "data": {"time": line["#start"]}}
    if "#error" in line:
        yield {"event": "error", "data": _raised(line["#error"])}
    if "#end" in line:
        yield {"event": "end", "data": {"time": line["#end"], "return_code": line.get("#return_code", "ERROR")}}
    for pipe in ("stdout", "stderr"):
        if f"#{pipe}" in line:
            yield {"event": "line", "data": line[f"#{pipe}"], "pipe": pipe}
    values = {key: value for key, value in line.items() if not key.startswith("#")}
    if values:
        yield {"event": "data", "data": values}


def _raised(told: object) -> dict[str, Any]:
    """Return an error as it is told today; it was told as ``type: message``."""
    kind, _, message = str(told).partition(": ")
    return {"type": kind, "message": message}


def records(text: str) -> list[dict[str, Any]]:
    """Return the whole records on a line that is none: two that were glued together, or one after another's cut half.

    Only objects that say which event they are: a piece of another record could be anything.
    """
    found: list[dict[str, Any]] = []
    at = text.find('{"event": ')
    while at >= 0:
        try:
            value, end = _decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(value, dict) and "data" in value:
                found.append(value)
        at = text.find('{"event": ', end)
    return found


def rates_in(text: object) -> int:
    """Return how many train rates stand in a text that milabench could not take apart (``format_error``)."""
    return len(re.findall(r'"(?:train_)?rate": ', text)) if isinstance(text, str) else 0


def tells_error(line: bytes) -> bool:
    """Say whether a line may tell an error: looked for in thousands of lines that are not decoded otherwise."""
    return _TELLS.search(line) is not None


def last_words(line: Mapping[str, Any]) -> str:
    """Return the error that an event ``line`` of standard error tells (``KeyError: 'x'``); empty: it tells none."""
    told = _RAISED.match(line["data"].strip()) if isinstance(line.get("data"), str) else None
    return told["error"][:200] if told and line.get("pipe") == "stderr" else ""


def is_deadline(message: str) -> bool:
    """Say whether a message of milabench says that it ended a process at ``max_duration``."""
    return _DEADLINE.match(message) is not None
