"""``milabench clean`` on this machine: what a base holds by kind, how much, and how to be rid of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milabench.agent.clean import remove, sizes
from milabench.errors import PreflightError
from milabench.rundir import RunDir, runs

# What belongs together is removed together: an environment's record says what was done in the staged folders, and of
# which commits of what was fetched; the records of preparations (below extra/) say that the data is there.
KINDS: Mapping[str, tuple[str, ...]] = {
    "environments": ("venv", "code", "sources", "bundles"),
    "caches": ("cache",),
    "data": ("data", "extra"),
    "runs": ("runs",),
}
DEFAULT = ("environments", "caches", "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """The folders of a kind that are there, and the bytes of disk that come free with them."""

    kind: str
    folders: Sequence[str]
    size_bytes: int


def amounts(base: Path, kinds: Sequence[str]) -> list[Amount]:
    """Return what is there of each kind on this machine."""
    return read(sizes(question(base, kinds)))


def clean(base: Path, found: Sequence[Amount]) -> None:
    """Remove it from this machine. Raises PreflightError with why nothing was removed, or not all."""
    why = remove(removal(base, found, elsewhere=False))["kept"]
    if why is not None:
        raise PreflightError(why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Nodes of the latest run in a base that have a base of their own, and the system file that names them."""

    run: str
    nodes: Sequence[str]
    system: str | None


def elsewhere(base: Path) -> Elsewhere | None:
    """Return the nodes of a base's latest run that have a base of their own; None where no run has such."""
    for path in reversed(runs(base)):
        facts = RunDir(path).facts()
        nodes = facts.get("nodes")
        if isinstance(nodes, dict) and (own := [name for name, told in nodes.items() if _has_its_own(told)]):
            file = facts.get("system_file")
            return Elsewhere(run=path.name, nodes=own, system=file if isinstance(file, str) else None)
    return None


def _has_its_own(told: object) -> bool:
    return isinstance(told, dict) and told.get("local") is False and told.get("shares_base") is None


def question(base: Path, kinds: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a request ``sizes``."""
    return {"base": str(base), "kinds": {kind: list(KINDS[kind]) for kind in kinds}}


def read(reply: Mapping[str, Any]) -> list[Amount]:
    """Return what an agent says of a base."""
    return [Amount(kind=kind, **found) for kind, found in reply["kinds"].items()]


def removal(base: Path, found: Sequence[Amount], *, elsewhere: bool) -> dict[str, Any]:
    """Return the fields of a request ``remove``."""
    folders = [folder for amount in found for folder in amount.folders]
    return {"base": str(base), "folders": folders, "elsewhere": elsewhere}
