"""What voirfiles are configured with: the suite's ``voir`` blocks, for options classes and for arguments alike."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from benchmate.context import Context

NO_LIMIT: Final = 2**31 - 1  # what a voirfile's whole-number ``stop`` is given where the suite sets no limit
_TYPES: Final = (int, float, str, bool)


class ConfigurationError(Exception):
    """Say what of an options class voir cannot read."""


@contextmanager
def configured(context: Context, note: Callable[[str], None]) -> Iterator[Callable[[Any], None]]:
    """Mend voir's ``configurable`` for a block, and give what offers the suite's options to an overseer's parser.

    With one argument ``configurable`` would break voir's command; such a function is an instrument without options.
    """
    import voir
    from voir import tools

    original = voir.configurable

    @functools.wraps(original)
    def configurable(function: Callable[..., Any]) -> Any:
        if len(inspect.getfullargspec(function).args) >= 2:
            return original(function)
        note(f"{function.__name__} takes no options: @configurable does nothing there")
        return function

    voir.configurable = tools.configurable = configurable
    try:
        yield functools.partial(_offer, context=context, note=note)
    finally:
        voir.configurable = tools.configurable = original


def _offer(parser: Any, *, context: Context, note: Callable[[str], None]) -> None:
    """Give each options class the block of ``voir`` that has its argument's name, when it asks to be added.

    Handed over whole, as ``--config`` does it, a key the class does not have would disable its instrument.
    """
    add_from_model, add_argument = parser.add_from_model, parser.add_argument

    def add_model(dest: str, model: Any, flatten: bool = True) -> None:
        block = context.voir.get(dest)
        if isinstance(model, type):
            check(model)
        if isinstance(block, Mapping) and isinstance(model, type) and dataclasses.is_dataclass(model):
            fields = {field.name for field in dataclasses.fields(model)}
            kept, ignored = fitting(block, fields, context.limit.observations)
            parser.base_configs = {**parser.base_configs, dest: kept}
            for key in ignored:
                note(f"voir.{dest}.{key} is ignored: {model.__name__} of the voirfile has no such field")
        add_from_model(dest, model, flatten)

    def add_one(*names: Any, **options: Any) -> Any:
        action = add_argument(*names, **options)
        block = context.voir.get("options")
        kept, _ = fitting(block if isinstance(block, Mapping) else {}, {action.dest}, context.limit.observations)
        if action.dest in kept:
            action.default, action.required = kept[action.dest], False
        return action

    parser.add_from_model, parser.add_argument = add_model, add_one


def check(model: type) -> None:
    """Raise ConfigurationError for an options class that voir would pass over, with its instrument."""
    if not dataclasses.is_dataclass(model):
        raise ConfigurationError(f"{model.__name__} is no dataclass: @configurable needs one for its options")
    for field in dataclasses.fields(model):
        if isinstance(field.type, str):
            raise ConfigurationError(
                f"{model.__name__}.{field.name}: its type is text, which voir cannot read: remove quotes, and"
                " `from __future__ import annotations` from the file of the class"
            )
        if field.type not in _TYPES and not dataclasses.is_dataclass(field.type):
            raise ConfigurationError(
                f"{model.__name__}.{field.name}: voir cannot read its type: give it one of int, float, str, bool"
            )


def fitting(
    block: Mapping[str, Any], fields: Collection[str], observations: int | None
) -> tuple[dict[str, Any], list[str]]:
    """Return a block's values for the fields an options class has, and the keys it has no use for.

    ``stop`` is a number there, whatever form the suite gives it in: ``observations``, or ``NO_LIMIT``.
    """
    values = {key: value for key, value in block.items() if value is not None}
    if "stop" in block:
        values["stop"] = NO_LIMIT if observations is None else observations
    return {key: value for key, value in values.items() if key in fields}, [key for key in block if key not in fields]
