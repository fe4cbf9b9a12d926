"""What the training benchmarks share: device, threads, seed, precision and Observer, set up in the right order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

import torch

from benchmate.batches import Count
from benchmate.context import current
from benchmate.device import autocast_dtype, fetch, set_tf32, set_threads
from benchmate.distributed import joined
from benchmate.observe import Observer

T = TypeVar("T")

PRECISIONS: Final = ("fp32", "tf32", "fp16", "tf32-fp16", "bf16")
SEED: Final = 1234


class Training:
    """The surroundings of one training process; make it first in ``main()``, after all imports.

    ``unit`` is what a step is counted in, ``count`` returns how much of it a batch holds (by default its rows);
    every rank counts its own share. ``precision`` is one of PRECISIONS; fp16 runs as bf16 where it is not real,
    which is noted in the run.
    """

    def __init__(self, *, unit: str, precision: str = "fp32", count: Count | None = None, seed: int = SEED) -> None:
        self.context = current()
        self.accelerator = fetch(context=self.context)
        set_threads(self.context)
        torch.manual_seed(seed)  # the same on all ranks: they start from the same weights
        self.device: torch.device = self.accelerator.device()
        self.observer = Observer(unit=unit, count=count, accelerator=self.accelerator, context=self.context)
        set_tf32("tf32" in precision, self.accelerator, self.observer.note)
        self.dtype = autocast_dtype(precision, self.accelerator, self.observer.note)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def group(self) -> AbstractContextManager[None]:
        """Join the group of ranks for a block; nothing where this process is the only one."""
        return joined(self.accelerator, self.context)

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in the precision that was asked for, for a block."""
        context: AbstractContextManager[Any] = torch.autocast(
            self.device.type, self.dtype, enabled=self.dtype is not None
        )
        return context

    def moved(self, batch: T) -> T:
        """Return a batch with its tensors on the device; the host waits for no copy from pinned memory."""
        moved: T = _map(batch, lambda tensor: tensor.to(self.device, non_blocking=True))
        return moved

    def backward(self, loss: torch.Tensor) -> None:
        """Go back through a loss and add to the gradients; in fp16 through a scaled one."""
        self._scaler.scale(loss).backward()

    def update(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer, *, clip: float | None = None) -> None:
        """Go back through a loss, take a step and empty the gradients; ``clip`` is the most that their norm may be."""
        self.backward(loss)
        if clip is not None:
            self._scaler.unscale_(optimizer)
            parameters = [one for group in optimizer.param_groups for one in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        self._scaler.step(optimizer)
        self._scaler.update()
        optimizer.zero_grad(set_to_none=True)


def _map(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _map(item, change) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [_map(item, change) for item in value]
        named = hasattr(value, "_fields")  # a named tuple takes its fields one by one
        return type(value)(*items) if named else type(value)(items)
    return value
