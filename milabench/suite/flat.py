"""A resolved suite as a suite of its own: nothing is left to include, to inherit, to refer to or to combine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from milabench.document import plain
from milabench.interpolation import escaped
from milabench.suite import layers
from milabench.suite.inheritance import DEFAULTS, limits
from milabench.suite.language import KEYS
from milabench.suite.types import Benchmark


def flat(benchmarks: Iterable[Benchmark], shown: Callable[[str], str] = str) -> dict[str, Any]:
    """Return plain data that resolves to these benchmarks, each an entry with its keys in the order of ``KEYS``.

    What a matrix made is a matrix of one combination, so that the values it was made from stay known. ``shown`` is
    applied to every text.
    """
    built_in = plain(limits(layers.built_in().entries[DEFAULTS]))
    return {benchmark.name: _entry(benchmark, built_in, shown) for benchmark in benchmarks}


def _entry(benchmark: Benchmark, built_in: Mapping[str, Any], shown: Callable[[str], str]) -> dict[str, Any]:
    config = {key: value for key, value in benchmark.config.items() if key not in ("name", "matrix")}
    if benchmark.source is not None:
        config["definition"] = benchmark.source.as_mapping()
    ordered = {key: config[key] for key in (*KEYS, *config) if key in config}
    entry: dict[str, Any] = _written(_with_removed(ordered, built_in), shown)
    cell = benchmark.config.get("matrix")
    if cell is None:
        return entry
    return {"matrix": {key: [value] for key, value in cell.items()}, "job": {"name": benchmark.name, **entry}}


def _with_removed(value: Any, built_in: Any) -> Any:
    """Return a value with null for what it lacks of the built-in defaults: what was removed stays removed."""
    if not isinstance(value, dict) or not isinstance(built_in, dict):
        return value
    kept = {key: _with_removed(item, built_in.get(key)) for key, item in value.items()}
    return {**kept, **{key: None for key in built_in if key not in value}}


def _written(value: Any, shown: Callable[[str], str]) -> Any:
    """Return a value as a suite has to write it to mean it."""
    match value:
        case str() as text:
            return escaped(shown(text), keep=("system",))
        case dict() as entries:
            return {shown(key): _written(item, shown) for key, item in entries.items()}
        case list() as items:
            return [_written(item, shown) for item in items]
        case _:
            return value
