"""``milabench status``: how far a run is, seen from outside of it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from milabench.app.report import find_run
from milabench.console import FRAME_CPU_S, PROGRESS_S, is_terminal, live_view, pause_s
from milabench.console.status import News, lines, overview
from milabench.console.usage import EVERY_S, Meter
from milabench.follow.run import Status, Watch
from milabench.render.status import document

_READING_S = 2.0  # of CPU, for one answer
_WIDTH = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which run, by folder or name (the newest by default), and in which form its state is to be written."""

    run: str | None
    base: Path
    follow: bool = False
    as_json: bool = False


def status(wanted: Wanted, out: TextIO) -> None:
    """Write how a run is, or with ``follow`` until it has ended. Changes nothing there.

    Raises RunDirError where there is no such run, or no plan in it.
    """
    watch = Watch(find_run(wanted.run, wanted.base))
    if not wanted.follow:
        _write(watch.look(_READING_S), watch, out, as_json=wanted.as_json)
    elif wanted.as_json:
        _documents(watch, out)
    else:
        _write(_frames(watch, out) if is_terminal(out) else _news(watch, out), watch, out)


def _looks(watch: Watch, reading_s: float) -> Iterator[Status]:
    """Look at a run until it has ended; what is done with a look counts for how long the next one is waited for."""
    while True:
        began = time.thread_time()
        found = watch.look(reading_s)
        yield found
        if found.is_over:
            return
        time.sleep(pause_s(time.thread_time() - began))


def _documents(watch: Watch, out: TextIO) -> None:
    before: object = None
    for found in _looks(watch, _READING_S):
        now = (found.state, found.outcomes, found.running)
        if now != before:
            _write(found, watch, out, as_json=True)
        before = now


def _frames(watch: Watch, out: TextIO) -> Status:
    """Draw frames until the run has ended; return how it is then."""
    meter, metered = Meter(), 0.0
    with live_view(out) as frame:
        for found in _looks(watch, FRAME_CPU_S):
            if time.monotonic() - metered >= EVERY_S:
                metered = time.monotonic()
                meter.take(found.usage, found.devices, watch.commands)
            if not found.is_over:
                frame.draw(overview(found, meter.known, time.time()))
    return found


def _news(watch: Watch, out: TextIO) -> Status:
    """Say what is new until the run has ended; return how it is then."""
    news = News(watch, PROGRESS_S)
    for found in _looks(watch, _READING_S):
        for line in news.of(found, time.time()):
            print(line, file=out, flush=True)
    return found


def _write(found: Status, watch: Watch, out: TextIO, *, as_json: bool = False) -> None:
    if as_json:
        print(json.dumps(document(found)), file=out, flush=True)
        return
    meter = Meter()
    meter.take(found.usage, found.devices, watch.commands)
    width = shutil.get_terminal_size().columns if out.isatty() else _WIDTH
    print(*lines(found, meter.known, width, time.time()), sep="\n", file=out, flush=True)
