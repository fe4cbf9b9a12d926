"""Observers in real processes: where a pass is made in another thread, and where a process forks."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from benchmate.wire import read_steps

OBSERVER = """
    import os, sys, threading, queue
    from benchmate.context import Context, Limit
    from benchmate.device import Cpu
    from benchmate.observe import Observer

    limit = Limit(skip=1, observations=4)
    context = Context(events=sys.argv[1] + "/a.data", steps=sys.argv[1] + "/a.steps", limit=limit)
    observer = Observer(context=context, accelerator=Cpu())
"""


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    source = textwrap.dedent(OBSERVER) + textwrap.dedent(script)
    argv = [sys.executable, "-c", source, str(folder)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def events(folder: Path) -> list[tuple[str, Any]]:
    lines = [json.loads(line) for line in (folder / "a.data").read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    return [(line["event"], line["data"]) for line in lines]


def test_at_the_limit_a_thread_that_fetches_ahead_ends_the_program(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        batches = queue.Queue(2)

        def fill():
            for batch in observer.iterate([[0]] * 100):
                batches.put(batch)

        threading.Thread(target=fill, daemon=True).start()
        while True:
            batches.get()
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [event for event, _ in events(tmp_path)] == ["hello", "note", "measured", "stop"]
    assert "another thread" in events(tmp_path)[1][1]["message"]
    assert len(read_steps(tmp_path / "a.steps")) == 5
    assert (tmp_path / "a.steps").stat().st_size == 64 + 5 * 40  # closed


def test_a_loop_without_a_loader_ends_the_program_from_another_thread_too(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        def loop():
            end_step = observer.begin()
            while True:
                end_step(1)

        thread = threading.Thread(target=loop)
        thread.start()
        thread.join()
        sys.exit(9)
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [event for event, _ in events(tmp_path)][-1] == "stop"
