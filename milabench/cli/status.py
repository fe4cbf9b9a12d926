"""``milabench status``."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from milabench.cli.shared import base_option, read_options

if TYPE_CHECKING:
    from milabench.follow.run import Status, Watch

_READING_S = 2.0  # of CPU, for one answer
_LOOK_S = 1.0
_WIDTH = 160


@click.command()
@click.argument("run", required=False, metavar="[RUN]")
@base_option
@click.option("--follow", "-f", is_flag=True, help="Go on until the run has ended; Ctrl-C leaves, the run goes on.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; with --follow a line each time a trial begins or ends.")
def status(run: str | None, follow: bool, as_json: bool, **values: Any) -> int:
    """Show how far a run is, given by folder or name; the newest by default. Works from anywhere that can read it."""
    from milabench.app.status import status as flow

    watch = flow(run, read_options(values).base)
    if follow and as_json:
        _documents(watch)
    else:
        _print(_followed(watch) if follow else watch.look(_READING_S), watch, as_json=as_json)
    return 0


def _print(found: Status, watch: Watch, *, as_json: bool) -> None:
    from milabench.console.status import lines
    from milabench.console.usage import Meter
    from milabench.render.status import document

    if as_json:
        print(json.dumps(document(found)), flush=True)
        return
    meter = Meter()
    meter.take(found.usage, (), watch.commands)
    print(*lines(found, meter.known, _width(), time.time()), sep="\n", flush=True)


def _width() -> int:
    if not sys.stdout.isatty():
        return _WIDTH
    import shutil

    return shutil.get_terminal_size().columns


def _followed(watch: Watch) -> Status:
    """Show a run until it has ended; return how it is then."""
    from milabench.console import is_terminal

    return _frames(watch) if is_terminal(sys.stdout) else _news(watch)


def _documents(watch: Watch) -> None:
    before: object = None
    while True:
        found = watch.look(_READING_S)
        now = (found.state, dict(found.outcomes), dict(found.running))
        if now != before:
            _print(found, watch, as_json=True)
        if found.is_over:
            return
        before = now
        time.sleep(_LOOK_S)


def _frames(watch: Watch) -> Status:
    from milabench.console import FRAME_CPU_S, live_view, pause_s
    from milabench.console.status import overview
    from milabench.console.usage import EVERY_S, Meter

    meter, metered = Meter(), 0.0
    with live_view(sys.stdout) as frame:
        while True:
            began = time.thread_time()
            found = watch.look(FRAME_CPU_S)
            if found.is_over:
                return found
            if time.monotonic() - metered >= EVERY_S:
                metered = time.monotonic()
                meter.take(found.usage, (), watch.commands)
            frame.draw(overview(found, meter.known, time.time()))
            time.sleep(pause_s(time.thread_time() - began))


def _news(watch: Watch) -> Status:
    from milabench.console import PROGRESS_S
    from milabench.console.status import News

    news = News(watch, PROGRESS_S)
    while True:
        found = watch.look(_READING_S)
        for line in news.of(found, time.time()):
            print(line, flush=True)
        if found.is_over:
            return found
        time.sleep(_LOOK_S)
