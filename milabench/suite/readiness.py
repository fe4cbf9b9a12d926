"""The keys of ``server.ready``: what a client waits for, and how long."""

from __future__ import annotations

from collections.abc import Mapping

from milabench.keys import Key

WITHIN = Key(
    kind="time",
    meaning="Time from its start within which it must be ready; one that is not counts as failed.",
    default=60,
    example="server: {ready: {port: 8000, within: 2m}}",
)
READY: Mapping[str, Key] = {
    "port": Key(
        kind="whole",
        meaning="Ready when this port of its node takes connections.",
        least=1,
        most=65535,
        example="server: {ready: {port: 8000}}",
    ),
    "url": Key(
        kind="text",
        meaning="Ready when this address, asked for on its node, answers well (200 to 399). Placeholders may stand "
        "in it.",
        example="server: {ready: {url: 'http://localhost:8000/health'}}",
    ),
    "file": Key(
        kind="text",
        meaning="Ready when this file is there, on its node; relative to the folder the server is started in. "
        "Placeholders may stand in it.",
        example="server: {ready: {file: '{milabench_extra}/server.ready'}}",
    ),
    "log": Key(
        kind="text",
        meaning="Ready when a line that it prints has what this regular expression looks for.",
        example="server: {ready: {log: 'startup complete'}}",
    ),
    "within": WITHIN,
}
