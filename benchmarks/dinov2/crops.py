"""Synthetic crops of made-up images, and the patches that are hidden in them."""

from __future__ import annotations

import argparse
import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional
from vit import PATCH

from benchmate.data import Synthetic, loader
from benchmate.training import SEED, Training

EPOCH_STEPS = 100
DISTINCT = 64  # images that differ
GRID = 16  # an image is a grid of this many random colours on a side, smoothed: its crops have something in common
GLOBAL_SHARE, LOCAL_SHARE = (0.32, 1.0), (0.05, 0.32)  # of an image's area, in a crop
MASKED_CROPS, MASKED_PATCHES = 0.5, (0.1, 0.5)  # share of the global crops, and of the patches in one of them
LOWEST_ASPECT = 0.3  # of a block of hidden patches; the highest is its inverse
MASKS = 16  # that differ

Batch = dict[str, torch.Tensor]


def crop(image: torch.Tensor, side: int, shares: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Return a random part of a grid of colours, enlarged to (3, side, side)."""
    low, high = shares
    share, left, top, mirror = torch.rand(4, generator=generator).tolist()
    part = max(2, round(GRID * math.sqrt(low + share * (high - low))))
    x, y = round(left * (GRID - part)), round(top * (GRID - part))
    piece = image[:, y : y + part, x : x + part]
    enlarged = functional.interpolate(piece[None], size=(side, side), mode="bilinear", align_corners=False)[0]
    return enlarged.flip(-1) if mirror < 0.5 else enlarged


class Crops:
    """Batches of ``global`` (B, 2, 3, side, side) and ``local`` (B, n, 3, side, side) crops, and what is hidden.

    Of the global crops, one after the other as the model sees them, ``mask`` (2·B, patches) says which patches are
    hidden, ``hidden`` (M,) numbers these, ``weights`` (M,) gives every crop with hidden ones the same weight. M is the
    same for all batches and ranks, as DINOv2's is but for rounding.
    """

    def __init__(self, args: argparse.Namespace, training: Training) -> None:
        rank = training.context.rank
        draw = random.Random(SEED + rank)
        grid = args.global_size // PATCH
        self.masks = [training.moved(masked(2 * args.batch_size, grid, draw)) for _ in range(MASKS)]

        def sample(generator: torch.Generator) -> Batch:
            image = torch.randn(3, GRID, GRID, generator=generator)
            large = [crop(image, args.global_size, GLOBAL_SHARE, generator) for _ in range(2)]
            small = [crop(image, args.local_size, LOCAL_SHARE, generator) for _ in range(args.local_crops)]
            return {"global": torch.stack(large)} | ({"local": torch.stack(small)} if small else {})

        length, seed = EPOCH_STEPS * args.batch_size, DISTINCT * rank
        dataset = Synthetic(sample, length=length, distinct=DISTINCT, seed=seed)
        workers = 0 if args.fixed_batch else args.num_workers
        self.loader: Any = loader(dataset, batch_size=args.batch_size, workers=workers, device=training.device)
        if args.fixed_batch:
            self.loader, self.masks = [training.moved(next(iter(self.loader)))] * EPOCH_STEPS, self.masks[:1]

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        for crops, masks in zip(self.loader, itertools.cycle(self.masks), strict=False):
            yield crops | masks


def masked(crops: int, grid: int, draw: random.Random) -> Batch:
    """Hide patches in blocks: shares from the lowest to the highest, each in one crop, the crops drawn at random."""
    number = max(1, int(crops * MASKED_CROPS))
    low, high = MASKED_PATCHES
    mask = torch.zeros(crops, grid * grid, dtype=torch.bool)
    for order, index in enumerate(draw.sample(range(crops), number)):
        share = low + (high - low) * (order + 0.5) / number
        mask[index, blocks(grid, max(1, round(share * grid * grid)), draw)] = True
    hidden = mask.flatten().nonzero().flatten()
    weights = (1 / mask.sum(1).clamp(min=1)).repeat_interleave(mask.sum(1)) / crops
    return {"mask": mask, "hidden": hidden, "weights": weights}


def blocks(grid: int, wanted: int, draw: random.Random) -> list[int]:
    """Return ``wanted`` patches of a grid: those of rectangles put at random until there are enough."""
    chosen: dict[int, None] = {}
    while len(chosen) < wanted:
        area = draw.uniform(min(4, wanted), wanted)
        aspect = math.exp(draw.uniform(math.log(LOWEST_ASPECT), -math.log(LOWEST_ASPECT)))
        height = min(grid, max(1, round(math.sqrt(area * aspect))))
        width = min(grid, max(1, round(math.sqrt(area / aspect))))
        top, left = draw.randint(0, grid - height), draw.randint(0, grid - width)
        chosen |= dict.fromkeys(y * grid + x for y in range(top, top + height) for x in range(left, left + width))
    return list(chosen)[:wanted]
