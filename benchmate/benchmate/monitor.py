"""What voirfiles written for milabench ask for by name."""

from __future__ import annotations

from typing import Any

from benchmate.context import current


def voirfile_monitor(overseer: Any, options: Any) -> None:
    """End the script when it has given as many rates as wanted, for scripts that give their rates to voir themselves.

    Those of an Observer are counted by the Observer. ``options.dash`` and ``options.gpu_poll`` ask for nothing here:
    the runner has a live view of its own, and devices are not watched from within the process that is measured.
    """
    from voir.instruments import early_stop

    context = current()
    observations = context.limit.observations if context.voir else getattr(options, "stop", None)
    if context.rank == 0 and observations:
        wanted = observations + (context.limit.skip if context.voir else 0)
        overseer.require(early_stop(n=wanted, key="rate", task="train", signal="stop"))
