"""Traces of JAX programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmate.context import current


@contextmanager
def jax_profiler(trace_dir: str | Path | None = None, enabled: bool = False) -> Iterator[None]:
    """Trace what JAX does in a block, when ``enabled``, for TensorBoard or Perfetto; what is traced is slower.

    ``trace_dir`` is by default ``trace`` in the benchmark's folder for extra files, or in the current one.
    """
    if not enabled:
        yield
        return
    import jax  # type: ignore[import-not-found,unused-ignore]

    folder = Path(trace_dir or Path(current().dirs.get("extra", "."), "trace"))
    folder.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"tracing to {folder}\n")
    with jax.profiler.trace(str(folder)):
        yield
