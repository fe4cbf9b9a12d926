"""``milabench new``: a benchmark's folder and a suite for it, from a template; both run at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template

from milabench import resources
from milabench.errors import UsageError

# The folders of benchmarks/_templates that a template is made of; a later one's files replace an earlier one's.
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "simple": ("simple",),
    "inference": ("inference",),
    "voir": ("voir",),
    "stdout": ("stdout",),
    "multi-gpu": ("multi-gpu",),
    "multi-node": ("multi-gpu", "multi-node"),
}
_SUITE = "suite.yaml"
_FILLED = (_SUITE, "README.md")  # the files that hold $name
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# What YAML or a suite takes for something else.
_RESERVED = frozenset({"true", "false", "null", "include", "multirun", "defaults", "benchmarks", "system"})


def new(name: str, template: str, here: Path) -> list[Path]:
    """Write ``benchmarks/<name>/`` and ``config/<name>.yaml`` below a folder; return the files.

    Raises UsageError for a name that cannot be one, and where something of the name is there already.
    """
    if not _NAME.fullmatch(name) or name.lower() in _RESERVED:
        raise UsageError(f"{name!r} is no name for a benchmark: take a word of letters, digits, '-' and '_'")
    folder, suite = here / "benchmarks" / name, here / "config" / f"{name}.yaml"
    for path in (folder, suite):
        if path.exists():
            raise UsageError(f"{path.relative_to(here)} is there already: choose another name, or remove it")
    written: dict[Path, str] = {}
    for source in _sources(template):
        text = source.read_text()
        target = suite if source.name == _SUITE else folder / source.name
        written[target] = Template(text).substitute(name=name) if source.name in _FILLED else text
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return sorted(written)


def _sources(template: str) -> Iterator[Path]:
    for part in TEMPLATES[template]:
        folder = resources.data_root() / "benchmarks" / "_templates" / part
        yield from (path for path in sorted(folder.iterdir()) if path.is_file())
