"""Message passing in plain torch: what a node receives is added up by ``index_add``.

Sums are in float32, whatever the messages are in: adding thousands of numbers of 8 bits would lose them.
"""

from __future__ import annotations

import torch
from graphs import Graph, Molecules
from torch import nn

ELEMENTS = 128  # that have an embedding


def added(messages: torch.Tensor, targets: torch.Tensor, nodes: int) -> torch.Tensor:
    """Return the sum of each node's messages, (nodes, width), of ``messages``, (edges, width)."""
    empty = messages.new_zeros((nodes, messages.shape[1]), dtype=torch.float32)
    return empty.index_add(0, targets, messages.float())


def most(messages: torch.Tensor, targets: torch.Tensor, nodes: int, reduce: str) -> torch.Tensor:
    """Return the largest (amax) or smallest (amin) of each node's messages, element by element; 0 where it has none."""
    empty = messages.new_zeros((nodes, messages.shape[1]), dtype=torch.float32)
    where = targets[:, None].expand_as(messages)
    return empty.scatter_reduce(0, where, messages.float(), reduce, include_self=False)


class Gcn(nn.Module):
    """Graph convolutions (Kipf and Welling, 2017): class scores of every node."""

    def __init__(self, inputs: int, width: int, outputs: int, depth: int, dropout: float) -> None:
        super().__init__()
        sizes = [inputs, *[width] * (depth - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(depth - 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, graph: Graph) -> torch.Tensor:
        """Return (nodes, classes)."""
        x, (sources, targets) = graph.features, graph.edges
        for number, layer in enumerate(self.layers):
            x = added(layer(x)[sources] * graph.weights[:, None], targets, len(graph.features))
            if number < len(self.norms):
                x = self.dropout(torch.relu(self.norms[number](x)))
        return x


class PnaLayer(nn.Module):
    """Principal neighbourhood aggregation (Corso et al., 2020): four aggregators, each scaled in three ways."""

    def __init__(self, width: int, mean_log_degree: float) -> None:
        super().__init__()
        self.mean_log_degree = mean_log_degree
        self.message = nn.Linear(2 * width, width)
        self.update = nn.Linear((1 + 4 * 3) * width, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: torch.Tensor, bonds: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
        sources, targets = bonds
        messages = self.message(torch.cat((x[targets], x[sources]), dim=1))
        nodes, bounded = len(x), degrees.clamp(min=1)
        mean = added(messages, targets, nodes) / bounded
        variance = added(messages.float() ** 2, targets, nodes) / bounded - mean**2
        deviation = torch.sqrt(torch.relu(variance) + 1e-5)
        extremes = [most(messages, targets, nodes, reduce) for reduce in ("amax", "amin")]
        gathered = torch.cat((mean, *extremes, deviation), dim=1)
        scale = torch.log(bounded + 1) / self.mean_log_degree
        scaled = torch.cat((x, gathered, gathered * scale, gathered / scale), dim=1)
        return x + torch.relu(self.norm(self.update(scaled)))


class Pna(nn.Module):
    """PNA layers over the bonds of molecules, and what the mean activations of each say of its target."""

    def __init__(self, width: int, depth: int, mean_log_degree: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(ELEMENTS, width)
        self.layers = nn.ModuleList(PnaLayer(width, mean_log_degree) for _ in range(depth))
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, batch: Molecules) -> torch.Tensor:
        """Return (molecules,)."""
        x = self.embedding(batch.atoms)
        ones = x.new_ones((batch.bonds.shape[1], 1))
        degrees = added(ones, batch.bonds[1], len(x))
        for layer in self.layers:
            x = layer(x, batch.bonds, degrees)
        sizes = added(x.new_ones((len(x), 1)), batch.members, len(batch.targets))
        return self.head(added(x, batch.members, len(batch.targets)) / sizes).squeeze(1)
