"""Train a small network on made-up data. Replace model, data and loss by yours; the Observer stays."""

from __future__ import annotations

import argparse

import torch
from torch import nn

from benchmate.data import Synthetic, loader
from benchmate.training import PRECISIONS, Training

FEATURES, HIDDEN, CLASSES = 1024, 4096, 10


def options() -> argparse.Namespace:
    """Every option is a key of `argv` in the suite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--num-workers", type=int, default=0, help="processes that load data; 0 loads in this one")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    return parser.parse_args()


def sample(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    features = torch.randn(FEATURES, generator=generator)
    return features, torch.randint(CLASSES, (), generator=generator)


def main() -> None:
    args = options()
    training = Training(unit="samples", precision=args.precision)  # device, threads, seed, precision, Observer
    observer = training.observer

    model = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)).to(training.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss()
    data = Synthetic(sample, length=100 * args.batch_size, distinct=1024)
    batches = loader(data, batch_size=args.batch_size, workers=args.num_workers, device=training.device)

    # A step is what happens between two batches, the wait for the next one included. After the suite's `skip` + `stop`
    # steps the program ends in here, with exit code 0: write the loop as if it ran for ever.
    while True:
        for batch in observer.iterate(batches):
            features, classes = training.moved(batch)
            with training.autocast():
                loss = criterion(model(features), classes)
            observer.record_loss(loss)  # read later: never call .item() in the loop, it waits for the device
            training.update(loss, optimizer)


if __name__ == "__main__":
    main()
