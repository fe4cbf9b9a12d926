"""Data sets made of others."""

from __future__ import annotations

import os
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


def __getattr__(name: str) -> Any:
    if name == "ExclusiveSetSampler":  # its base is torch's: not imported for those above
        from benchmate.samplers import ExclusiveSetSampler

        return ExclusiveSetSampler
    raise AttributeError(name)
