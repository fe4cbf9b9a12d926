"""Run a script under voir with one voirfile's instruments: ``python -m benchmate.overseer [OPTIONS] [-m] SCRIPT …``.

voir's own command loads every voirfile it finds, loses metrics on a full pipe and ends well when an instrument failed.
Here only ``VOIRFILE`` is loaded, events go to the process's event file, and an instrument or a probe that failed is a
failure: exit code 1, with an ``error`` event that says why; what fails before the script runs keeps it from running.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmate import mistakes, reported
from benchmate.configured import ConfigurationError, configured
from benchmate.context import Context, current, own_descriptor
from benchmate.probes import ProbeError, Probes, watch_giving
from benchmate.recording import error_data
from benchmate.reported import Reported
from benchmate.stopping import StopProgram

_FIRST: Final = 1_000_000  # priority: before every instrument of a voirfile
_LAST: Final = -_FIRST
_USAGE: Final = "usage: python -m benchmate.overseer [OPTIONS OF THE VOIRFILE] [-m] SCRIPT ARGS…\n"
_NOT_FINALIZED: Final = (
    "was ended by the StopProgram that `yield ov.phases.{phase}` raised, since enough was measured: what it does after"
    " that is left out; catch it there, or wait for ov.phases.finalize alone"
)
_MISTAKES: Final = (ProbeError, ConfigurationError)  # of who wrote the voirfile: told without a traceback


def main(argv: Sequence[str]) -> int:
    """Return the exit code: the script's own, or 1 when it raised or was not measured as its voirfile asks."""
    options, target, arguments = _split(list(argv))
    if not target or target == ["-m"]:
        sys.stderr.write(_USAGE)
        return 2
    context = current()
    own_descriptor(context)
    record = Record(reported.here())
    if context.world_size != 1:  # before the ranks meet: nobody else says that this one is there
        record.write("hello", {"pid": os.getpid(), "python": platform.python_version(), **context.place})
    try:
        overseer = _overseer(context, record)
    except Exception as error:
        return record.fail(error)
    if overseer is None:
        return 1
    if target[0] != "-m":
        sys.path.insert(0, str(Path(target[-1]).resolve().parent))
    sys.argv = [target[-1], *arguments]  # also for what reads it while the script is loaded
    probes = Probes(overseer, record.note, context.voirfile)
    watch_giving(record.note)
    overseer.require(_listener(record, arguments))
    with _told_when_terminated(probes, record):
        code = _run(overseer, [*options, *target], record)
    if code == 0:
        _tell_missing(probes, record)
    return code or int(record.failed)


class Record:
    """Where everything voir says goes: the process's event file, or nowhere for a script run by hand."""

    def __init__(self, metrics: Reported) -> None:
        self.metrics = metrics
        self._given: Mapping[str, Any] | None = None
        self.failed = self.over = False
        self.note, self.write = metrics.note, metrics.write

    def error(self, kind: str, message: str, trace: str = "") -> None:
        """Write an ``error`` event; the process will not end with 0."""
        self.failed = True
        self.write("error", {"type": kind, "message": message, "trace": trace})
        sys.stderr.write(f"{trace}overseer: {message}\n")

    def fail(self, error: BaseException) -> int:
        """Write what the script (or loading it) raised, with its traceback on stderr; return the exit code."""
        self.write("error", error_data(error))
        traceback.print_exception(type(error), error, error.__traceback__)
        return 1

    def on_instrument_error(self, error: BaseException) -> None:
        """Take what an instrument raised: voir itself would go on without it."""
        if isinstance(error, _MISTAKES):
            self.error(type(error).__name__, str(error))
        else:
            data = error_data(error)
            self.error(data["type"], f"an instrument failed: {data['type']}: {data['message']}", data["trace"])

    def on_given(self, data: Mapping[str, Any]) -> None:
        """Take what the script gave: metrics are written, all else is for the instruments."""
        if "$event" not in data and self.metrics.is_metric(data):
            self._given = data
            try:
                self.metrics.push(data)
            except StopProgram:
                if not self.over:  # what other threads gave last comes in when all is over: nothing is left to end
                    raise

    def on_log(self, data: Mapping[str, Any]) -> None:
        """Take what was logged: voir's events, and data; what ``on_given`` has just written is not written again."""
        event, given = data.get("$event"), self._given
        if event == "stop":
            self.metrics.stop({"reason": "voirfile"})
        elif event in ("error", "overseer_error"):
            pass  # they are written where they arise, with their tracebacks; to leave by sys.exit(0) is none
        elif event is not None:
            self.write(str(event), data.get("$data"))
        elif given is None or any(given.get(key) is not value for key, value in data.items()):
            self.metrics.push(data)


