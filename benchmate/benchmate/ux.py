"""Signs of life in long waits."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def long_action(msg: str, interval: float = 1) -> Iterator[None]:
    """Say every ``interval`` seconds that a block still runs, and for how long: in place on a terminal, else in lines.

    For preparing, not for measuring: a thread says it.
    """
    over, begin = threading.Event(), time.monotonic()
    before, after = ("\r", "") if sys.stderr.isatty() else ("", "\n")

    def say() -> None:
        while not over.wait(interval):
            sys.stderr.write(f"{before}{msg} {time.monotonic() - begin:.0f} s{after}")
            sys.stderr.flush()

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sys.stderr.write("\n" if before else "")
