"""The images a benchmark trains on: made once as JPEG files, or made up as they are asked for."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from benchmate.context import Context

SYNTHETIC_STEPS = 100  # steps in an epoch of made-up images
MEAN, DEVIATION = 0.45, 0.225  # of all channels, roughly those of photographs
LOADERS = ("pytorch", "synthetic_random", "synthetic_fixed")

Sample = tuple[torch.Tensor, int]
Batch = tuple[torch.Tensor, torch.Tensor]


def data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that prepare.py and main.py share."""
    parser.add_argument("--data", type=Path, help="folder of JPEG files; by default the one that prepare.py makes")
    parser.add_argument("--image-size", type=int, default=224, help="pixels on each side")
    parser.add_argument("--num-images", type=int, default=1024, help="images that prepare.py makes")
    parser.add_argument("--loader", choices=LOADERS, default="pytorch")
    parser.add_argument("--synthetic-data", action="store_true", help="random images: no files, no decoding")
    parser.add_argument("--fixed-batch", action="store_true", help="one batch for all steps: no loading at all")


def is_synthetic(args: argparse.Namespace) -> bool:
    return bool(args.synthetic_data) or args.loader != "pytorch"


def folder(args: argparse.Namespace, context: Context) -> Path:
    """Return where the images are; sets of different sizes and numbers lie side by side."""
    name = f"images-{args.image_size}-{args.num_images}"
    return args.data or Path(context.dirs.get("data", "data")) / name


class Jpegs(Dataset[Sample]):
    """Decoded images, float32 of shape (3, size, size); an image's class is its number modulo that of the classes."""

    def __init__(self, path: Path, size: int, classes: int) -> None:
        self.files = sorted(path.rglob("*.jpg"))
        self.size, self.classes = size, classes

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        with Image.open(self.files[index]) as image:
            pixels = image.convert("RGB").resize((self.size, self.size))
        flat = torch.frombuffer(bytearray(pixels.tobytes()), dtype=torch.uint8)
        values = flat.view(self.size, self.size, 3).permute(2, 0, 1).float() / 255
        return (values - MEAN) / DEVIATION, index % self.classes


class Random(Dataset[Sample]):
    """Noise of the same shape as an image, the same for the same index."""

    def __init__(self, length: int, size: int, classes: int) -> None:
        self.length, self.size, self.classes = length, size, classes

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        noise = torch.Generator().manual_seed(index)
        return torch.randn(3, self.size, self.size, generator=noise), index % self.classes


class Shuffled(Sampler[int]):
    """The images in a new order each epoch, one epoch after the other without a gap; of each a rank has its share.

    Were every epoch a pass of its own, its first batches would be loaded while no step is timed.
    """

    def __init__(self, length: int, epochs: int, rank: int, world_size: int) -> None:
        self.length, self.epochs, self.rank, self.world_size = length, epochs, rank, world_size
        self.share = length // world_size

    def __len__(self) -> int:
        return self.epochs * self.share

    def __iter__(self) -> Iterator[int]:
        order = torch.Generator().manual_seed(0)  # the same on all ranks
        for _ in range(self.epochs):
            drawn = torch.randperm(self.length, generator=order).tolist()
            yield from drawn[self.rank : self.share * self.world_size : self.world_size]


class Fixed:
    """One batch that lies on the device already, again and again."""

    def __init__(self, batch: Batch, steps: int) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        return itertools.repeat(self.batch, self.steps)


def batches(args: argparse.Namespace, context: Context, device: torch.device) -> Iterable[Batch]:
    """Return the loader the options ask for: pairs of (batch, 3, size, size) and (batch,)."""
    dataset: Dataset[Sample]
    if is_synthetic(args):
        length = SYNTHETIC_STEPS * args.batch_size * context.world_size
        dataset = Random(length, args.image_size, args.num_classes)
    else:
        path = folder(args, context)
        dataset = Jpegs(path, args.image_size, args.num_classes)
        needed = args.batch_size * context.world_size
        if len(dataset) < needed:
            raise SystemExit(
                f"{path} holds {len(dataset)} images, a batch of all ranks needs {needed}: run `milabench prepare`"
            )
    loader = DataLoader(
        dataset,
        batch_size=args.batch_size,
        sampler=Shuffled(len(dataset), args.epochs, context.rank, context.world_size),
        num_workers=0 if args.fixed_batch else args.num_workers,
        persistent_workers=args.num_workers > 0 and not args.fixed_batch,
        pin_memory=device.type == "cuda",
        drop_last=True,
    )
    if args.fixed_batch or args.loader == "synthetic_fixed":
        images, labels = next(iter(loader))
        return Fixed((images.to(device), labels.to(device)), args.epochs * SYNTHETIC_STEPS)
    return loader