def _split(argv: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the options that a voirfile takes, what is to be run ([-m] SCRIPT), and the arguments of that."""
    for index, word in enumerate(argv):
        if word == "-m":
            return argv[:index], argv[index : index + 2], argv[index + 2 :]
        if word.endswith(".py") and Path(word).is_file():
            return argv[:index], [word], argv[index + 1 :]
    return [], argv[:1], argv[1:]


def _overseer(context: Context, record: Record) -> Any:
    """Return voir's Overseer with the voirfile's instruments, or None when that has mistakes (which are written)."""
    if context.voirfile is not None:
        try:
            found = mistakes.problems(Path(context.voirfile).read_text())
        except SyntaxError as error:
            found = [f"line {error.lineno}: {error.msg}"]
        for mistake in found:
            record.error("VoirfileError", f"{context.voirfile}: {mistake}")
        if found:
            return None
    from voir.cli import collect_instruments
    from voir.overseer import Overseer

    with configured(context, record.note) as offer:
        instruments = [] if context.voirfile is None else collect_instruments([context.voirfile])
    overseer = Overseer(instruments=instruments, logfile=None)
    _mend(overseer, record)
    offer(overseer.argparser)
    return overseer


def _mend(overseer: Any, record: Record) -> None:
    """Let an overseer tell of failures, take a StopProgram without a value, and come to its end whatever is given."""
    overseer.log = record.on_log  # voir makes its own once it runs; an instrument can fail before
    overseer._on_instrument_error = record.on_instrument_error
    _let_finalize(overseer, record)
    finish = overseer._finish

    def finish_quietly() -> None:
        record.over = True
        finish()

    overseer._finish = finish_quietly


def _let_finalize(overseer: Any, record: Record) -> None:
    """Let instruments that wait for the end of all come to it where the program ends early, as where it does not.

    voir would throw a StopProgram at them too. One that ended at it before, with its end of all still to come, is told.
    """
    from voir.phase import StopProgram as Stopped

    stop, step, last = overseer._on_stop, overseer._step_one, overseer.phases.finalize

    def stop_others(value: object = None) -> None:  # voir's StopProgram without a value would be a TypeError
        waiting, overseer.plan[last] = overseer.plan[last], []
        stop(value)
        overseer.plan[last] = waiting

    def step_one(instrument: Any, phase: Any) -> Any:
        code = _innermost(instrument).gi_code
        found = step(instrument, phase)
        if found[0] is None and isinstance(phase.exception, Stopped) and last.name in code.co_names:
            record.note(f"{code.co_name} {_NOT_FINALIZED.format(phase=phase.name)}")
        return found

    overseer._on_stop, overseer._step_one = stop_others, step_one


def _innermost(instrument: Any) -> Any:
    """Return the generator of a voirfile's own function: voir's ``configurable`` makes one around it."""
    while hasattr(instrument.gi_yieldfrom, "gi_code"):
        instrument = instrument.gi_yieldfrom
    return instrument


class _Unmeasured(Exception):
    """End the program before its script runs, since it would not be measured."""


def _listener(record: Record, arguments: list[str]) -> Callable[[Any], Generator[Any, Any, None]]:
    """Return the instrument that writes what others say, and hands the script its arguments.

    voir would take a ``--config`` among them for its own, so that they never pass through its parser.
    """

    def instrument(overseer: Any) -> Generator[Any, Any, None]:
        yield overseer.phases.init(priority=_FIRST)
        overseer.given.subscribe(record.on_given)
        overseer.log.subscribe(record.on_log)
        yield overseer.phases.parse_args(priority=_FIRST)
        options = overseer.options
        if options.SCRIPT:
            options.ARGV = arguments
        else:
            options.MODULE = [*options.MODULE, *arguments]
        yield overseer.phases.load_script(priority=_LAST)
        if record.failed:
            overseer.abort(_Unmeasured())

    return instrument


def _run(overseer: Any, words: list[str], record: Record) -> int:
    try:
        overseer(words)
    except SystemExit as stop:
        return _exit_code(stop.code)
    except KeyboardInterrupt:
        return 130
    except _Unmeasured:
        return 1
    except BaseException as error:
        return record.fail(error)
    return 0


def _tell_missing(probes: Probes, record: Record) -> None:
    for message in probes.missing():
        record.error("ProbeNeverFired", message)


@contextmanager
def _told_when_terminated(probes: Probes, record: Record) -> Iterator[None]:
    """For a block: say which probes never fired when the program is ended from outside, since its time is over.

    A script that takes the signal for its own keeps it; a forked child dies of it as it would.
    """

    def tell(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if record.metrics.is_own_process:
            _tell_missing(probes, record)
        signal.raise_signal(number)

    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, tell)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is tell:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit_code(code: object) -> int:
    """As the interpreter has it: None is 0, a text is said and 1."""
    if code is None or isinstance(code, int):
        return code or 0
    sys.stderr.write(f"{code}\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
