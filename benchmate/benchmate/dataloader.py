"""Loaders of images that scripts written for milabench choose by name (``--loader``). Need torch and torchvision."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmate.context import current
from benchmate.data import Synthetic
from benchmate.datagen import CLASSES, FOLDER

SIZE: Final = 224  # height and width of what the models get
SYNTHETIC_BATCHES: Final = 1000
FAKE_BATCHES: Final = 60
LOADERS: Final = ("pytorch", "pytorch_fakedataset", "synthetic_fixed", "synthetic_random")


def dataloader_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``imagenet_dataloader`` goes by to a script's arguments."""
    parser.add_argument("--batch-size", type=int, default=16, help="images in a batch")
    parser.add_argument("--loader", default="pytorch", help=f"one of {', '.join(LOADERS)}")
    parser.add_argument("--num-workers", type=int, default=8, help="processes that load")
    parser.add_argument("--data", default=current().dirs.get("data"), help="folder of the images")


def imagenet_dataloader(args: Any, model: Any, rank: int = 0, world_size: int = 1) -> Any:
    """Return a loader of (images, classes): of files in ``train`` of ``args.data``, or made up.

    ``synthetic_*`` have their batches on the device, the same one or a new one each time; ``model`` says what its
    targets look like. Ends the program for a loader that is not there.
    """
    match args.loader:
        case "synthetic_fixed" | "synthetic_random":
            return synthetic(model, args.batch_size, fixed_batch=args.loader == "synthetic_fixed")
        case "pytorch_fakedataset":
            return pytorch_fakedataset(None, args.batch_size, args.num_workers)
        case "pytorch":
            folder = Path(data_folder(args), "train")
            return pytorch(folder, args.batch_size, args.num_workers, world_size > 1, rank=rank, world_size=world_size)
        case _:
            raise SystemExit(f"--loader {args.loader}: there is no such loader here, but {', '.join(LOADERS)}")


def data_folder(args: Any) -> str:
    """Return ``args.data``, or the images in milabench's data folder. Ends the program where neither is there."""
    data = args.data or current().dirs.get("data")
    if not data:
        raise SystemExit("which images? --data FOLDER, or MILABENCH_DIR_DATA")
    made = Path(data, FOLDER)
    return str(made if made.is_dir() else data)


def pytorch(  # noqa: PLR0913, PLR0917 - the signature that scripts call
    folder: str | Path,
    batch_size: int,
    num_workers: int,
    distributed: bool = False,
    epochs: int = 60,
    rank: int | None = None,
    world_size: int | None = None,
) -> Any:
    """Return a loader of images from folders by class, cut and flipped at random; ranks get parts of their own."""
    from torch.utils.data import DataLoader
    from torch.utils.data.distributed import DistributedSampler
    from torchvision import datasets  # type: ignore[import-not-found,unused-ignore]

    del epochs
    train = datasets.ImageFolder(str(folder), image_transforms())
    sampler: Any = DistributedSampler(train, rank=rank, num_replicas=world_size) if distributed else None
    return DataLoader(
        train, batch_size=batch_size, num_workers=num_workers, pin_memory=True, sampler=sampler, shuffle=sampler is None
    )


def image_transforms() -> Any:
    """Return how an image becomes a tensor: a random part, flipped or not, with ImageNet's mean and spread."""
    from torchvision import transforms

    return transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )


def pytorch_fakedataset(folder: object, batch_size: int, num_workers: int) -> Any:
    """Return a loader, with worker processes as for real images, of images that were made in memory."""
    import torch
    from torch.utils.data import DataLoader

    del folder

    def make(generator: torch.Generator) -> tuple[torch.Tensor, int]:
        label = int(torch.randint(CLASSES, (), generator=generator))
        return torch.randn(3, SIZE, SIZE, generator=generator), label

    images = Synthetic(make, length=batch_size * FAKE_BATCHES)
    return DataLoader(images, batch_size=batch_size, num_workers=num_workers, pin_memory=True, shuffle=True)


def synthetic(model: Any, batch_size: int, fixed_batch: bool) -> SyntheticData:
    """Return batches on the device: images, and targets that look like what the model makes of them."""
    import torch

    from benchmate.device import fetch

    device = fetch(context=current()).device()
    images = torch.randn((batch_size, 3, SIZE, SIZE), device=device)
    with torch.no_grad():
        targets = torch.rand_like(model.to(device)(images))
    return SyntheticData([images, targets], n=SYNTHETIC_BATCHES, fixed_batch=fixed_batch)


class SyntheticData:
    """The same batch ``n`` times, or as many new ones like it."""

    def __init__(self, tensors: Sequence[Any], n: int, fixed_batch: bool) -> None:
        self.tensors, self.n, self.fixed_batch = tensors, n, fixed_batch

    def __iter__(self) -> Iterator[Sequence[Any]]:
        import torch

        for _ in range(self.n):
            yield self.tensors if self.fixed_batch else [torch.rand_like(tensor) for tensor in self.tensors]

    def __len__(self) -> int:
        return self.n
