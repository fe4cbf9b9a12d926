"""Train a Llama-style decoder to predict the next token, on one device or on all of them."""

from __future__ import annotations

import argparse
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from model import SIZES, Decoder, Size
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from benchmate.data import Synthetic, loader
from benchmate.training import SEED, Training

STRATEGIES = ("none", "ddp", "fsdp")
PRECISIONS = ("fp32", "tf32", "bf16")  # fp16 needs a scaled loss, and nobody trains these so
BETAS, WEIGHT_DECAY = (0.9, 0.95), 0.1  # of Llama's papers
DISTINCT = 256  # sequences of a rank; it sees them over and over


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=SIZES, default="llama3.2-1b", help="a published size")
    parser.add_argument("--layers", type=int, help="instead of the model's number of layers")
    parser.add_argument("--hidden-size", type=int, help="instead of the model's width")
    parser.add_argument("--intermediate-size", type=int, help="instead of the model's width of SwiGLU")
    parser.add_argument("--heads", type=int, help="instead of the model's number of attention heads")
    parser.add_argument("--kv-heads", type=int, help="instead of the model's number of keys and values")
    parser.add_argument("--vocab-size", type=int, help="instead of the model's number of tokens")
    parser.add_argument("--seq-length", type=int, default=2048, help="tokens predicted in a sequence")
    parser.add_argument("--batch-size", type=int, default=1, help="sequences of a rank in one pass")
    parser.add_argument("--gradient-accumulation-steps", type=int, default=1, help="passes before an optimizer's step")
    parser.add_argument("--strategy", choices=STRATEGIES, default="none", help="what a group of ranks shares, and how")
    parser.add_argument("--activation-checkpointing", action="store_true", help="compute blocks twice, to save memory")
    parser.add_argument("--compile", action="store_true", help="torch.compile, block by block")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--lr", type=float, default=3e-4, help="constant: a measurement ends before a warm-up would")
    parser.add_argument("--num-workers", type=int, default=0, help="processes that load tokens; 0 loads in this one")
    parser.add_argument("--num-samples", type=int, default=DISTINCT, help="different sequences of a rank")
    args = parser.parse_args()
    size = size_of(args)
    if size.hidden % (2 * size.heads) or size.heads % size.kv_heads:
        parser.error("--heads must divide --hidden-size into even parts, and --kv-heads divide --heads")
    return args


def size_of(args: argparse.Namespace) -> Size:
    asked = {
        "layers": args.layers,
        "hidden": args.hidden_size,
        "feed_forward": args.intermediate_size,
        "heads": args.heads,
        "kv_heads": args.kv_heads,
        "vocabulary": args.vocab_size,
    }
    return replace(SIZES[args.model], **{name: value for name, value in asked.items() if value is not None})


def sequence(length: int, vocabulary: int, generator: torch.Generator) -> torch.Tensor:
    """Return int64 token ids of shape (length + 1,), the n-th with a probability of about 1/n, as words are (Zipf)."""
    return torch.exp(torch.rand(length + 1, generator=generator) * math.log(vocabulary)).long() - 1


def decoder(args: argparse.Namespace, training: Training) -> nn.Module:
    """Return the model on the device, each rank with its copy (ddp) or its share (fsdp) of the weights."""
    alone = training.context.world_size == 1
    if alone and args.strategy != "none":
        training.observer.note(f"one rank alone: --strategy {args.strategy} has nothing to share")
    with torch.device("meta"):
        model = Decoder(size_of(args), args.seq_length, args.activation_checkpointing)
    if args.compile:
        for block in model.blocks:
            block.compile()
    if args.strategy == "fsdp" and not alone:
        shard(model, training)
        torch.manual_seed(SEED + training.context.rank)  # or the shares of all ranks would hold the same numbers
    model.materialise(training.device)
    if args.strategy == "ddp" and not alone:
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    return model


def shard(model: Decoder, training: Training) -> None:
    """Shard every block by itself, and the rest; weights are gathered in 16 bits where that is the precision."""
    mesh = init_device_mesh(training.device.type, (training.context.world_size,))
    policy = MixedPrecisionPolicy(
        param_dtype=training.dtype,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # the table of angles stays fp32
    )
    for block in model.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def unsynchronised(model: nn.Module) -> AbstractContextManager[None]:
    """Leave a pass's gradients on their rank; sharded ones are always reduced, since a rank cannot hold all."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def step(
    args: argparse.Namespace,
    training: Training,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    tokens: torch.Tensor,
) -> torch.Tensor:
    """Make one optimizer's step of ``gradient_accumulation_steps`` passes; return the mean loss, on the device."""
    passes = tokens.split(args.batch_size)
    total = torch.zeros((), device=training.device)
    for number, part in enumerate(passes, start=1):
        last = number == len(passes)
        with nullcontext() if last else unsynchronised(model):
            with training.autocast():
                loss = model(part) / len(passes)
            total += loss.detach()
            if last:
                training.update(loss, optimizer)
            else:
                training.backward(loss)
    return total


def main() -> None:
    args = options()
    # A batch is (sequences, length + 1); the first token of each is given, not predicted.
    training = Training(
        unit="tokens", precision=args.precision, count=lambda batch: batch.shape[0] * (batch.shape[1] - 1)
    )
    observer, rank = training.observer, training.context.rank

    with training.group():
        model = decoder(args, training)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=args.lr, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=training.device.type != "hpu"
        )
        observer.optimizer(optimizer)
        vocabulary, rows = size_of(args).vocabulary, args.batch_size * args.gradient_accumulation_steps
        data = Synthetic(
            lambda generator: sequence(args.seq_length, vocabulary, generator),
            length=max(100 * rows, args.num_samples),
            distinct=args.num_samples,
            seed=rank * args.num_samples,
        )
        batches = loader(data, batch_size=rows, workers=args.num_workers, device=training.device)
        while True:  # until the suite's limit; the ranks of a group are ended together, from outside
            for batch in observer.iterate(batches):
                observer.record_loss(step(args, training, model, optimizer, training.moved(batch)))


if __name__ == "__main__":
    main()
