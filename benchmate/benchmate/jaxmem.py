"""Memory of the devices that JAX uses."""

from __future__ import annotations

from collections.abc import Callable


def memory_peak_fetcher() -> Callable[[], float]:
    """Return a function that says how much memory was in use at most, on the device that used most, in MiB.

    -1 where no device tells (a CPU has no such account).
    """
    import jax  # type: ignore[import-not-found,unused-ignore]

    def peak() -> float:
        accounts = (device.memory_stats() for device in jax.local_devices())
        used = [account["peak_bytes_in_use"] for account in accounts if account and "peak_bytes_in_use" in account]
        return max(used) / 2**20 if used else -1

    return peak
