"""Where values come from, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from milabench.errors import Mark
from milabench.interpolation import ENVIRONMENT
from milabench.overrides import dotted
from milabench.provenance import Setting, Source, Step

WIDTH = 48  # columns of the places; a longer one moves its value to the right


def render(settings: Sequence[Setting]) -> str:
    """Return each value with the places that set it below it: the first counts, it replaced the one after it."""
    return "\n".join(line for setting in settings for line in _lines(setting)) + "\n"


def as_json(settings: Sequence[Setting]) -> dict[str, Any]:
    return {
        "version": 1,
        "settings": [
            {
                "path": dotted(setting.path),
                "value": setting.value,
                "default": setting.default or None,
                "steps": [
                    {**_json(step.source), "inserted": [_json(source) for source in step.inserted]}
                    for step in setting.steps
                ],
            }
            for setting in settings
        ],
    }


def _lines(setting: Setting) -> Iterator[str]:
    value = "removed" if setting.value is None else _shown(setting.value)
    yield f"{dotted(setting.path)} = {value}" + (f"  (default: {setting.default})" if setting.default else "")
    for index, step in enumerate(setting.steps):
        yield f"    {_place(step.source.mark):<{WIDTH}}  {_said(step)}{'  replaced' if index else ''}"


def _said(step: Step) -> str:
    inserted = ", ".join(f"{_shown(source.value)} from {_place(source.mark)}" for source in step.inserted)
    value = "null" if step.source.value is None else _shown(step.source.value)
    return value + (f"  ← {inserted}" if inserted else "")


def _place(mark: Mark) -> str:
    if mark.file.startswith("MILABENCH_"):  # the variable of an option
        return f"{ENVIRONMENT} {mark.file}"
    return mark.file if mark.file.startswith(ENVIRONMENT) else str(mark)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else str(value)


def _json(source: Source) -> dict[str, Any]:
    mark = source.mark
    return {"file": mark.file, "line": mark.line, "column": mark.column, "value": source.value}
