"""Train a vision transformer without labels, in the manner of DINOv2."""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from crops import Batch, Crops
from dino import CENTERINGS, HeadSize, Network, Teacher, image_loss, patch_loss, spread_loss
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from vit import ARCHITECTURES, PATCH, VisionTransformer

from benchmate.training import PRECISIONS, SEED, Training

IMAGES_OF_LR = 1024  # the batch that --lr is meant for
SPREAD_WEIGHT, CLIP, WEIGHT_DECAY = 0.1, 3.0, 0.04


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", choices=ARCHITECTURES, default="vit_large", help="size of student and teacher")
    parser.add_argument("--width", type=int, help="of a token, in place of the architecture's")
    parser.add_argument("--depth", type=int, help="blocks, in place of the architecture's")
    parser.add_argument("--heads", type=int, help="of the attention, in place of the architecture's")
    parser.add_argument("--global-size", type=patches, default=224, help="pixels of a global crop's side")
    parser.add_argument("--local-size", type=patches, default=98, help="pixels of a local crop's side")
    parser.add_argument("--local-crops", type=int, default=8, help="of an image; there are two global ones")
    parser.add_argument("--batch-size", type=int, default=32, help="images of a step, on every rank; at least 2")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16", help="fp16 runs as bf16 on a CPU")
    parser.add_argument("--drop-path", type=float, default=0.3, help="share of the images that skip a layer")
    parser.add_argument("--prototypes", type=int, default=65536, help="of each of the two heads")
    parser.add_argument("--head-hidden", type=int, default=2048, help="width of a head's hidden layers")
    parser.add_argument("--head-bottleneck", type=int, default=256, help="width of a head's last but one layer")
    parser.add_argument("--centering", choices=CENTERINGS, default="sinkhorn_knopp", help="how targets are balanced")
    parser.add_argument("--momentum", type=float, default=0.992, help="of the teacher: what it keeps in a step")
    parser.add_argument("--lr", type=float, default=2e-4, help="for 1024 images a step; scaled by the root of theirs")
    parser.add_argument("--num-workers", type=int, default=4, help="processes that load crops; 0 loads in this one")
    parser.add_argument("--fixed-batch", action="store_true", help="one batch for all steps: no loading at all")
    return parser.parse_args()


def patches(text: str) -> int:
    side = int(text)
    if side <= 0 or side % PATCH:
        raise argparse.ArgumentTypeError(f"{text} is no multiple of {PATCH}, the side of a patch")
    return side


def network(args: argparse.Namespace) -> Network:
    given = {name: value for name in ("width", "depth", "heads") if (value := getattr(args, name)) is not None}
    size = replace(ARCHITECTURES[args.arch], **given)
    backbone = VisionTransformer(size, args.global_size, args.drop_path)
    return Network(backbone, HeadSize(size.width, args.head_hidden, args.head_bottleneck, args.prototypes))


def optimizer_of(student: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Return an optimizer that decays matrices alone."""
    parameters = list(student.parameters())
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr)


def loss_of(student: nn.Module, teacher: Teacher, batch: Batch, training: Training) -> torch.Tensor:
    crops = batch["global"].transpose(0, 1).flatten(0, 1)
    local = batch["local"].transpose(0, 1).flatten(0, 1) if "local" in batch else None
    hidden = batch["hidden"]
    with training.autocast():
        with torch.no_grad():
            known = teacher.network(crops, hidden)
        seen = student(crops, hidden, batch["mask"], local)
    wanted_images, wanted_patches = teacher.targets(known)
    spread = spread_loss(seen.features[0]) + spread_loss(seen.features[1])
    images, masked = image_loss(wanted_images, seen), patch_loss(wanted_patches, seen, batch["weights"])
    return images + masked + SPREAD_WEIGHT * spread


def main() -> None:
    args = options()
    training = Training(unit="images", precision=args.precision, count=lambda batch: len(batch["global"]))
    observer, context = training.observer, training.context

    with training.group():
        student = network(args).to(training.device)
        teacher = Teacher(student, args.momentum, args.centering).to(training.device)
        model: nn.Module = student
        if context.world_size > 1:
            model = DistributedDataParallel(student, gradient_as_bucket_view=True)
        images = args.batch_size * context.world_size
        optimizer = observer.optimizer(optimizer_of(student, args.lr * (images / IMAGES_OF_LR) ** 0.5))
        torch.manual_seed(SEED + context.rank)  # weights are the same on all ranks, what is dropped is not
        batches = Crops(args, training)

        while True:  # until the suite's limit
            for batch in observer.iterate(batches):
                loss = loss_of(model, teacher, training.moved(batch), training)
                observer.record_loss(loss)
                training.update(loss, optimizer, clip=CLIP)
                teacher.follow(student)


if __name__ == "__main__":
    main()
