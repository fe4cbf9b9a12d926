"""Ending a program early and well."""

from __future__ import annotations

import functools
import sys


class StopProgram(SystemExit):
    """End a program early and well: plain Python exits with 0, voir takes it for its own exception of that name."""

    def __new__(cls, value: object = None) -> StopProgram:
        phase = sys.modules.get("voir.phase")
        kind = _also(phase.StopProgram) if phase is not None and cls is StopProgram else cls
        return super().__new__(kind, value)

    def __init__(self, value: object = None) -> None:
        super().__init__(value)  # voir unpacks exactly one argument
        self.code = 0


@functools.cache
def _also(other: type[BaseException]) -> type[StopProgram]:
    return type("StopProgram", (StopProgram, other), {})
