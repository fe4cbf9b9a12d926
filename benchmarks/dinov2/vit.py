"""Vision transformers (Dosovitskiy et al., An Image is Worth 16x16 Words, 2020) as DINOv2 trains them, in plain torch.

Layers and sizes are those of Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, 2023: patches
of 14 pixels, scaled residuals, a gated feed-forward layer in the largest, and stochastic depth that saves its time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

PATCH = 14  # pixels on each side
SCALE = 1e-5  # of a residual, at first
DEVIATION = 0.02  # of the weights, at first


@dataclass(frozen=True)
class Size:
    """The dimensions of a transformer; ``gated`` is its feed-forward layer (SwiGLU) in place of the two-layer one."""

    width: int
    depth: int
    heads: int
    gated: bool = False


ARCHITECTURES = {
    "vit_small": Size(384, 12, 6),
    "vit_base": Size(768, 12, 12),
    "vit_large": Size(1024, 24, 16),
    "vit_giant2": Size(1536, 40, 24, gated=True),
}


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.split, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        images, tokens, width = x.shape
        parts = self.split(x).view(images, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).reshape(images, tokens, width))


class Gated(nn.Module):
    """A gated layer (Shazeer, GLU Variants Improve Transformer, 2020) with about as many weights as the plain one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = (4 * width * 2 // 3 + 7) // 8 * 8
        self.split, self.out = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = self.split(x).chunk(2, dim=-1)
        return self.out(functional.silu(gate) * value)


class Residual(nn.Module):
    """A layer beside the identity, normalised before, scaled after; in training a share ``drop`` of images skips it.

    The images that skip are not computed at all (DINOv2, section 5, "efficient stochastic depth"); their number is
    the same in each step, so that no step waits to learn a shape.
    """

    def __init__(self, width: int, layer: nn.Module, drop: float) -> None:
        super().__init__()
        self.norm, self.layer, self.drop = nn.LayerNorm(width, eps=1e-6), layer, drop
        self.scale = nn.Parameter(torch.full((width,), SCALE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.drop == 0:
            return x + self.scale * self.layer(self.norm(x))
        keep = max(1, int(len(x) * (1 - self.drop)))
        chosen = torch.randperm(len(x), device=x.device)[:keep]
        change = self.scale * self.layer(self.norm(x.index_select(0, chosen)))
        return x.index_add(0, chosen, change.to(x.dtype), alpha=len(x) / keep)


class VisionTransformer(nn.Module):
    """From (n, 3, side, side) to (n, width) for the whole image and (n, patches, width) for its patches.

    Positions are learned on a grid of ``image_size`` and interpolated for images of other sizes. ``mask`` (n, patches)
    says which patches are hidden.
    """

    def __init__(self, size: Size, image_size: int, drop: float) -> None:
        super().__init__()
        self.grid, width = image_size // PATCH, size.width
        self.embed = nn.Conv2d(3, width, PATCH, stride=PATCH)
        self.whole = nn.Parameter(torch.randn(1, 1, width) * 1e-6)
        self.hidden = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 1 + self.grid**2, width) * DEVIATION)
        forward: Callable[[int], nn.Module] = Gated if size.gated else _two_layers
        layers: list[nn.Module] = []
        for _ in range(size.depth):
            layers.append(Residual(width, Attention(width, size.heads), drop))
            layers.append(Residual(width, forward(width), drop))
        self.layers, self.norm = nn.Sequential(*layers), nn.LayerNorm(width, eps=1e-6)
        self.apply(initialise)

    def forward(self, images: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        patches = self.embed(images).flatten(2).transpose(1, 2)
        if mask is not None:
            patches = torch.where(mask.unsqueeze(-1), self.hidden.to(patches.dtype), patches)
        whole = self.whole.expand(len(images), -1, -1).to(patches.dtype)
        x = torch.cat((whole, patches), dim=1) + self._positions(images.shape[-1] // PATCH)
        x = self.norm(self.layers(x))
        return x[:, 0], x[:, 1:]

    def _positions(self, grid: int) -> torch.Tensor:
        if grid == self.grid:
            return self.positions
        whole, patches = self.positions[:, :1], self.positions[:, 1:]
        square = patches.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        square = functional.interpolate(square, size=(grid, grid), mode="bicubic")
        return torch.cat((whole, square.flatten(2).transpose(1, 2)), dim=1)


def _two_layers(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


def initialise(module: nn.Module) -> None:
    """Draw the weights of a linear layer, in place."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=DEVIATION)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
