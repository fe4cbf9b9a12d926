"""What a benchmark was asked to do in A and in B, and in what that differs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

from milabench.compare.types import Change
from milabench.summary import BenchmarkSummary

# What says where and for whom a benchmark runs, and not what it does.
_PLACE: Final = frozenset(
    {"dirs", "venv", "env", "device", "devices", "tag", "run_name", "config_base", "config_file", "job-number"}
    | {"arch", "system", "hash", "num_machines", "install_variant", "install_group", "capabilities", "validation"}
    | {"name", "group", "tags", "labels", "enabled", "weight", "matrix"}
)


def changes(before: BenchmarkSummary | None, after: BenchmarkSummary | None) -> Iterator[Change]:
    """Yield the differences in devices, settings and arguments of what both runs have started."""
    if before is None or after is None:
        return
    for name, one, other in (
        ("devices", len(before.devices), len(after.devices)),
        ("devices of one process", before.ngpu, after.ngpu),
    ):
        if one != other:
            yield _change(name, str(one), str(other))
    configs = [_config(each) for each in (before, after)]
    if not all(configs):
        return  # a side holds nothing but rates
    first, second = (dict(_settings(config)) for config in configs)
    for name in dict.fromkeys((*first, *second)):
        if first.get(name) != second.get(name):
            yield _change(name, first.get(name), second.get(name))


def _change(name: str, before: str | None, after: str | None) -> Change:
    return Change(area="work", name=name, before=before, after=after)


def _config(found: BenchmarkSummary) -> Mapping[str, Any]:
    return next((process.config for process in reversed(found.processes) if process.config), {})


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the values of a benchmark's config by their paths, with folders of the machine by name."""
    dirs = config.get("dirs")
    folders = {str(path): str(name) for name, path in dirs.items()} if isinstance(dirs, Mapping) else {}
    for key, value in config.items():
        if key == "definition":
            yield key, _definition(value)
        elif key not in _PLACE:
            yield from _leaves(str(key), value, folders)


def _definition(value: object) -> str:
    """Return which folder defines a benchmark: by its name, since clones stand anywhere, or by git."""
    return PurePath(value).name if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _leaves(path: str, value: Any, folders: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(f"{path}.{key}", each, folders)
    else:
        yield path, _by_name(value if isinstance(value, str) else json.dumps(value, default=str), folders)


def _by_name(text: str, folders: Mapping[str, str]) -> str:
    """Return a text with the folders of the machine by name: ``{data}``, the longest path first."""
    for path in sorted(folders, key=len, reverse=True):
        if len(path) > 1:
            text = text.replace(path, f"{{{folders[path]}}}")
    return text
