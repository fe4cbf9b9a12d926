"""The standard instrumentation, for a voirfile of three lines.

::

    from benchmate.voirfile import measure

    instrument_main = measure("//dataloader()", criterion="//main > criterion", unit="images")
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from benchmate.batches import Count
from benchmate.observe import Observer

Instrument = Callable[[Any], Generator[Any, Any, None]]


def measure(  # noqa: PLR0913 - each is named in the voirfile
    loader: str,
    *,
    loss: str | None = None,
    criterion: str | None = None,
    optimizer: str | None = None,
    unit: str = "items",
    count: Count | None = None,
    task: str = "train",
) -> Instrument:
    """Return an instrument that times every step over a script's loader; a voirfile gives it a name ``instrument_…``.

    ``loader``, ``loss``, ``criterion`` and ``optimizer`` say where they are in the script, as ptera does: ``//f()`` is
    what the function f returns, ``//f > x`` its variable x, and ``/package.module/Class/f`` one of a module. Losses are
    recorded, or those that a criterion (a loss function or module) returns. ``count`` returns the items in a batch, by
    default the length of its first tensor or sequence.
    """

    def instrument(overseer: Any) -> Generator[Any, Any, None]:
        yield overseer.phases.load_script
        observer = Observer(unit=unit, count=count, task=task)
        override(overseer, loader, observer.loader)
        for selector, wrap in (
            (loss, observer.record_loss),
            (criterion, observer.criterion),
            (optimizer, observer.optimizer),
        ):
            if selector is not None:
                override(overseer, selector, wrap)

    return instrument


def override(overseer: Any, selector: str, wrap: Callable[[Any], Any]) -> None:
    """Let a script go on with ``wrap(value)`` in place of what a selector stands for: a result, or a variable."""

    def only(captured: Mapping[str, Any]) -> Any:
        (value,) = captured.values()
        return wrap(value)

    named = f"{selector} as result" if selector.rstrip().endswith(")") else selector
    overseer.probe(named, overridable=True).override(only)
