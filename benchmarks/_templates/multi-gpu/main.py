"""Data-parallel training: a rank per device, gradients averaged over all of them."""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from benchmate.data import Synthetic, loader
from benchmate.training import PRECISIONS, Training

FEATURES, HIDDEN, CLASSES = 256, 1024, 10


def options() -> argparse.Namespace:
    """Every option is a key of `argv` in the suite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=128, help="samples of one rank")
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    return parser.parse_args()


def sample(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    features = torch.randn(FEATURES, generator=generator)
    return features, torch.randint(CLASSES, (), generator=generator)


def main() -> None:
    args = options()
    training = Training(unit="samples", precision=args.precision)  # every rank counts its own samples
    observer, rank = training.observer, training.context.rank

    with training.group():  # nccl, xccl, hccl or gloo, as the device has it; alone there is nothing to join
        model: nn.Module = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
        model = model.to(training.device)
        if training.context.world_size > 1:
            model = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
        criterion = nn.CrossEntropyLoss()
        data = Synthetic(sample, length=100 * args.batch_size, distinct=1024, seed=1024 * rank)
        batches = loader(data, batch_size=args.batch_size, workers=0, device=training.device)

        # The group goes on until rank 0 has measured enough; then milabench ends all ranks.
        while True:
            for batch in observer.iterate(batches):
                features, classes = training.moved(batch)
                with training.autocast():
                    loss = criterion(model(features), classes)
                observer.record_loss(loss)
                training.update(loss, optimizer)


if __name__ == "__main__":
    main()
