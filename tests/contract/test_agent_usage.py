"""Ask an agent what its processes take of the node."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from agents import launch, talk
from milabench.execute.hosts import Launch
from milabench.execute.hosts.local import LocalHost


def second(folder: Path) -> Launch:
    first = launch(folder, "sleep 1000")
    return replace(first, command=replace(first.command, tag="two"))


def test_usage_is_that_of_a_whole_tree(tmp_path: Path) -> None:
    busy = "sh -c 'while true; do :; done' & while true; do :; done"

    async def story(host: LocalHost) -> dict[str, dict[str, float]]:
        process = await host.start(launch(tmp_path, busy))
        idle = await host.start(second(tmp_path))
        end = time.monotonic() + 60
        while (found := (await host.request("usage"))["processes"])["one"]["cpu_s"] < 0.3:
            assert time.monotonic() < end, found
            await asyncio.sleep(0.05)
        for each in (process, idle):
            await each.stop("interrupt")
            await each.wait()
        assert (await host.request("usage"))["processes"] == {}
        return dict(found)

    found = talk(story)
    assert set(found) == {"one", "two"}
    assert found["two"]["cpu_s"] < 0.3
    assert found["one"]["rss_bytes"] > 100_000
