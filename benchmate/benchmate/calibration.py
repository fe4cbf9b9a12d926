"""How often a short operation is repeated so that an observation is long enough to be timed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from benchmate.device import Accelerator

OBSERVATION_S: Final = 0.04  # long enough for the scheduler's noise, short enough for 60 of them
CALIBRATION_S: Final = 0.02


def seconds_each(
    run: Callable[[], object], accelerator: Accelerator, agree: Callable[[float], float] = lambda seconds: seconds
) -> float:
    """Return the time of one call: of as many as fill CALIBRATION_S, after one that does not count.

    ``agree`` returns the time that all ranks of a group decide by, so that they make the same number of calls; it is
    called before every measurement too, when none may go on before all are there.
    """
    run()
    calls = 1
    while True:
        accelerator.synchronize()
        agree(0.0)
        start_ns = time.monotonic_ns()
        for _ in range(calls):
            run()
        accelerator.synchronize()
        taken = agree((time.monotonic_ns() - start_ns) / 1e9)
        if taken >= CALIBRATION_S:
            return taken / calls
        calls *= 2


def calls_per_observation(each_s: float) -> int:
    """Return how many calls of that many seconds make an observation."""
    return max(1, math.ceil(OBSERVATION_S / each_s))
