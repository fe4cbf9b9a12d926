"""Probes that a voirfile declares: refused where they can see nothing, and told of when they have seen nothing."""

from __future__ import annotations

import re
import sys
import threading
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmate import sight

_REFERENCE: Final = re.compile(r"(?<![\w/.*-])/(?P<module>[\w.]*)(?P<path>(?:/\w+)+)")
_COMPILER: Final = str(Path("torch", "_dynamo", "eval_frame.py"))
_OURS: Final = Path(__file__).parent
_LOOKS: Final = 3  # at the stack of a function's first calls: it may be compiled after the first


class ProbeError(Exception):
    """Say why a probe would see nothing, and what to do."""


@dataclass(slots=True, kw_only=True)
class Calls:
    """How often a probed function was entered: where probes see it, and in threads in which they do not."""

    seen: int = 0
    unseen: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Declared:
    """A probe of a voirfile: ``function`` is the one whose variable (or result) it waits for."""

    selector: str
    where: str
    function: Any = None
    variable: str = ""
    fired: bool = False

    @property
    def name(self) -> str:
        return f"{getattr(self.function, '__name__', self.selector)}()"

    @property
    def waits_for(self) -> str:
        return "returned" if self.variable == sight.RETURNED else f"set `{self.variable}`"


class Probes:
    """All probes of a process; ``note`` is told what is known early, ``missing`` says what has never fired.

    ptera sees a function run where its context variable is set: not in other threads. What calls it in one, or within
    what torch compiles, is noted at the first call.
    """

    def __init__(self, overseer: Any, note: Callable[[str], None], voirfile: str | None) -> None:
        self._overseer, self._note, self._voirfile = overseer, note, voirfile
        self._declared: list[Declared] = []
        self._calls: defaultdict[Any, Calls] = defaultdict(Calls)
        self._noted: set[tuple[Any, str]] = set()
        overseer.probe = self.probe
        _count_calls(self)

    def probe(self, selector: str, **kwargs: Any) -> Any:
        """Do what voir's Overseer does. Raises ProbeError for what would never fire."""
        from ptera import select
        from voir.overseer import ProbeInstrument

        declared = Declared(selector=selector, where=_place(sys._getframe(1), self._voirfile))
        self._refuse_early(declared)
        try:
            resolved = select(selector, skip_frames=1)  # names are the caller's
        except Exception as error:
            raise ProbeError(f"{declared.where}: {selector}: {_why_unresolved(selector, error)}") from error
        self._take(declared, resolved)
        instrument = ProbeInstrument(resolved, **kwargs)
        # The subscription ends itself: once a probe has fired, nothing is left per call.
        instrument.probe.take(1).subscribe(lambda _: _fire(declared))
        self._declared.append(declared)
        return self._overseer.require(instrument)

    def missing(self) -> list[str]:
        """Return a message for each probe that has not fired, with the likely cause."""
        return [
            f"{each.where}: {each.selector}: this probe never fired: {self._why(each)}"
            for each in self._declared
            if not each.fired
        ]

    def entered(self, function: Any, *, seen: bool) -> None:
        """Take note of a call of a probed function."""
        calls = self._calls[function]
        if not seen:
            thread = threading.current_thread().name
            calls.unseen.add(thread)
            self._note_once(function, f"{function.__name__}() is called in thread {thread!r}, where probes see nothing")
            return
        calls.seen += 1
        if calls.seen <= _LOOKS and any(_COMPILER in file for file in _files(sys._getframe(1))):
            self._note_once(
                function,
                f"{function.__name__}() is probed and compiled by torch, which runs what is probed in eager mode: its"
                " speed is not that of compiled code; probe the loader or the caller instead",
            )

    def left(self, function: Any, *, raised: bool) -> None:
        """Take note of the end of such a call: what it did not do at its first one may never come."""
        if raised or self._calls[function].seen != 1:
            return
        for each in self._declared:
            if each.function is function and not each.fired:
                self._note(
                    f"{each.where}: {each.selector}: the first call of {each.name} ended and never {each.waits_for}"
                )

    def _refuse_early(self, declared: Declared) -> None:
        mine = [path.split("/")[-1] for module, path in _references(declared.selector) if not module]
        phases = self._overseer.phases
        if mine and phases.load_script.pending:
            raise ProbeError(
                f"{declared.where}: {declared.selector}: the script is not loaded yet, so {mine[0]}() is not there:"
                " `yield ov.phases.load_script` before this"
            )

    def _take(self, declared: Declared, resolved: Any) -> None:
        for function, wanted, is_focus in _calls_in(resolved):
            if is_focus and wanted:
                declared.function, declared.variable = function, wanted[0]
            if function is not None and (reason := sight.blind_spot(function, wanted)) is not None:
                raise ProbeError(f"{declared.where}: {declared.selector}: {reason}")

    def _note_once(self, function: Any, message: str) -> None:
        if (function, message) not in self._noted:
            self._noted.add((function, message))
            self._note(message)

    def _why(self, declared: Declared) -> str:
        calls = self._calls.get(declared.function, Calls())
        if calls.seen:
            return f"{declared.name} was called {_times(calls.seen)} and never {declared.waits_for}"
        if calls.unseen:
            threads = ", ".join(sorted(calls.unseen))
            return f"{declared.name} was called in other threads only ({threads}), where probes see nothing"
        code = getattr(declared.function, "__code__", None)
        line = code and sight.called_while_loading(code.co_filename, declared.function.__name__)
        if line:
            return (
                f"{declared.name} is called at line {line} while the script is loaded, before probes are set: voir runs"
                " all that stands above its last function or class then"
            )
        return f"{declared.name} was never called in this process"


