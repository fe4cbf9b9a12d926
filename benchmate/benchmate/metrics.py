"""What scripts written for milabench report their metrics with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TextIO

from benchmate import reported
from benchmate.stopping import StopProgram

__all__ = ["StopProgram", "file_push", "give_push", "is_running_with_voir", "sumggle_push"]

Push = Callable[..., None]


def give_push() -> Push:
    """Return a function that reports what it is called with, by name: to voir's instruments too, where there are any.

    The suite's limit counts the rates among them (``push(rate=…, units=…, task="train")``) and ends the program.
    """

    def push(**data: Any) -> None:
        overseer = _overseer()
        if overseer is None:
            reported.here().push(data)
        else:
            overseer.give(**data, **{reported.METRIC: True})

    return push


def sumggle_push() -> Push:
    """Return the same without voir's instruments: metrics have a file of their own and hide in no other output."""
    return lambda **data: reported.here().push(data)


def file_push(fp: TextIO | None = None) -> Push:
    """Return a function that prints what it is called with as a line of JSON, which a `command:` of a suite may."""

    def push(**data: Any) -> None:
        stream = sys.stdout if fp is None else fp
        stream.write(json.dumps({"task": "train", **data}) + "\n")
        stream.flush()  # it is timed as it arrives

    return push


def is_running_with_voir() -> bool:
    return _overseer() is not None


def _overseer() -> Any:
    helpers = sys.modules.get("voir.helpers")
    return None if helpers is None else helpers.current_overseer.get()
