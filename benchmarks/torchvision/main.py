"""Train a residual network for image classification."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import torch
from images import Batch, batches, data_options
from resnet import MODELS, resnet
from torch import nn

from benchmate.context import current
from benchmate.device import autocast_dtype, fetch, set_tf32, set_threads
from benchmate.observe import Observer

SEED = 1234
MOMENTUM = 0.9
OPTIMIZATIONS = ("channel_last", "inductor")
PRECISIONS = ("fp32", "tf32", "fp16", "tf32-fp16", "bf16")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    data_options(parser)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="fp16 runs as bf16 on a CPU")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=10, help="at most; the suite's limit usually comes first")
    parser.add_argument("--num-workers", type=int, default=4, help="processes that load images; 0 loads in this one")
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument("--optim", type=optimizations, default=(), help="channel_last, inductor, or both with a comma")
    parser.add_argument("--no-stdout", action="store_true", help="do not print the loss after each epoch")
    return parser.parse_args()


def optimizations(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, text.split(",")))
    for name in names:
        if name not in OPTIMIZATIONS:
            raise argparse.ArgumentTypeError(f"unknown optimization {name!r}: expected {' or '.join(OPTIMIZATIONS)}")
    return names


class Trainer:
    """A model, its optimizer and the precision they work in."""

    def __init__(self, args: argparse.Namespace, device: torch.device, autocast: torch.dtype | None) -> None:
        self.device, self.autocast = device, autocast
        self.layout = torch.channels_last if "channel_last" in args.optim else torch.contiguous_format
        model = resnet(args.model, args.num_classes).to(device, memory_format=self.layout)
        self.model = torch.compile(model) if "inductor" in args.optim else model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=MOMENTUM)
        self.scaler = torch.amp.GradScaler(device.type, enabled=autocast == torch.float16)

    def epoch(self, loader: Iterable[Batch], observer: Observer) -> torch.Tensor | None:
        """Make one pass; return the last loss, still on the device."""
        criterion = observer.criterion(nn.CrossEntropyLoss())
        loss = None
        for pixels, classes in loader:
            images = pixels.to(self.device, memory_format=self.layout, non_blocking=True)
            labels = classes.to(self.device, non_blocking=True)
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
                loss = criterion(self.model(images), labels)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return loss


def main() -> None:
    args = options()
    context = current()
    accelerator = fetch(context=context)
    set_threads(context)
    torch.manual_seed(SEED)

    observer = Observer(unit="images", accelerator=accelerator, context=context)
    set_tf32("tf32" in args.precision, accelerator, observer.note)
    autocast = autocast_dtype(args.precision, accelerator, observer.note)
    trainer = Trainer(args, accelerator.device(), autocast)
    observer.optimizer(trainer.optimizer)
    loader = observer.iterate(batches(args, context, accelerator.device()))

    for epoch in range(args.epochs):
        loss = trainer.epoch(loader, observer)
        if loss is not None and not args.no_stdout:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    main()
