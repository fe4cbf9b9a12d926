"""Scaling files: how much memory benchmarks take, and how fast they are, at batch sizes that were tried.

Two versions are read. 1: ``bert: {model: {8: 5824 MiB, 16: 8774 MiB}, optimized: 128}``. 2: ``bert: {observations:
[{batch_size: 8, cpu: 4, memory: 5824 MiB, perf: 359.6, time: 1741955079}]}``, which is what is written. A file may have
``version: 2.0``; each entry is read by its own form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milabench import document, expression
from milabench.document import Node
from milabench.problems import Code, Problems
from milabench.suite.values import Reader
from milabench.tokens import ExpressionError

VERSIONS = (1, 2)
VERSION = 2.0
MIB = 2**20
_ENTRY = ("arg", "default", "model", "observations", "optimized")
_OBSERVATION = ("batch_size", "cpu", "memory", "perf", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one batch size took: memory in bytes, rate (0: not known), workers that loaded data, seconds since 1970."""

    batch_size: int
    memory_bytes: int
    perf: float = 0.0
    cpu: int = 0
    time: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of a benchmark, by rising batch size; ``optimized`` is the best batch size of a version 1."""

    observations: tuple[Observation, ...]
    optimized: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """A scaling file: its path, and its entries by benchmark."""

    file: str
    entries: Mapping[str, Entry]


def read(path: Path) -> Scaling:
    """Return what a scaling file says. Raises ConfigurationError with every mistake in it."""
    problems = Problems()
    root = document.read(path)
    content = dict(root.value) if isinstance(root.value, dict) else {}
    read_values = Reader(problems)
    version = content.pop("version", None)
    if version is not None and version.value not in VERSIONS:
        message = f"is {version.shown}: there are versions {' and '.join(map(str, VERSIONS))}"
        read_values.wrong(version, "version", message, Code.BAD_CHOICE)
    named = {name: node for name, node in content.items() if not name.startswith("x-")}
    entries = {name: _entry(read_values, node, name) for name, node in named.items()}
    problems.raise_errors()
    return Scaling(file=str(path), entries=entries)


def with_observations(written: Mapping[str, Any], found: Iterable[tuple[str, Observation]]) -> dict[str, Any]:
    """Return the content of a file in version 2, with further observations; what else it says is kept."""
    others = {name: dict(entry) for name, entry in written.items() if name != "version" and isinstance(entry, dict)}
    content: dict[str, Any] = {"version": VERSION, **others}
    for entry in others.values():
        model = entry.pop("model", None) or {}
        if model:
            entry["observations"] = [{"batch_size": int(size), "memory": memory} for size, memory in model.items()]
    for name, each in found:
        entry = content.setdefault(name, {})
        made = {
            "batch_size": each.batch_size,
            "cpu": each.cpu,
            "memory": f"{each.memory_bytes // MIB} MiB",
            "perf": round(each.perf, 2),
            "time": each.time,
        }
        rows = [*entry.get("observations", ()), made]
        entry["observations"] = sorted(rows, key=lambda row: int(row["batch_size"]))
    return content


def _entry(reader: Reader, node: Node, path: str) -> Entry:
    entries = reader.known(node, path, _ENTRY)
    optimized = reader.integer(entries["optimized"], f"{path}.optimized", 1) if "optimized" in entries else None
    found: list[Observation] = []  # an entry may have none yet
    if "model" in entries:
        found = _model(reader, entries["model"], f"{path}.model")
    elif "observations" in entries:
        found = _observations(reader, entries["observations"], f"{path}.observations")
    return Entry(observations=tuple(sorted(found, key=lambda each: each.batch_size)), optimized=optimized)


def _model(reader: Reader, node: Node, path: str) -> list[Observation]:
    found = []
    for key, memory in reader.entries(node, path).items():
        if not key.isdecimal() or not 0 < int(key[:20]) < 2**63:
            message = f"{key!r} is no batch size: write a whole number above 0"
            reader.problems.add(Code.WRONG_TYPE, message, memory.key_mark, path=f"{path}.{key}")
        else:
            found.append(Observation(batch_size=int(key), memory_bytes=_bytes(reader, memory, f"{path}.{key}")))
    return found


def _observations(reader: Reader, node: Node, path: str) -> list[Observation]:
    if not isinstance(node.value, list):
        reader.wrong(node, path, f"needs a list of {{batch_size, memory, perf}}, not {node.shown}")
        return []
    found = (_observation(reader, item, f"{path}[{index}]") for index, item in enumerate(node.value))
    return [each for each in found if each]


def _observation(reader: Reader, node: Node, path: str) -> Observation | None:
    entries = reader.known(node, path, _OBSERVATION)
    for key in ("batch_size", "memory"):
        if key not in entries:
            if isinstance(node.value, dict):
                reader.missing(node, path, f"needs {key}")
            return None
    return Observation(
        batch_size=reader.integer(entries["batch_size"], f"{path}.batch_size", 1),
        memory_bytes=_bytes(reader, entries["memory"], f"{path}.memory"),
        perf=reader.number(entries["perf"], f"{path}.perf", 0) if "perf" in entries else 0.0,
        cpu=reader.integer(entries["cpu"], f"{path}.cpu", 0) if "cpu" in entries else 0,
        time=int(reader.number(entries["time"], f"{path}.time", 0)) if "time" in entries else 0,
    )


def _bytes(reader: Reader, node: Node, path: str) -> int:
    if not isinstance(node.value, int | float | str) or isinstance(node.value, bool):
        reader.wrong(node, path, f"needs a size such as 5824 MiB, not {node.shown}")
        return 0
    try:
        return expression.size(node.value)
    except (ExpressionError, OverflowError, ValueError):
        reader.wrong(node, path, f"is not a size such as 5824 MiB: {node.value!r}", Code.BAD_UNIT)
        return 0
