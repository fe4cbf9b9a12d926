"""The recommendation model of Naumov et al., Deep Learning Recommendation Model, 2019 (arXiv:1906.00091)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

INTERACTIONS = ("dot", "cat")


def perceptron(sizes: Sequence[int], *, last_relu: bool) -> nn.Sequential:
    """Return linear layers of these widths with ReLU between them, normally initialised (as in the paper's code)."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        linear = nn.Linear(inputs, outputs)
        nn.init.normal_(linear.weight, std=math.sqrt(2 / (inputs + outputs)))
        nn.init.normal_(linear.bias, std=math.sqrt(1 / outputs))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*(layers if last_relu else layers[:-1]))


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """``rows`` has the size of each embedding table; ``bottom`` and ``top`` are widths of the two perceptrons.

    The first of ``bottom`` is the number of dense features, its last the width of the embeddings. ``sparse``
    gradients name only the rows that were looked up.
    """

    rows: Sequence[int]
    bottom: Sequence[int]
    top: Sequence[int]
    interaction: str = "dot"
    sparse: bool = True


class Dlrm(nn.Module):
    """Click-through prediction from dense and categorical features; make it on the device it is to stay on."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        width = shape.bottom[-1]
        self.bottom = perceptron(shape.bottom, last_relu=True)
        self.tables = nn.ModuleList(nn.EmbeddingBag(n, width, mode="sum", sparse=shape.sparse) for n in shape.rows)
        for table in self.tables:
            nn.init.uniform_(table.weight, -1 / math.sqrt(len(table.weight)), 1 / math.sqrt(len(table.weight)))
        vectors = 1 + len(shape.rows)
        self.interaction = shape.interaction
        pairs = vectors * (vectors - 1) // 2
        self.top = perceptron(
            [width + pairs if shape.interaction == "dot" else vectors * width, *shape.top], last_relu=False
        )
        self.register_buffer("pairs", torch.tril_indices(vectors, vectors, -1), persistent=False)

    def forward(self, dense: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Return logits, (batch,), of ``dense``, (batch, features), and ``indices``, (tables, batch, lookups)."""
        x = self.bottom(dense)
        vectors = [x, *(table(rows) for table, rows in zip(self.tables, indices, strict=True))]
        if self.interaction == "cat":
            return self.top(torch.cat(vectors, dim=1)).squeeze(1)
        stacked = torch.stack([vector.to(x.dtype) for vector in vectors], dim=1)
        products = torch.bmm(stacked, stacked.transpose(1, 2))
        return self.top(torch.cat((x, products[:, self.pairs[0], self.pairs[1]]), dim=1)).squeeze(1)
