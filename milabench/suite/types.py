"""What a suite is once it is resolved: frozen values, every one with the place it was written at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from milabench.errors import Mark, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How a benchmark's processes are laid out on a node; ``share``: copies get disjoint devices."""

    method: Literal["per_gpu", "njobs", "per_node"]
    n: int = 1
    share: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """When a measurement ends: after ``skip`` warm-up steps, the first of the given amounts that is met."""

    skip: int = 5
    observations: int | None = 60
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A benchmark that is any program: its argv, working directory (absolute) and further environment."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One entry of a suite, or a cell of its matrix, resolved and checked; ``entry`` is the name of that entry.

    ``definition`` is the absolute path of its folder; exactly one of ``definition`` and ``program`` is given.
    ``config`` is the mapping a benchfile sees (all keys, ``argv`` and ``voir`` too); milabench itself never reads it.
    """

    name: str
    entry: str
    definition: str | None
    program: Program | None
    group: str
    install_group: str
    variant: str | None
    tags: tuple[str, ...]
    enabled: bool
    weight: float
    placement: Placement
    nodes: int
    max_duration_s: float
    limit: Limit
    env: Mapping[str, str]
    requires: tuple[str, ...]
    validation: Mapping[str, Any]
    labels: Mapping[str, str]
    config: Mapping[str, Any]
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The benchmarks in the order they were written, the files they came from (first read first), and warnings."""

    benchmarks: tuple[Benchmark, ...]
    sources: tuple[str, ...]
    warnings: tuple[Problem, ...] = ()
