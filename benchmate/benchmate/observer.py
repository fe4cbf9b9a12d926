"""The Observer under the name and with the arguments that scripts written for milabench use."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from benchmate.batches import Count, counter
from benchmate.context import Limit, current
from benchmate.metrics import give_push
from benchmate.observe import Observer
from benchmate.wrapped import Observed

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
        push: object = None,
    ) -> None:
        del event_fn, raise_stop_program, stdout, device, push
        context = current(rank=rank)
        if earlystop is not None and not context.voir:
            context = replace(context, limit=Limit(skip=0, observations=earlystop))
        super().__init__(count=batch_size_fn, context=context)
        self._after_backward, self._after_step = backward_callback, step_callback
        self._batch_size, self._push = batch_size_fn, give_push()
        self._latest: Any = None
        self._stepped: Stepped[Any] | None = None

    def iterate(self, loader: Iterable[T], accumulation: int = 1, *, custom_step: bool = False) -> Any:
        """Return the loader with every pass over it timed; with ``custom_step``, between calls of ``step``."""
        if custom_step:
            self._latest = self._stepped = Stepped(loader, self.begin, self._batch_size)
        else:
            self._latest = super().iterate(loader, accumulation)
        return self._latest

    loader = iterate

    def step(self, count: int | None = None) -> bool:
        """End a step of a loader that was wrapped with ``custom_step``; see ``Stepped.step``."""
        if self._stepped is None:
            raise RuntimeError("step() ends a step of a loader: wrap that with loader(…, custom_step=True) first")
        return self._stepped.step(count)

    def original_dataloader(self) -> Any:
        """Return the loader that was wrapped last, as it is wrapped."""
        return self._latest

    def record_metric(self, **metrics: Any) -> None:
        """Report further metrics, by name."""
        self._push(**metrics)

    def override_return_value(self, function: Callable[..., Any], override: Callable[[Any], Any]) -> None:
        """Let a function return ``override(value)`` instead. Raises RuntimeError for a script not run by voir."""
        from ptera import refstring
        from voir.helpers import current_overseer

        overseer = current_overseer.get()
        if overseer is None:
            raise RuntimeError("override_return_value() needs voir: run the script with a voirfile")
        overseer.probe(f"{refstring(function)}() as result", overridable=True)["result"].override(override)

    def record_loss(self, loss: T) -> T:
        if self._after_backward is not None:
            _call_after(loss, "backward", self._after_backward)
        return super().record_loss(loss)

    def optimizer(self, optimizer: T) -> T:
        if self._after_step is not None:
            _call_after(optimizer, "step", self._after_step)
        return super().optimizer(optimizer)


class Stepped(Observed[T]):
    """A loader of whose batches the script says which make a step: those before each call of ``step``."""

    def __init__(self, loader: Iterable[T], begin: Callable[[], Callable[[int], None]], count: Count | None) -> None:
        super().__init__(loader, self._pass)
        self._begin, self._count = begin, count
        self._end_step: Callable[[int], None] | None = None
        self._items = 0

    def step(self, count: int | None = None) -> bool:
        """End a step of ``count`` items, by default those of the batches since the last one.

        Returns False: where enough is measured, StopProgram is raised, or the runner ends the group.
        """
        items, self._items = self._items, 0
        if self._end_step is not None:
            self._end_step(items if count is None else count)
        return False

    def _pass(self, loader: Iterable[T]) -> Iterator[T]:
        iterator = iter(loader)
        for number, batch in enumerate(iterator):
            if number == 0:  # neither making the iterator nor fetching the first batch belongs to a step
                count = self._count or counter(batch)
                self._items, self._end_step = 0, self._begin()
            self._items += count(batch)
            yield batch


def _call_after(owner: Any, name: str, callback: Callable[[], object]) -> None:
    """Let an object's method call something more when it is done."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        callback()
        return result

    setattr(owner, name, called)
