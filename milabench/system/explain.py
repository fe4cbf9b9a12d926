"""Where the values of a system come from: its file, variables of the environment, the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from milabench.document import Node
from milabench.errors import UsageError
from milabench.options import OPTIONS, place_of
from milabench.overrides import dotted, keys
from milabench.problems import Problems, nearest
from milabench.provenance import Provenance, below, provenances
from milabench.system import layers
from milabench.system.file import read


def explain(
    file: Path | None, target: str, environ: Mapping[str, str], changes: Sequence[str] = (), *, lenient: bool = False
) -> list[Provenance]:
    """Return every value at ``target`` (``system``, ``system.options.sizer.auto``) with all places that set it.

    Options that nothing sets are told with their defaults. ``lenient`` takes the last of a key that stands twice.
    Raises ConfigurationError with every mistake, UsageError for a target that is not there.
    """
    problems = Problems(lenient=lenient)
    written = layers.read(file, environ, changes, problems) or Node({}, "", 1, 1)
    read(written, problems)
    problems.raise_errors()
    where = tuple(keys(target))
    unset = [each for each in _unset(written) if each.path[: len(where)] == where]
    try:
        return [*provenances(below(written, where), where), *unset] if written.value or len(where) > 1 else unset
    except UsageError:
        if unset:
            return unset
        near = nearest(target, [place_of(name) for name in OPTIONS])
        if near:
            raise UsageError(f"nothing sets {target!r} (did you mean {near!r}?)") from None
        raise


def _unset(written: Node) -> Iterator[Provenance]:
    """Yield the options that have a default and that nothing sets."""
    said = {dotted(each.path) for each in provenances(written, ("system",))}
    for name, option in OPTIONS.items():
        if option.default is not None and place_of(name) not in said:
            where = tuple(place_of(name).split("."))
            yield Provenance(path=where, value=option.default, default="nothing sets it")
