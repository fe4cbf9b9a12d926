"""Residual networks (He et al., Deep Residual Learning for Image Recognition, 2015) in plain torch.

Layers and numbers of parameters are those of torchvision's models of the same names, stride on the 3x3 convolution.
"""

from __future__ import annotations

import torch
from torch import nn

EXPANSION = 4  # of a bottleneck's channels


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution and the normalisation that follows it."""
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A residual block: ``body`` beside the identity, or beside a projection where shapes differ."""

    def __init__(self, body: nn.Module, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        same = inputs == outputs and stride == 1
        self.body = body
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def basic(inputs: int, width: int, stride: int) -> Block:
    body = nn.Sequential(convolution(inputs, width, 3, stride), nn.ReLU(inplace=True), convolution(width, width, 3))
    return Block(body, inputs, width, stride)


def bottleneck(inputs: int, width: int, stride: int) -> Block:
    body = nn.Sequential(
        convolution(inputs, width, 1),
        nn.ReLU(inplace=True),
        convolution(width, width, 3, stride),
        nn.ReLU(inplace=True),
        convolution(width, width * EXPANSION, 1),
    )
    return Block(body, inputs, width * EXPANSION, stride)


MODELS = {  # the block, and how many of them at each of the four resolutions
    "resnet18": (basic, (2, 2, 2, 2)),
    "resnet34": (basic, (3, 4, 6, 3)),
    "resnet50": (bottleneck, (3, 4, 6, 3)),
    "resnet101": (bottleneck, (3, 4, 23, 3)),
    "resnet152": (bottleneck, (3, 8, 36, 3)),
}


def resnet(name: str, num_classes: int) -> nn.Sequential:
    """Return a network from (batch, 3, height, width) to (batch, ``num_classes``), freshly initialised."""
    block, depths = MODELS[name]
    expansion = EXPANSION if block is bottleneck else 1
    layers: list[nn.Module] = [
        convolution(3, 64, 7, stride=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    inputs = 64
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        for index in range(depth):
            layers.append(block(inputs, width, 2 if index == 0 and stage > 0 else 1))
            inputs = width * expansion
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))
