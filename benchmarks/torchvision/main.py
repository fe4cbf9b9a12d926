"""Train a residual network for image classification: alone, or data-parallel where torchrun started a group."""

from __future__ import annotations

import argparse

import torch
from images import batches, data_options
from resnet import MODELS, resnet
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from benchmate.arguments import some_of
from benchmate.training import PRECISIONS, Training

MOMENTUM = 0.9
OPTIMIZATIONS = ("channel_last", "inductor")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    data_options(parser)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="fp16 runs as bf16 on a CPU")
    parser.add_argument("--batch-size", type=int, default=64, help="images of one process")
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=10, help="at most; the suite's limit usually comes first")
    parser.add_argument("--num-workers", type=int, default=4, help="processes that load images; 0 loads in this one")
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument(
        "--optim", type=some_of(*OPTIMIZATIONS), default=(), help="channel_last, inductor, or both: a,b"
    )
    parser.add_argument("--no-stdout", action="store_true", help="do not print the last loss")
    return parser.parse_args()


def network(args: argparse.Namespace, training: Training, layout: torch.memory_format) -> nn.Module:
    model = resnet(args.model, args.num_classes).to(training.device, memory_format=layout)
    if training.context.world_size > 1:
        model = DistributedDataParallel(model)
    return torch.compile(model) if "inductor" in args.optim else model


def train(args: argparse.Namespace, training: Training) -> None:
    observer = training.observer
    layout = torch.channels_last if "channel_last" in args.optim else torch.contiguous_format
    model = network(args, training, layout)
    # Fused: with fp16's scaled loss it decides on the device whether to step, and nothing waits for it.
    fused = training.device.type == "cuda"
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=MOMENTUM, fused=fused)
    observer.optimizer(optimizer)
    criterion = observer.criterion(nn.CrossEntropyLoss())

    loss = None
    for pixels, classes in observer.iterate(batches(args, training.context, training.device)):  # of all epochs
        images = pixels.to(training.device, memory_format=layout, non_blocking=True)
        with training.autocast():
            loss = criterion(model(images), training.moved(classes))
        training.update(loss, optimizer)
    if loss is not None and not args.no_stdout:
        print(f"loss {loss.item():.4f}", flush=True)


def main() -> None:
    args = options()
    training = Training(unit="images", precision=args.precision)
    with training.group():
        train(args, training)


if __name__ == "__main__":
    main()
