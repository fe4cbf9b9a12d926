"""A decoder as Llama's (Touvron et al. 2023; Llama 3: Grattafiori et al. 2024), in plain torch.

RMSNorm before each part, rotary positions, grouped-query attention, SwiGLU; no bias anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

EPSILON = 1e-5
ROPE_BASE = 500_000.0
DEVIATION = 0.02  # of freshly drawn weights


@dataclass(frozen=True)
class Size:
    """``hidden`` is the width, ``feed_forward`` that of SwiGLU; ``tied``: the embedding is the output layer too."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool


SIZES = {
    "llama3.2-1b": Size(16, 2048, 8192, 32, 8, 128_256, tied=True),  # 1.24e9 parameters
    "llama3.2-3b": Size(28, 3072, 8192, 24, 8, 128_256, tied=True),  # 3.21e9
    "llama3-8b": Size(32, 4096, 14336, 32, 8, 128_256, tied=False),  # 8.03e9
    "llama3-70b": Size(80, 8192, 28672, 64, 8, 128_256, tied=False),  # 70.6e9
}


class Norm(nn.Module):
    """Division by the root of the mean square, in fp32 whatever the type of the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x.float(), self.weight.shape, self.weight.float(), EPSILON).to(x.dtype)


def rope_table(length: int, width: int, device: torch.device) -> torch.Tensor:
    """Return cosines and sines of every position's angles, fp32 of shape (2, length, width / 2)."""
    frequencies = ROPE_BASE ** (-torch.arange(0, width, 2, device=device) / width)
    angles = torch.outer(torch.arange(length, device=device).float(), frequencies)
    return torch.stack((angles.cos(), angles.sin()))


def rotated(x: torch.Tensor, rope: torch.Tensor) -> torch.Tensor:
    """Turn each pair (i, i + width / 2) of a head by its position's angle; x is (batch, heads, length, width)."""
    cos, sin = rope
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Attention(nn.Module):
    """Causal attention in which ``heads / kv_heads`` heads share a key and a value."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = size.heads, size.kv_heads, size.hidden // size.heads
        self.query = nn.Linear(size.hidden, self.heads * self.width, bias=False)
        self.key = nn.Linear(size.hidden, self.kv_heads * self.width, bias=False)
        self.value = nn.Linear(size.hidden, self.kv_heads * self.width, bias=False)
        self.output = nn.Linear(self.heads * self.width, size.hidden, bias=False)

    def forward(self, x: torch.Tensor, rope: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        query, key = rotated(query, rope).to(value.dtype), rotated(key, rope).to(value.dtype)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=self.kv_heads != self.heads
        )
        return self.output(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gate = nn.Linear(size.hidden, size.feed_forward, bias=False)
        self.up = nn.Linear(size.hidden, size.feed_forward, bias=False)
        self.down = nn.Linear(size.feed_forward, size.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """One layer; with ``checkpointed`` its inside is computed again in the backward pass instead of kept."""

    def __init__(self, size: Size, checkpointed: bool) -> None:
        super().__init__()
        self.checkpointed = checkpointed
        self.attention_norm, self.attention = Norm(size.hidden), Attention(size)
        self.feed_forward_norm, self.feed_forward = Norm(size.hidden), FeedForward(size)

    def forward(self, x: torch.Tensor, rope: torch.Tensor) -> torch.Tensor:
        # Within the block, so that a sharded block gathers its weights once for both: see fully_shard.
        return checkpoint(self._inside, x, rope, use_reentrant=False) if self.checkpointed else self._inside(x, rope)

    def _inside(self, x: torch.Tensor, rope: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), rope)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Decoder(nn.Module):
    """Returns the loss of (batch, length + 1) token ids, each predicted from those before it.

    Make it on torch's meta device, shard it, then call ``materialise``: no rank ever holds weights it does not own.
    """

    def __init__(self, size: Size, length: int, checkpointed: bool = False) -> None:
        super().__init__()
        self.rope_shape = (length, size.hidden // size.heads)
        self.embedding = nn.Embedding(size.vocabulary, size.hidden)
        self.blocks = nn.ModuleList(Block(size, checkpointed) for _ in range(size.layers))
        self.norm = Norm(size.hidden)
        self.head = None if size.tied else nn.Linear(size.hidden, size.vocabulary, bias=False)
        self.register_buffer("rope", torch.empty(0), persistent=False)

    def materialise(self, device: torch.device) -> None:
        """Give all weights (of a sharded model: this rank's part) a place on the device, and draw them."""
        self.to_empty(device=device)
        self.rope = rope_table(*self.rope_shape, device)
        for parameter in self.parameters():
            weight = parameter.detach()
            weight = weight.to_local() if isinstance(weight, DTensor) else weight
            if parameter.ndim == 1:
                nn.init.ones_(weight)
            else:
                nn.init.normal_(weight, std=DEVIATION)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens[:, :-1])
        for block in self.blocks:
            x = block(x, self.rope)
        weight = self.embedding.weight if self.head is None else self.head.weight
        logits = functional.linear(self.norm(x), weight)
        return functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
