"""Train a deep-learning recommendation model to predict clicks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from model import INTERACTIONS, Architecture, Dlrm
from torch import nn

from benchmate.data import Synthetic, grouped
from benchmate.training import PRECISIONS, SEED, Training

DISTINCT = 8  # batches that differ; then they come again
SCATTER = 2654435761  # a prime: frequent rows of a table do not lie side by side, as in a table filled by hashes

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--arch-embedding-size", type=sizes, default="-".join(8 * ["1000000"]), help="rows of each table"
    )
    parser.add_argument("--arch-sparse-feature-size", type=int, default=64, help="width of an embedding")
    parser.add_argument(
        "--arch-mlp-bot",
        type=sizes,
        default="512-512-64",
        help="dense features, then widths; the last is an embedding's",
    )
    parser.add_argument(
        "--arch-mlp-top", type=sizes, default="1024-1024-1024-1", help="widths behind the interaction; the last is 1"
    )
    parser.add_argument("--arch-interaction-op", choices=INTERACTIONS, default="dot", help="how features interact")
    parser.add_argument("--num-indices-per-lookup", type=int, default=10, help="rows a sample sums in each table")
    parser.add_argument(
        "--zipf-exponent", type=float, default=1.0, help="the n-th row is asked for as 1/n^this; 0: alike"
    )
    parser.add_argument("--embedding-gradients", choices=("sparse", "dense"), default="sparse")
    parser.add_argument("--mini-batch-size", type=int, default=2048, help="samples in an optimizer step")
    parser.add_argument("--num-batches", type=int, default=1000, help="at most; the suite's limit usually comes first")
    parser.add_argument("--steps-per-observation", type=int, default=1, help="optimizer steps that are timed as one")
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="fp16 runs as bf16 on a CPU")
    args = parser.parse_args()
    if args.arch_mlp_bot[-1] != args.arch_sparse_feature_size:
        parser.error("the last width of --arch-mlp-bot must be --arch-sparse-feature-size")
    if args.arch_mlp_top[-1] != 1:
        parser.error("the last width of --arch-mlp-top must be 1: a click's probability")
    if args.num_batches < args.steps_per_observation:
        parser.error("--num-batches must be at least --steps-per-observation")
    return args


def sizes(text: str) -> tuple[int, ...]:
    """Return the numbers of a text like 512-256-64."""
    try:
        numbers = tuple(int(number) for number in text.split("-"))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 512-256-64")
    return numbers


def rows(shape: Sequence[int], table: int, exponent: float, generator: torch.Generator) -> torch.Tensor:
    """Return int64 indices into a table of that many rows, distributed about as Zipf's law says.

    The n-th most frequent one has a density of n^-exponent: uniform numbers through the inverse of its integral.
    """
    uniform = torch.rand(tuple(shape), generator=generator, dtype=torch.float64)
    if exponent == 1:
        ranks = (table + 1) ** uniform
    else:
        ranks = (1 + uniform * ((table + 1) ** (1 - exponent) - 1)) ** (1 / (1 - exponent))
    return ((ranks.long() - 1).clamp(0, table - 1) * SCATTER) % table


def batch(args: argparse.Namespace, device: torch.device, generator: torch.Generator) -> Batch:
    """Return dense features, (batch, features), indices, (tables, batch, lookups), and clicks, (batch,), on the host.

    A click's probability depends on the dense features, so that there is something to learn.
    """
    dense = torch.rand(args.mini_batch_size, args.arch_mlp_bot[0], generator=generator)
    shape = (args.mini_batch_size, args.num_indices_per_lookup)
    indices = torch.stack([rows(shape, n, args.zipf_exponent, generator) for n in args.arch_embedding_size])
    likely = torch.sigmoid(8 * (dense[:, 0] - 0.5))
    clicks = torch.bernoulli(likely, generator=generator)
    whole = (dense, indices, clicks)
    if device.type == "cpu":
        return whole
    return tuple(tensor.pin_memory() for tensor in whole)  # the host does not wait for copies from pinned memory


def main() -> None:
    args = options()
    training = Training(
        unit="samples", precision=args.precision, count=lambda group: sum(len(clicks) for _, _, clicks in group)
    )
    observer = training.observer

    shape = Architecture(
        rows=args.arch_embedding_size,
        bottom=args.arch_mlp_bot,
        top=args.arch_mlp_top,
        interaction=args.arch_interaction_op,
        sparse=args.embedding_gradients == "sparse",
    )
    with training.device:  # tables may be larger than the host's memory
        model = Dlrm(shape)
    optimizer = observer.optimizer(torch.optim.SGD(model.parameters(), lr=args.learning_rate))
    criterion = nn.BCEWithLogitsLoss()
    batches = Synthetic(
        lambda generator: batch(args, training.device, generator),
        length=args.num_batches,
        distinct=DISTINCT,
        seed=SEED,
    )

    for group in observer.iterate(grouped(batches, args.steps_per_observation)):
        for host in group:
            dense, indices, clicks = training.moved(host)
            with training.autocast():
                loss = criterion(model(dense, indices), clicks)
            training.update(loss, optimizer)
        observer.record_loss(loss)  # the last of the observation


if __name__ == "__main__":
    main()