def _place(frame: types.FrameType | None, voirfile: str | None) -> str:
    """Return the line that asks for a probe; the voirfile where that is one of ours, which asks for its sake."""
    if frame is not None and not Path(frame.f_code.co_filename).is_relative_to(_OURS):
        return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    return Path(voirfile or "voirfile.py").name


def _fire(declared: Declared) -> None:
    declared.fired = True


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _references(selector: str) -> list[tuple[str, str]]:
    """Return (module, path) of each /module/function in a selector; no module is the script itself."""
    return [(found["module"], found["path"].strip("/")) for found in _REFERENCE.finditer(selector)]


def _why_unresolved(selector: str, error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"this is no selector: {error.msg}"
    for module, path in _references(selector):
        loaded = sys.modules.get(module or "__main__")
        name = module or Path(getattr(loaded, "__file__", None) or "the script").name
        return sight.unresolved(path.split("/"), loaded, name)
    return str(error)


def _calls_in(selector: Any) -> Iterator[tuple[Any, list[str], bool]]:
    """Yield of each call in a selector its function, the variables wanted of it, and whether they are what it tells."""
    captures = sorted(selector.captures, key=lambda each: not each.focus)
    wanted = [each.name for each in captures if each.name is not None]
    if selector.element.name is not None:
        yield selector.element.name, wanted, any(each.focus for each in captures)
    for child in selector.children:
        yield from _calls_in(child)


def _files(frame: types.FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def _count_calls(probes: Probes) -> None:
    """Let ptera's own entry into probed functions tell of their calls."""
    from ptera import overlay

    class Counted(overlay.proceed):  # type: ignore[misc]  # ptera has no types
        def __enter__(self) -> Any:
            probes.entered(self.fn, seen=overlay.HandlerCollection.current.get() is not None)
            return super().__enter__()

        def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
            super().__exit__(kind, error, trace)
            probes.left(self.fn, raised=error is not None)

    overlay.proceed = Counted


def watch_giving(note: Callable[[str], None]) -> None:
    """Let ``give(x)``, which finds out what its argument is called by parsing the caller, say what that costs."""
    from giving import gvr

    resolve, told = gvr.resolve, set[str]()

    def resolve_and_tell(frame: int, function: Any, arguments: Any) -> Any:
        caller = sys._getframe(frame + 1)
        place = f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}"
        if place not in told:
            told.add(place)
            note(
                f"{place}: give(…) without a name looks its name up in the source, for 1 ms a call: give(x=x) does not"
            )
        return resolve(frame + 1, function, arguments)

    gvr.resolve = resolve_and_tell
