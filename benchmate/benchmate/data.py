"""Synthetic data: samples of the right shapes and types, the same for the same seed, loaded as real ones are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class Synthetic(Generic[T]):
    """A map-style dataset: ``distinct`` samples, made by ``make`` once, over and over up to ``length``.

    ``make`` gets a generator seeded for its sample, so that worker processes and other runs make the same ones.
    """

    def __init__(self, make: Callable[[torch.Generator], T], *, length: int, distinct: int = 64, seed: int = 0) -> None:
        import torch

        self.length = length
        self.samples = [make(torch.Generator().manual_seed(seed + index)) for index in range(min(distinct, length))]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> T:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self.samples[index % len(self.samples)]


def loader(
    dataset: Any,
    *,
    batch_size: int,
    workers: int,
    device: torch.device,
    collate: Callable[[list[Any]], Any] | None = None,
) -> Any:
    """Return torch's DataLoader of whole batches, from ``workers`` processes that stay; 0 loads in this one.

    ``collate`` makes a batch of samples where stacking them does not.
    """
    from torch.utils.data import DataLoader

    return DataLoader(
        dataset,
        batch_size=batch_size,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        drop_last=True,
    )


def grouped(batches: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield so many batches at a time, and none where fewer are left: several short steps are one observation."""
    iterator = iter(batches)
    while len(group := list(itertools.islice(iterator, size))) == size:
        yield group
