"""Samplers of parts of a data set."""

from __future__ import annotations

from typing import Any

from torch.utils.data.distributed import DistributedSampler


class ExclusiveSetSampler(DistributedSampler[Any]):
    """Sample one of ``num_sets`` parts of a data set that have nothing in common; no process group is needed."""

    def __init__(  # noqa: PLR0913, PLR0917 - the base's signature
        self, dataset: Any, num_sets: int, set_id: int, shuffle: bool = True, seed: int = 0, drop_last: bool = False
    ) -> None:
        super().__init__(dataset, num_replicas=num_sets, rank=set_id, shuffle=shuffle, seed=seed, drop_last=drop_last)
