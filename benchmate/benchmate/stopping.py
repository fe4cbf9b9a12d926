"""Ending a program early and well."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from benchmate.context import Context


class StopProgram(SystemExit):
    """End a program early and well: plain Python exits with 0, voir takes it for its own exception of that name."""

    def __new__(cls, value: object = None) -> StopProgram:
        phase = sys.modules.get("voir.phase")
        kind = _also(phase.StopProgram) if phase is not None and cls is StopProgram else cls
        return super().__new__(kind, value)

    def __init__(self, value: object = None) -> None:
        super().__init__(value)  # voir unpacks exactly one argument
        self.code = 0


def end_program(finish: Callable[[], object] = lambda: None) -> NoReturn:
    """End the program early and well: by StopProgram where that reaches the script, else here and now.

    ``finish`` is called before a process ends at once, which runs no ``finally`` and nothing that waits for the exit.
    """
    if _reaches_script():
        raise StopProgram
    finish()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def group_size(context: Context) -> int | None:
    """Return how many ranks a process's group has, 1 where it may end by itself; None for a group of unknown size.

    What the environment does not tell is for torch to say, where the script has made a group by now.
    """
    distributed = sys.modules.get("torch.distributed")
    if context.world_size is None and distributed is not None and distributed.is_available():
        return distributed.get_world_size() if distributed.is_initialized() else None
    return context.world_size


def _reaches_script() -> bool:
    """Say whether what is raised here ends the program.

    In another thread it would end that alone; through JAX, which calls back from within compiled code, it would become
    an error of the computation.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("jax."):
            return False
        frame = frame.f_back
    return True


@functools.cache
def _also(other: type[BaseException]) -> type[StopProgram]:
    return type("StopProgram", (StopProgram, other), {})
