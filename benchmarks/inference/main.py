"""Infer with one network, a batch after the other: how many samples a second, and how long one batch takes."""

from __future__ import annotations

import argparse

import encoder
import resnet
import torch
from torch import nn

from benchmate.arguments import some_of
from benchmate.context import current
from benchmate.device import Accelerator, autocast_dtype, fetch, set_tf32, set_threads
from benchmate.session import Session, Target
from benchmate.training import PRECISIONS, SEED

CLASSES = 1000
OPTIMIZATIONS = ("channel_last", "inductor")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=(*resnet.MODELS, *encoder.MODELS), default="resnet50")
    parser.add_argument("--batch-size", type=int, default=1, help="samples in an inference")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="fp16 runs as bf16 on a CPU")
    parser.add_argument("--image-size", type=int, default=224, help="pixels of a side, for residual networks")
    parser.add_argument("--seq-length", type=int, default=128, help="tokens in a text, for bert")
    parser.add_argument("--vocab-size", type=int, default=30522, help="for bert")
    parser.add_argument("--layers", type=int, help="instead of bert's number of layers")
    parser.add_argument("--hidden-size", type=int, help="instead of bert's width")
    parser.add_argument("--heads", type=int, help="instead of bert's number of attention heads")
    parser.add_argument(
        "--optim", type=some_of(*OPTIMIZATIONS), default=(), help="channel_last, inductor, or both: a,b"
    )
    parser.add_argument("--parts", action="store_true", help="time the copies and the network by themselves, too")
    return parser.parse_args()


def network(args: argparse.Namespace) -> nn.Module:
    """Return the network with random weights; nothing is downloaded."""
    if args.model in resnet.MODELS:
        return resnet.resnet(args.model, CLASSES)
    layers, width, heads = encoder.MODELS[args.model]
    size = (args.layers or layers, args.hidden_size or width, args.heads or heads)
    return encoder.Encoder(size, vocabulary=args.vocab_size, length=args.seq_length, classes=CLASSES)


def batch(args: argparse.Namespace) -> torch.Tensor:
    """Return images (batch, 3, size, size) or token ids (batch, length), on the host."""
    if args.model in resnet.MODELS:
        return torch.randn(args.batch_size, 3, args.image_size, args.image_size)
    return torch.randint(args.vocab_size, (args.batch_size, args.seq_length))


class Classifier:
    """A network on a device, and the batch that it is asked about over and over."""

    def __init__(self, args: argparse.Namespace, accelerator: Accelerator) -> None:
        self.args, self.device = args, accelerator.device()
        self.dtype: torch.dtype | None = None  # of weights and images, known when there is somebody to note it
        self.layout = torch.channels_last if "channel_last" in args.optim else torch.contiguous_format

    def load(self) -> None:
        """Make the network and the batch; pinned memory, so that copying it is the device's work."""
        model = network(self.args).eval().to(self.device, self.dtype)
        host = batch(self.args)
        if self.args.model in resnet.MODELS:
            model, host = model.to(memory_format=self.layout), host.to(self.dtype or host.dtype)
            host = host.to(memory_format=self.layout)
        self.model = torch.compile(model) if "inductor" in self.args.optim else model
        self.host = host if self.device.type == "cpu" else host.pin_memory()

    def given(self) -> torch.Tensor:
        return self.host.to(self.device, non_blocking=True)

    def infer(self, samples: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.model(samples)
        return scores

    def answer(self, scores: torch.Tensor) -> torch.Tensor:
        return scores.argmax(1).cpu()


def main() -> None:
    args = options()
    context = current()
    accelerator = fetch(context=context)
    set_threads(context)
    torch.manual_seed(SEED)
    classifier = Classifier(args, accelerator)
    target = Target(
        infer=classifier.infer,
        items=args.batch_size,
        unit="samples",
        load=classifier.load,
        pre=classifier.given,
        post=classifier.answer,
        parts=args.parts,
    )
    session = Session(target, accelerator=accelerator, context=context)
    set_tf32("tf32" in args.precision, accelerator, session.note)
    classifier.dtype = autocast_dtype(args.precision, accelerator, session.note)
    with torch.inference_mode():
        session.run()


if __name__ == "__main__":
    main()
