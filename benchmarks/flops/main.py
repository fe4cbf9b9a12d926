"""Matrix products: how many operations a second a device makes, in one type of number."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from benchmate.calibration import calls_per_observation, seconds_each
from benchmate.context import current
from benchmate.device import Accelerator, fetch, set_tf32, set_threads
from benchmate.observe import Observer

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.int8,
    "fp8": getattr(torch, "float8_e4m3fn", None),
}
LONGEST_STEP_S = 0.25
SMALLEST = 128  # of the products that tell how fast a type is; 64 is the smallest size of a shrunk product
GIGA = 1e9


@dataclass(frozen=True)
class Size:
    """A product of an (m, k) matrix and a (k, n) matrix."""

    m: int
    n: int
    k: int

    @property
    def flop(self) -> int:
        return 2 * self.m * self.n * self.k

    def __str__(self) -> str:
        return f"{self.m}x{self.k}x{self.n}"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--m", type=int, default=1024, help="rows of the first matrix")
    parser.add_argument("--n", type=int, default=1024, help="columns of the second matrix")
    parser.add_argument("--k", type=int, default=1024, help="what both share")
    parser.add_argument(
        "--repeat", type=int, default=10_000, help="observations at most; the suite's limit comes first"
    )
    parser.add_argument("--max-gflop-per-step", type=float, default=math.inf, help="bound of one observation")
    return parser.parse_args()


def matrix(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if dtype == torch.int8:
        return torch.randint(-8, 8, (rows, columns), dtype=dtype, device=device)
    return torch.randn(rows, columns, device=device).to(dtype)


def product(size: Size, name: str, device: torch.device) -> Callable[[], object]:
    """Return a function that submits one product; it allocates nothing where the operation takes its result."""
    dtype = DTYPES[name]
    if dtype is None:
        raise RuntimeError(f"torch {torch.__version__} has no {name}")
    a = matrix(size.m, size.k, dtype, device)
    b = matrix(size.n, size.k, dtype, device).t()  # int8 and fp8 want the second matrix column by column
    if name == "int8":
        whole = torch.empty(size.m, size.n, dtype=torch.int32, device=device)
        return lambda: torch._int_mm(a, b, out=whole)
    if name == "fp8":
        one = torch.ones((), device=device)
        return lambda: torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    out = torch.empty(size.m, size.n, dtype=dtype, device=device)
    return lambda: torch.matmul(a, b, out=out)


def shrunk(size: Size, flop: float) -> Size:
    """Return the size, or one of fewer rows and columns that needs at most ``flop`` operations."""
    while size.flop > flop and max(size.m, size.n, size.k) > 64:
        largest = max(("m", "n", "k"), key=lambda name: getattr(size, name))
        size = replace(size, **{largest: max(64, getattr(size, largest) // 16 * 8)})
    return size


def calibrate(asked: Size, args: argparse.Namespace, accelerator: Accelerator) -> tuple[Size, int]:
    """Return the size of a product that fits an observation, and how many of them fill one.

    A small product says how fast the type is at least: on a CPU one large fp16 product takes seconds.
    """
    device = accelerator.device()
    small = Size(min(asked.m, SMALLEST), min(asked.n, SMALLEST), min(asked.k, SMALLEST))
    slowest = small.flop / seconds_each(product(small, args.dtype, device), accelerator)
    most = args.max_gflop_per_step * GIGA
    size = asked if accelerator.arch != "cpu" else shrunk(asked, slowest * LONGEST_STEP_S)
    size = shrunk(size, most)
    each_s = seconds_each(product(size, args.dtype, device), accelerator)
    return size, max(1, math.floor(min(calls_per_observation(each_s), most / size.flop)))


def main() -> None:
    args = options()
    context = current()
    accelerator = fetch(context=context)
    set_threads(context)
    torch.manual_seed(0)
    asked = Size(args.m, args.n, args.k)
    work = [0]  # operations in an observation; known after the calibration
    observer = Observer(unit="FLOP", count=lambda _: work[0], accelerator=accelerator, context=context)
    set_tf32(args.dtype == "tf32", accelerator, observer.note)

    with torch.inference_mode():
        size, number = calibrate(asked, args, accelerator)
        if size != asked:
            observer.note(f"a product of {asked} in {args.dtype} would be too long an observation: {size} instead")
        observer.note(f"an observation is {number} products of {size}")
        work[0] = number * size.flop
        run = product(size, args.dtype, accelerator.device())
        for _ in observer.iterate(range(args.repeat)):
            for _ in range(number):
                run()


if __name__ == "__main__":
    main()
