"""A BERT encoder (Devlin et al., 2018) that classifies texts, of torch's own layers."""

from __future__ import annotations

import torch
from torch import nn

FEED_FORWARD = 4  # times the width
MODELS = {"bert": (12, 768, 12), "bert-large": (24, 1024, 16)}  # layers, width, heads of the paper


class Encoder(nn.Module):
    """From token ids (batch, length) to scores (batch, classes), by what the first token has become."""

    def __init__(self, size: tuple[int, int, int], *, vocabulary: int, length: int, classes: int) -> None:
        super().__init__()
        layers, width, heads = size
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, heads, FEED_FORWARD * width, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers)
        self.scores = nn.Linear(width, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        states: torch.Tensor = self.layers(self.norm(self.words(tokens) + self.places(places)))
        scores: torch.Tensor = self.scores(states[:, 0])
        return scores
