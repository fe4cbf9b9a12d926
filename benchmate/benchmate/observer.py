"""The Observer under the name and with the arguments that scripts written for milabench use."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from benchmate.batches import Count
from benchmate.context import Limit, current
from benchmate.observe import Observer

T = TypeVar("T")


class BenchObserver(Observer):
    """An Observer; the suite's limit counts, and ``earlystop`` only where no suite gives one.

    ``batch_size_fn`` counts the items of a batch. After a backward pass ``backward_callback`` is called, after a step
    of the optimizer ``step_callback`` (a lazy device gathers work until it is told to start). ``rank`` names the
    process where the environment does not (a script that starts its ranks itself). The others are accepted and decided
    here: events come from the process's own accelerator, metrics go to the process's own file, and the program ends by
    ``StopProgram`` when enough is measured.
    """

    def __init__(  # noqa: PLR0913 - milabench's signature
        self,
        event_fn: object = None,
        *,
        earlystop: int | None = None,
        batch_size_fn: Count | None = None,
        backward_callback: Callable[[], object] | None = None,
        step_callback: Callable[[], object] | None = None,
        raise_stop_program: bool = True,
        stdout: bool = False,
        rank: int | None = None,
        device: object = None,
    ) -> None:
        del event_fn, raise_stop_program, stdout, device
        context = current(rank=rank)
        if earlystop is not None and not context.voir:
            context = replace(context, limit=Limit(skip=0, observations=earlystop))
        super().__init__(count=batch_size_fn, context=context)
        self._after_backward, self._after_step = backward_callback, step_callback

    def record_loss(self, loss: T) -> T:
        if self._after_backward is not None:
            _call_after(loss, "backward", self._after_backward)
        return super().record_loss(loss)

    def optimizer(self, optimizer: T) -> T:
        if self._after_step is not None:
            _call_after(optimizer, "step", self._after_step)
        return super().optimizer(optimizer)


def _call_after(owner: Any, name: str, callback: Callable[[], object]) -> None:
    """Let an object's method call something more when it is done."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        callback()
        return result

    setattr(owner, name, called)
