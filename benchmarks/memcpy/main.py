"""Memory bandwidth: copies within a device's memory, between it and the host's, or within the host's."""

from __future__ import annotations

import argparse
import os

import torch
from caches import last_level_bytes

from benchmate.arguments import size
from benchmate.calibration import calls_per_observation, seconds_each
from benchmate.context import current
from benchmate.device import Accelerator, Cpu, fetch, set_threads
from benchmate.observe import Observer

DIRECTIONS = ("device", "host-to-device", "device-to-host", "host")
DEFAULT_BYTES = 1 << 30  # on an accelerator: more than the largest of their caches (256 MiB) four times over
TIMES_CACHE = 4  # STREAM's rule: an array is four times as large as all last-level caches together
LEAST_BYTES = 64 << 20  # on a host whose caches are small or unknown
SHARE_OF_MEMORY = 8  # an array takes an eighth of the host's memory at most


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--direction", choices=DIRECTIONS, default="device", help="where the copies are made")
    parser.add_argument("--bytes", type=size, help="of one copy; by default more than the caches hold")
    parser.add_argument("--pinned", action="store_true", help="the host's side of a transfer in page-locked memory")
    parser.add_argument("--threads", type=int, help="that copy on a host; by default those the plan gives the process")
    parser.add_argument(
        "--repeat", type=int, default=10_000, help="observations at most; the suite's limit comes first"
    )
    return parser.parse_args()


def default_bytes(accelerator: Accelerator, cache: int) -> int:
    if accelerator.arch != "cpu":
        return DEFAULT_BYTES
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(max(TIMES_CACHE * cache, LEAST_BYTES), memory // SHARE_OF_MEMORY)


def buffers(args: argparse.Namespace, length: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what is copied and where to, of so many bytes; both are written once, so that their pages are there."""
    host = torch.device("cpu")
    places = {
        "device": (device, device),
        "host-to-device": (host, device),
        "device-to-host": (device, host),
        "host": (host, host),
    }
    source, target = (
        torch.empty(length, dtype=torch.uint8, device=place, pin_memory=args.pinned and place != device)
        for place in places[args.direction]
    )
    source.random_()
    return source, target.zero_()


def say_size(length: int, accelerator: Accelerator, observer: Observer) -> None:
    """Note what a copy is of, and whether it measures the memory or a cache."""
    if accelerator.arch != "cpu":
        observer.note(f"a copy is of {length} bytes")
        return
    cache = last_level_bytes()
    observer.note(f"a copy is of {length} bytes by {torch.get_num_threads()} threads; the last cache holds {cache}")
    if length < TIMES_CACHE * cache:
        observer.note(f"that is less than {TIMES_CACHE} times the cache: some of the copies may stay in it")


def main() -> None:
    args = options()
    context = current()
    # Copies of the host are timed by its own clock, whatever accelerator the machine has.
    accelerator: Accelerator = Cpu() if args.direction == "host" else fetch(context=context)
    transfer = args.direction in ("host-to-device", "device-to-host")
    if transfer and accelerator.arch == "cpu":
        raise SystemExit(f"--direction {args.direction}: there is no device but the host itself: use host")
    if args.threads:
        torch.set_num_threads(args.threads)
    else:
        set_threads(context)
    torch.manual_seed(0)

    length = args.bytes or default_bytes(accelerator, last_level_bytes())
    # Within one memory every byte is read and written, and counts twice, as in STREAM's copy; a transfer counts once.
    moved = length if transfer else 2 * length
    work = [0]  # bytes in an observation; known after the calibration
    observer = Observer(unit="B", count=lambda _: work[0], accelerator=accelerator, context=context)
    say_size(length, accelerator, observer)
    if args.pinned and not transfer:
        observer.note(f"--pinned does nothing for --direction {args.direction}")
        args.pinned = False

    with torch.inference_mode():
        source, target = buffers(args, length, accelerator.device())

        def run() -> None:
            target.copy_(source, non_blocking=True)  # without page-locked memory torch waits for it all the same

        each_s = seconds_each(run, accelerator)
        if not torch.equal(target, source.to(target.device)):
            raise RuntimeError("what was copied differs from its source")
        number = calls_per_observation(each_s)
        work[0] = number * moved
        observer.note(f"an observation is {number} copies; a copied byte counts {moved // length}")
        for _ in observer.iterate(range(args.repeat)):
            for _ in range(number):
                run()


if __name__ == "__main__":
    main()
