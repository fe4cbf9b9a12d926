"""Await a benchfile's ``install``, ``prepare`` or overridden ``run`` in a process of its own, on its node."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Await the coroutine named by the first argument; the benchmark is described by the environment."""
    from milabench.pack import CommandFailed
    from milabench.package.load import load_one

    phase = sys.argv[1]
    config = json.loads(os.environ["MILABENCH_CONFIG"])
    pack_class = load_one(Path(config["dirs"]["code"]), dict(os.environ))
    pack = pack_class({**config, "phase": phase})
    os.environ.update({key: str(value) for key, value in pack.make_env().items()})
    try:
        asyncio.run(getattr(pack, phase)())
    except CommandFailed as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
