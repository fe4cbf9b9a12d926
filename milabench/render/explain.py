"""Where values come from, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from milabench.errors import Mark
from milabench.interpolation import ENVIRONMENT
from milabench.overrides import dotted
from milabench.provenance import Place, Provenance, Source

WIDTH = 48  # columns of the places; a longer one moves its value to the right


def render(values: Sequence[Provenance]) -> str:
    """Return each value with the places that set it below it: the first counts; of each other, what became of it."""
    return "\n".join(line for each in values for line in _lines(each)) + "\n"


def as_json(values: Sequence[Provenance]) -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "version": 1,
        "values": [
            {
                "path": dotted(each.path),
                "value": each.value,
                "removed": each.removed,
                "default": each.default or None,
                "places": [
                    {
                        **_json(place.source),
                        "inserted": [_json(source) for source in place.inserted],
                        "below": place.below or None,
                    }
                    for place in each.places
                ],
            }
            for each in values
        ],
    }


def _lines(value: Provenance) -> Iterator[str]:
    shown = "removed" if value.removed else _shown(value.value)
    yield f"{dotted(value.path)} = {shown}" + (f"  (default: {value.default})" if value.default else "")
    became = ""
    for place in value.places:
        yield f"    {_where(place.source.mark):<{WIDTH}}  {_said(place)}{became}"
        became = f"  {place.below}"


def _said(place: Place) -> str:
    inserted = ", ".join(f"{_shown(source.value)} from {_where(source.mark)}" for source in place.inserted)
    return _shown(place.source.value) + (f"  ← {inserted}" if inserted else "")


def _where(mark: Mark) -> str:
    if mark.file.startswith("MILABENCH_"):  # the variable of an option
        return f"{ENVIRONMENT} {mark.file}"
    return mark.file if mark.file.startswith(ENVIRONMENT) else str(mark)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool | None) else str(value)


def _json(source: Source) -> dict[str, Any]:
    mark = source.mark
    return {"file": mark.file, "line": mark.line, "column": mark.column, "value": source.value}
