"""The nodes of a Slurm allocation, by the variables that Slurm sets in it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping

from milabench.errors import UsageError
from milabench.system.file import NAME, NodeEntry
from milabench.system.types import Allocation

_MOST = 10_000  # nodes of a list: a slip in a range is no reason to fill the memory
_WORD = re.compile(r"(?:[^,\[\]]|\[[^\[\]]*\])+")
_PART = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def read(environ: Mapping[str, str]) -> Allocation | None:
    """Return the allocation that an environment is of, None outside one.

    Raises UsageError for a list that is none, and in all tasks of a step but the first: each would use all nodes.
    """
    job, nodes = environ.get("SLURM_JOB_ID"), environ.get("SLURM_JOB_NODELIST")
    if not job or not nodes:
        return None
    task, tasks = environ.get("SLURM_PROCID", ""), environ.get("SLURM_STEP_NUM_TASKS", "")
    if task.isdecimal() and tasks.isdecimal() and 0 < int(task) < int(tasks):
        raise UsageError(
            f"this is task {task} of {tasks} that srun has started, and each would run on all nodes of the allocation:"
            " start milabench once, without srun: it starts by itself what the nodes need"
        )
    return Allocation(job=job, nodes=tuple(hosts(nodes)), here=environ.get("SLURMD_NODENAME"))


def outside(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the allocation that it is of."""
    return {name: value for name, value in environ.items() if not name.startswith("SLURM_")}


def entries(found: Allocation) -> list[NodeEntry]:
    """Return its nodes; the first is where Slurm runs its script, and the main one."""
    return [
        NodeEntry(name=name, address=name, main=index == 0, local=name == found.here)
        for index, name in enumerate(found.nodes)
    ]


def hosts(listed: str) -> list[str]:
    """Return the names of a list as Slurm writes it: ``gpu[001-003,7],login``.

    Raises UsageError for what is no such list.
    """
    if _WORD.sub("", listed).strip(","):
        raise UsageError(f"{listed!r} is no list of nodes: a bracket is open")
    found = list(itertools.islice(_expanded(listed), _MOST + 1))
    if len(found) > _MOST:
        raise UsageError(f"{listed!r} has more than {_MOST:,} nodes")
    for name in found:
        if not NAME.fullmatch(name):
            raise UsageError(f"{listed!r} has a node {name!r}: letters, digits and . _ : - are allowed")
    return list(dict.fromkeys(found))


def _expanded(listed: str) -> Iterator[str]:
    for word in _WORD.findall(listed):
        parts = _PART.split(word.strip())  # text, range, text, range, …, text
        choices = [[part] if index % 2 == 0 else _Numbers(part, listed) for index, part in enumerate(parts)]
        yield from map("".join, _products(choices))


def _products(choices: list[list[str] | _Numbers]) -> Iterator[tuple[str, ...]]:
    """Yield all combinations as they come: ``itertools.product`` would make every list first."""
    if not choices:
        yield ()
        return
    for first in choices[0]:
        for rest in _products(choices[1:]):
            yield (first, *rest)


class _Numbers:
    """The numbers of a bracket, with the zeros that the first of a range has."""

    def __init__(self, ranges: str, listed: str) -> None:
        self._ranges: list[tuple[int, int, int]] = []
        for word in ranges.split(","):
            match = _RANGE.fullmatch(word.strip())
            if match is None:
                raise UsageError(f"{listed!r} is no list of nodes: {word!r} is no range of numbers")
            self._ranges.append((int(match[1]), int(match[2] or match[1]), len(match[1])))

    def __iter__(self) -> Iterator[str]:
        for first, last, width in self._ranges:
            yield from (f"{number:0{width}d}" for number in range(first, last + 1))
