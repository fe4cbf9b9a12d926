"""The collectives: what each moves, in which buffers, and what must be in them afterwards.

Names and factors are those of nccl-tests (doc/PERFORMANCE.md): a message of S bytes that takes t seconds has the
algorithm bandwidth S / t and the bus bandwidth factor · S / t, which does not depend on the number of ranks where the
links are the limit. S is the whole message: of all ranks' parts together in all_gather and reduce_scatter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import distributed

PERIOD = 4  # elements are 0 to 3, so that sums are exact in 16 bits up to 85 ranks

# torch 2.13 renamed these two; the older names are there in the older versions only without a warning.
_gather = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor
_scatter = getattr(distributed, "reduce_scatter_single", None) or distributed.reduce_scatter_tensor

Call = Callable[[torch.Tensor, torch.Tensor], object]


@dataclass(frozen=True)
class Operation:
    """A collective of an output and an input buffer, each of the whole message or of one rank's ``part`` of it."""

    call: Call
    factor: Callable[[int], float]
    part_in: bool = False
    part_out: bool = False
    in_place: bool = False


def _others(ranks: int) -> float:
    return (ranks - 1) / ranks


OPERATIONS = {
    "all_reduce": Operation(
        lambda out, _: distributed.all_reduce(out), lambda ranks: 2 * (ranks - 1) / ranks, in_place=True
    ),
    "all_gather": Operation(_gather, _others, part_in=True),
    "reduce_scatter": Operation(_scatter, _others, part_out=True),
    "all_to_all": Operation(distributed.all_to_all_single, _others),
    "broadcast": Operation(lambda out, _: distributed.broadcast(out, 0), lambda _: 1.0, in_place=True),
}


class Message:
    """An operation on one message of ``length`` elements, a multiple of the number of ranks; ``run`` submits it."""

    def __init__(self, name: str, length: int, dtype: torch.dtype, device: torch.device) -> None:
        self.name, self.operation = name, OPERATIONS[name]
        self.rank, self.ranks = distributed.get_rank(), distributed.get_world_size()
        self.length, self.part = length, length // self.ranks
        self.bytes = length * dtype.itemsize
        self.bus_bytes = self.bytes * self.operation.factor(self.ranks)
        self._dtype, self._device = dtype, device
        self.own = self._pattern(self.rank, 0, self.part if self.operation.part_in else length)
        size = self.part if self.operation.part_out else length
        self.out = self.own if self.operation.in_place else torch.zeros(size, dtype=dtype, device=device)

    def run(self) -> None:
        self.operation.call(self.out, self.own)

    def check(self) -> None:
        """Run once and compare with what each rank works out by itself. Raises RuntimeError where they differ.

        Afterwards the buffer of an all-reduce holds zeros: sums of sums would soon be infinite.
        """
        self.run()
        if not torch.equal(self.out, self.expected()):
            raise RuntimeError(f"{self.name} of {self.bytes} bytes: rank {self.rank} received wrong values")
        if self.name == "all_reduce":
            self.out.zero_()

    def expected(self) -> torch.Tensor:
        first = self.rank * self.part  # of this rank's part of the message
        match self.name:
            case "all_reduce":
                return self._sum(0, self.length)
            case "reduce_scatter":
                return self._sum(first, self.part)
            case "all_gather":
                return torch.cat([self._pattern(rank, 0, self.part) for rank in range(self.ranks)])
            case "all_to_all":
                return torch.cat([self._pattern(rank, first, self.part) for rank in range(self.ranks)])
            case _:
                return self._pattern(0, 0, self.length)

    def _sum(self, first: int, length: int) -> torch.Tensor:
        total = torch.zeros(length, dtype=torch.float32, device=self._device)
        for rank in range(self.ranks):
            total += self._pattern(rank, first, length)
        return total.to(self._dtype)

    def _pattern(self, rank: int, first: int, length: int) -> torch.Tensor:
        """What a rank sends from element ``first`` on: it differs from rank to rank and from element to element."""
        numbers = torch.arange(first, first + length, dtype=torch.int32, device=self._device)
        return ((numbers + rank) % PERIOD).to(self._dtype)
