"""Run a script under voir with the instruments of one voirfile: ``python -m benchmate.overseer [-m] SCRIPT ARGS…``.

voir's own command loads every voirfile it finds, loses metrics on a full pipe and ends well when an instrument failed.
Here only ``VOIRFILE`` is loaded, events go to the process's event file, and an instrument or a probe that failed is a
failure: exit code 1, with an ``error`` event that says why.
"""

from __future__ import annotations

import dataclasses
import sys
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmate import voirfile
from benchmate.context import Context, current, writer
from benchmate.observe import error_data
from benchmate.wire import EventWriter

_FIRST: Final = 1_000_000  # priority: before every instrument of a voirfile
_USAGE: Final = "usage: python -m benchmate.overseer [-m] SCRIPT ARGS…\n"


def main(argv: Sequence[str]) -> int:
    """Return the exit code: the script's own, or 1 when it raised or was not measured as its voirfile asks."""
    target = list(argv[:2] if argv[:1] == ["-m"] else argv[:1])
    if not target or target == ["-m"]:
        sys.stderr.write(_USAGE)
        return 2
    context = current()
    record = Record(writer(context))
    try:
        overseer = _overseer(context, record)
    except Exception as error:
        return record.fail(error)
    if overseer is None:
        return 1
    script, arguments = target[-1], list(argv[len(target) :])
    if target[0] != "-m":
        sys.path.insert(0, str(Path(script).resolve().parent))
    sys.argv = [script, *arguments]  # also for what reads it while the script is loaded
    probes = _watch_probes(overseer)
    overseer.require(_listener(record, arguments))
    code = _run(overseer, target, record)
    if code == 0:
        for selector in (selector for selector, fired in probes.items() if not fired):
            record.error("ProbeNeverFired", f"{selector}: declared, but nothing it names was ever reached")
    return code or int(record.failed)


class Record:
    """Where everything voir says goes: the process's event file, or nowhere for a script run by hand."""

    def __init__(self, events: EventWriter | None) -> None:
        self._events = events
        self._given: Mapping[str, Any] | None = None
        self.failed = False

    def write(self, event: str, data: object) -> None:
        if self._events is not None:
            self._events.write(event, data)

    def note(self, message: str) -> None:
        self.write("note", {"message": message})

    def error(self, kind: str, message: str, trace: str = "") -> None:
        """Write an ``error`` event; the process will not end with 0."""
        self.failed = True
        self.write("error", {"type": kind, "message": message, "trace": trace})
        if not trace:
            sys.stderr.write(f"overseer: {message}\n")

    def fail(self, error: BaseException) -> int:
        """Write what the script (or loading it) raised, with its traceback on stderr; return the exit code."""
        self.write("error", error_data(error))
        traceback.print_exception(type(error), error, error.__traceback__)
        return 1

    def on_given(self, data: Mapping[str, Any]) -> None:
        """Take what the script gave: metrics are written, all else is for the instruments."""
        metric = None if "$event" in data else voirfile.metric(data)
        self._given = None if metric is None else data
        if metric is not None:
            self.write("data", metric)

    def on_log(self, data: Mapping[str, Any]) -> None:
        """Take what was logged: voir's events, and data; what ``on_given`` has just written is not written again."""
        event, given = data.get("$event"), self._given
        if event == "overseer_error":
            what = data.get("$data") or {}
            self.error(what.get("type", ""), f"an instrument failed: {what.get('message', '')}", traceback.format_exc())
        elif event == "error":
            pass  # the script's own, written with its traceback when it arrives
        elif event is not None:
            self.write(str(event), data.get("$data"))
        elif given is None or any(given.get(key) is not value for key, value in data.items()):
            self.write("data", voirfile.plain(data))


def _overseer(context: Context, record: Record) -> Any:
    """Return voir's Overseer with the voirfile's instruments, or None when that has mistakes (which are written)."""
    instruments: list[Any] = []
    if context.voirfile is not None:
        path = Path(context.voirfile)
        mistakes = voirfile.problems(path.read_text())
        for mistake in mistakes:
            record.error("VoirfileError", f"{path}: {mistake}")
        if mistakes:
            return None
    from voir.cli import collect_instruments
    from voir.overseer import Overseer

    if context.voirfile is not None:
        instruments = collect_instruments([context.voirfile])
    overseer = Overseer(instruments=instruments, logfile=None)
    overseer.log = record.on_log  # voir makes its own once it runs; an instrument can fail before
    stop = overseer._on_stop
    overseer._on_stop = lambda value=None: stop(value)  # voir's StopProgram without a value would be a TypeError
    _offer_options(overseer.argparser, context, record.note)
    return overseer


def _offer_options(parser: Any, context: Context, note: Callable[[str], None]) -> None:
    """Give each options class the block of ``voir`` that has its argument's name, when it asks to be added.

    Handed over whole, as ``--config`` does it, a key the class does not have would disable its instrument.
    """
    add_from_model = parser.add_from_model

    def add(dest: str, model: Any, flatten: bool = True) -> None:
        block = context.voir.get(dest)
        if isinstance(block, Mapping) and isinstance(model, type) and dataclasses.is_dataclass(model):
            fields = {field.name for field in dataclasses.fields(model)}
            kept, ignored = voirfile.fitting(block, fields, context.limit.observations)
            parser.base_configs = {**parser.base_configs, dest: kept}
            for key in ignored:
                note(f"voir.{dest}.{key} is ignored: {model.__name__} of the voirfile has no such field")
        add_from_model(dest, model, flatten)

    parser.add_from_model = add


def _watch_probes(overseer: Any) -> dict[str, bool]:
    """Return a live map from each declared probe's selector to whether it has fired."""
    from ptera import select
    from voir.overseer import ProbeInstrument

    fired: dict[str, bool] = {}

    def probe(selector: str, **kwargs: Any) -> Any:
        fired.setdefault(selector, False)
        instrument = ProbeInstrument(select(selector, skip_frames=1), **kwargs)  # names are the caller's
        # The subscription ends itself: once a probe has fired, nothing is left per call.
        instrument.probe.take(1).subscribe(lambda _: fired.update({selector: True}))
        return overseer.require(instrument)

    overseer.probe = probe
    return fired


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

    return instrument


def _run(overseer: Any, target: list[str], record: Record) -> int:
    try:
        overseer(target)
    except SystemExit as stop:
        return _exit_code(stop.code)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        return record.fail(error)
    return 0


def _exit_code(code: object) -> int:
    """As the interpreter has it: None is 0, a text is said and 1."""
    if code is None or isinstance(code, int):
        return code or 0
    sys.stderr.write(f"{code}\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
