"""A training script that knows nothing of milabench, as one comes from elsewhere."""

import argparse

import torch
from torch import nn

FEATURES, HIDDEN, CLASSES = 1024, 4096, 10


def dataloader(batch_size):
    dataset = torch.utils.data.TensorDataset(
        torch.randn(100 * batch_size, FEATURES), torch.randint(CLASSES, (100 * batch_size,))
    )
    return torch.utils.data.DataLoader(dataset, batch_size=batch_size, shuffle=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    model = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    loader = dataloader(args.batch_size)

    for _ in range(args.epochs):
        for features, classes in loader:
            loss = criterion(model(features.to(device)), classes.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
