"""The agent's zip as a Python of another machine takes it, here over the pipe of a child process."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from milabench.errors import PreflightError
from milabench.execute.hosts.boot import Boot
from milabench.execute.hosts.child import Child


def start(boot: Boot, cache: Path) -> None:
    """Have an agent start, and end it."""

    async def main() -> None:
        pipe = await Child.spawn(boot.command(sys.executable), {"XDG_CACHE_HOME": str(cache)}, keeps_words=True)
        try:
            await boot.start(pipe, "node n1", sys.executable)
        finally:
            pipe.close_input()
            assert await pipe.ended() in ("exit code 0", "exit code 3")

    asyncio.run(main())


def test_a_zip_is_taken_kept_and_found_again(tmp_path: Path) -> None:
    boot = Boot.made({"XDG_CACHE_HOME": str(tmp_path / "operator")})
    there = tmp_path / "node" / "milabench" / "agents" / f"{boot.digest}.zip"
    start(boot, tmp_path / "node")
    assert there.read_bytes() == boot.content
    start(replace(boot, content=b""), tmp_path / "node")  # it is not asked for


def test_a_zip_that_comes_otherwise_than_it_was_sent_is_neither_run_nor_kept(tmp_path: Path) -> None:
    boot = Boot.made({"XDG_CACHE_HOME": str(tmp_path / "operator")})
    with pytest.raises(PreflightError, match="node n1: the agent did not come there as it was sent"):
        start(replace(boot, content=boot.content[:-1] + b"?"), tmp_path / "node")
    assert list((tmp_path / "node").rglob("*")) == []
