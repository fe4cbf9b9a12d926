"""Infer with a small network on made-up data. Replace model and batch by yours; the Session stays."""

from __future__ import annotations

import argparse

import torch
from torch import nn

from benchmate.context import current
from benchmate.device import autocast_dtype, fetch, set_tf32, set_threads
from benchmate.session import Session, Target
from benchmate.training import PRECISIONS

FEATURES, HIDDEN, CLASSES = 1024, 4096, 10


def options() -> argparse.Namespace:
    """Every option is a key of `argv` in the suite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=32, help="samples in an inference")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    return parser.parse_args()


def main() -> None:
    args = options()
    context = current()
    accelerator = fetch(context=context)  # the process's own device, of any vendor
    set_threads(context)
    device = accelerator.device()
    model = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)).eval()
    batch = torch.randn(args.batch_size, FEATURES)

    # All three parts are in the latency. After the suite's `skip` + `stop` inferences the Session returns.
    target = Target(
        items=args.batch_size,
        unit="samples",
        load=lambda: model.to(device),  # once, apart
        pre=lambda: batch.to(device),
        infer=model,
        post=lambda scores: scores.argmax(1).tolist(),
    )
    session = Session(target, accelerator=accelerator, context=context)
    set_tf32("tf32" in args.precision, accelerator, session.note)
    dtype = autocast_dtype(args.precision, accelerator, session.note)
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
        session.run()


if __name__ == "__main__":
    main()
