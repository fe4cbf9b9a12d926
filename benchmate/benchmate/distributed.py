"""The process group a benchmark's ranks form, whatever started them: torchrun's variables say which rank this is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from torch import distributed

from benchmate.context import Context, current, writer
from benchmate.device import Accelerator, fetch

BACKENDS: Final = {"cuda": "nccl", "rocm": "nccl", "xpu": "xccl", "hpu": "hccl", "cpu": "gloo"}


@contextmanager
def joined(accelerator: Accelerator | None = None, context: Context | None = None) -> Iterator[None]:
    """Join the group for a block, with the collectives of the accelerator; nothing to join where this is the only rank.

    torch's device is the rank's own by then, so that no rank lands on the first one.
    """
    context = current() if context is None else context
    accelerator = fetch(context=context) if accelerator is None else accelerator
    if context.world_size == 1:
        yield
        return
    if (events := writer(context)) is not None:  # before the ranks meet, which one of them may never come to
        events.write("hello", {"pid": os.getpid(), **context.place, "joins": BACKENDS[accelerator.arch]})
    bound = {"device_id": accelerator.device()} if accelerator.arch in ("cuda", "rocm") else {}
    distributed.init_process_group(BACKENDS[accelerator.arch], **bound)
    yield
    distributed.destroy_process_group()  # not after an error: others may be waiting in a collective, and this would too
