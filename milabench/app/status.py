"""``milabench status``: how far a run is, seen from outside of it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from milabench.app import submitted
from milabench.app.jobs import SlurmJob, look
from milabench.app.report import find_run
from milabench.console import FRAME_CPU_S, PROGRESS_S, is_terminal, live_view, pause_s
from milabench.console.status import News, lines, overview
from milabench.console.usage import EVERY_S, Meter
from milabench.errors import NotBegunError, UsageError
from milabench.follow.run import Status, Watch
from milabench.render.status import document, unbegun
from milabench.rundir import RunDir
from milabench.slurm import records

_READING_S = 2.0  # of CPU, for one answer
_WIDTH = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which run, by folder or name (the newest by default), and in which form its state is to be written.

    ``environ`` is the operator's environment, in which Slurm's commands are found.
    """

    run: str | None
    base: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    follow: bool = False
    as_json: bool = False


def status(wanted: Wanted, out: TextIO) -> None:
    """Write how a run is, or with ``follow`` until it has ended; of one that was split how each is. Changes nothing.

    Raises RunDirError where there is no such run, or no plan in it.
    """
    paths = submitted.find(wanted.run, wanted.base)
    if len(paths) == 1:
        _of_one(paths[0], wanted, out)
        return
    if wanted.follow:
        attach = records.attaching(paths[0].parent)
        raise UsageError(f"status --follow is about one run: give one of {_names(paths)}, or {attach}")
    for number, path in enumerate(paths):
        if number and not wanted.as_json:
            print(file=out)
        try:
            _of_one(path, wanted, out)
        except NotBegunError as error:
            seen = look(path, wanted.environ)
            print(json.dumps(unbegun(path, seen)) if wanted.as_json else error, file=out, flush=True)


def _of_one(path: Path, wanted: Wanted, out: TextIO) -> None:
    run, job = _found(path, wanted), SlurmJob(path, wanted.environ)
    watch = Watch(run)
    if wanted.follow and wanted.as_json:
        _documents(watch, job, out)
        return
    if wanted.follow:
        found = _frames(watch, out) if is_terminal(out) else _news(watch, out)
    else:
        found = watch.look(_READING_S)
    if wanted.as_json:
        _write_document(found, job, out)
    else:
        _write(found, watch, job, out)


def _found(path: Path, wanted: Wanted) -> RunDir:
    """Return the run. Raises NotBegunError, with what Slurm says of its job, for one that has not begun."""
    try:
        return find_run(str(path), wanted.base)
    except NotBegunError:
        seen = look(path, wanted.environ)
        if seen is None:
            raise
        raise NotBegunError(path, f"{path}: {submitted.not_begun(records.read(path), seen)}") from None


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _looks(watch: Watch, reading_s: float) -> Iterator[Status]:
    """Look at a run until it has ended; what is done with a look counts for how long the next one is waited for."""
    while True:
        began = time.thread_time()
        found = watch.look(reading_s)
        yield found
        if found.is_over:
            return
        time.sleep(pause_s(time.thread_time() - began))


def _documents(watch: Watch, job: SlurmJob, out: TextIO) -> None:
    before: object = None
    for found in _looks(watch, _READING_S):
        now = (found.state, found.outcomes, found.running)
        if now != before:
            _write_document(found, job, out)
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


def _write_document(found: Status, job: SlurmJob, out: TextIO) -> None:
    print(json.dumps(document(found, job.look())), file=out, flush=True)


def _write(found: Status, watch: Watch, job: SlurmJob, out: TextIO) -> None:
    meter = Meter()
    meter.take(found.usage, found.devices, watch.commands)
    width = shutil.get_terminal_size().columns if out.isatty() else _WIDTH
    print(*lines(found, meter.known, width, time.time(), job.look()), sep="\n", file=out, flush=True)
