"""Collectives: how many bytes a second a group of devices exchanges, in one operation on messages of one size."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from operations import OPERATIONS, Message
from torch import distributed

from benchmate.arguments import size
from benchmate.calibration import calls_per_observation, seconds_each
from benchmate.context import current
from benchmate.device import fetch, set_threads
from benchmate.distributed import joined
from benchmate.observe import Observer

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operation", choices=OPERATIONS, default="all_reduce")
    parser.add_argument("--max-bytes", type=size, default="64M", help="size of the messages that are measured")
    parser.add_argument("--min-bytes", type=size, help="check and list smaller sizes from this one on, too")
    parser.add_argument("--factor", type=int, default=2, help="between a listed size and the next")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32", help="type of a message's elements")
    parser.add_argument(
        "--repeat", type=int, default=10_000, help="observations at most; the suite's limit comes first"
    )
    args = parser.parse_args()
    if args.factor < 2 or not 0 < (args.min_bytes or args.max_bytes) <= args.max_bytes:
        parser.error("sizes go up: --factor is 2 at least, and --min-bytes is at most --max-bytes")
    return args


def sizes(args: argparse.Namespace) -> Iterator[int]:
    """Yield the sizes of messages in bytes, ``--max-bytes`` last."""
    each = args.min_bytes or args.max_bytes
    while each < args.max_bytes:
        yield each
        each *= args.factor
    yield args.max_bytes


def slowest(seconds: float, device: torch.device) -> float:
    """Return the longest of all ranks' times: what all of them decide by. No rank goes on before all are here."""
    shared = torch.tensor(seconds, dtype=torch.float32, device=device)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return float(shared)


def main() -> None:
    args = options()
    context = current()
    ranks = context.world_size
    if ranks == 1:
        raise SystemExit("a collective needs two ranks at least: start it on two devices, or under torchrun")
    accelerator = fetch(context=context)
    set_threads(context)
    work = [0]  # bytes in an observation, this rank's share; known after the calibration
    observer = Observer(unit="B", count=lambda _: work[0], accelerator=accelerator, context=context)

    device = accelerator.device()
    with joined(accelerator, context), torch.inference_mode():
        for asked in sizes(args):
            parts = max(1, asked // DTYPES[args.dtype].itemsize // ranks)  # every rank has as many elements
            message = Message(args.operation, parts * ranks, DTYPES[args.dtype], device)
            message.check()
            each_s = seconds_each(message.run, accelerator, agree=lambda seconds: slowest(seconds, device))
            if context.rank == 0:
                print(
                    f"{args.operation} of {message.bytes} B among {ranks}: {each_s * 1e6:.1f} µs, algorithm"
                    f" {message.bytes / each_s / 1e9:.3f} GB/s, bus {message.bus_bytes / each_s / 1e9:.3f} GB/s",
                    flush=True,
                )

        number = calls_per_observation(each_s)
        # The rates of all ranks are summed: together they count the bus bandwidth once.
        work[0] = round(number * message.bus_bytes / ranks)
        if message.bytes != args.max_bytes:
            observer.note(f"{message.bytes} bytes instead of {args.max_bytes}: every rank has as many elements")
        observer.note(
            f"an observation is {number} operations; a message counts {message.bus_bytes / message.bytes:.4g} times"
        )
        for _ in observer.iterate(range(args.repeat)):
            for _ in range(number):
                message.run()


if __name__ == "__main__":
    main()
