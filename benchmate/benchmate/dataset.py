"""Data sets made of others."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Transform = Callable[[Any], Any]


def no_transform(args: Any) -> Any:
    """Return what it gets."""
    return args


def transform_images(transform_x: Transform, transform_y: Transform = no_transform) -> Transform:
    """Return a transform of samples that are an image and its class."""
    return lambda sample: (transform_x(sample[0]), transform_y(sample[1]))


def transform_celebA(transform_x: Transform) -> Transform:  # noqa: N802 - scripts import it by this name
    """Return a transform of samples that hold their image by the name ``image``; what else they hold is left."""
    return lambda sample: transform_x(sample["image"])


class TransformedDataset:
    """A data set with a transform of every sample, as it is fetched."""

    def __init__(self, dataset: Any, transforms: Transform = no_transform) -> None:
        self.dataset, self.transforms = dataset, transforms

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: int) -> Any:
        return self.transforms(self.dataset[item])


class ImageNetAsFrames:
    """Folders of images as clips: a clip is a folder's name, its frames the files in it, by name."""

    def __init__(self, folder: str | Path) -> None:
        self.clip = {Path(root).name: sorted(files) for root, _, files in os.walk(folder) if files}

    def __getitem__(self, item: str) -> list[str]:
        return self.clip[item]

    def __len__(self) -> int:
        return len(self.clip)

    def __iter__(self) -> Iterator[str]:
        return iter(self.clip)


class ExclusiveSetSampler:
    """Sample one of ``num_sets`` parts of a data set, which have nothing in common and are of the same size.

    ``drop_last`` leaves out what does not divide evenly, else the first samples fill up. ``set_epoch`` shuffles anew.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the signature that scripts call
        self, dataset: Any, num_sets: int, set_id: int, shuffle: bool = True, seed: int = 0, drop_last: bool = False
    ) -> None:
        self.dataset, self.num_sets, self.set_id = dataset, num_sets, set_id
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0

    def __len__(self) -> int:
        return len(self.dataset) // self.num_sets if self.drop_last else -(-len(self.dataset) // self.num_sets)

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self.dataset)))
        if self.shuffle:
            random.Random(self.seed + self.epoch).shuffle(order)
        total = len(self) * self.num_sets
        return itertools.islice(itertools.cycle(order), self.set_id, total, self.num_sets)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
