"""What a suite is once it is resolved: frozen values, every one with the place it was written at."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from milabench.errors import Mark, Problem
from milabench.suite.language import VOIR
from milabench.suite.readiness import WITHIN

Reference = Literal["branch", "tag", "commit"]
REFERENCES: tuple[Reference, ...] = ("branch", "tag", "commit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How a benchmark's processes are laid out on a node; ``share``: copies get disjoint devices."""

    method: Literal["per_gpu", "njobs", "per_node"]
    n: int = 1
    share: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """When a measurement ends: after ``skip`` warm-up steps, the first of the given amounts that is met."""

    skip: int = VOIR["skip"].default
    observations: int | None = VOIR["stop"].default
    seconds: float | None = None
    precision: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """When a server is ready, by exactly one of: a ``port`` of its node takes connections, a ``url`` answers well, a
    ``file`` is there, a line that it prints has what ``log`` (a regular expression) looks for. It must be within
    ``within_s`` of its start.
    """

    port: int | None = None
    url: str | None = None
    file: str | None = None
    log: str | None = None
    within_s: float = float(WITHIN.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A benchmark that is any program: its argv, working directory (absolute) and further environment.

    ``placed``: the directory is one that the suite names; else it is that of its file, which another node may not have.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)
    placed: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """A folder of a git repository, at a branch, tag or commit (``kind``) or, without one, at what its HEAD leads to.

    ``url`` is as git takes it; ``path`` the folder within; ``mark`` the place that names the folder, or the repository.
    """

    url: str
    kind: Reference | None
    name: str | None
    path: str
    mark: Mark

    @property
    def reference(self) -> str:
        """Return what is wanted, in words: ``branch main``."""
        return f"{self.kind} {self.name}" if self.kind else "HEAD"

    @property
    def repository(self) -> str:
        """Return the repository's own name: the last part of its URL."""
        last = re.split("[/:]", self.url.rstrip("/").removesuffix("/.git"))[-1].removesuffix(".git")
        return re.sub(r"[^A-Za-z0-9._+-]", "-", last).lstrip(".-") or "repository"

    @property
    def key(self) -> str:
        """Return a name of its own for this repository at this reference, whatever the folder within."""
        asked = json.dumps([self.url, self.kind, self.name])
        short = re.sub(r"[^A-Za-z0-9._+-]", "-", self.name or "HEAD")[:20]
        return f"{self.repository}-{short}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"

    def as_mapping(self) -> dict[str, str]:
        """Return it as a suite says it."""
        reference = {str(self.kind): str(self.name)} if self.kind else {}
        return {"git": self.url, **reference, **({"path": self.path} if self.path != "." else {})}

    def __str__(self) -> str:
        return f"{self.url}, {self.reference}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A text in which placeholders or functions stand: its path below the benchmark, and where it is written."""

    text: str
    path: str
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One entry of a suite, or a cell of its matrix, resolved and checked; ``entry`` is the name of that entry.

    ``definition`` is the absolute path of its folder; one that comes from ``source`` has none until it is fetched.
    Exactly one of a definition (or source) and ``program`` is given.
    ``ready`` says when its server is ready; None: at once.
    ``tokens`` are those that only a plan works out. ``places`` are where variables (``env.NAME``, those of a program
    too) and conditions (``requires_capabilities[0]``) are written, the last one counts: what only a plan finds is told
    there.
    ``config`` is the mapping a benchfile sees (all keys, ``argv`` and ``voir`` too); milabench itself never reads it.
    """

    name: str
    entry: str
    definition: str | None
    source: GitSource | None
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
    ready: Ready | None
    env: Mapping[str, str]
    requires: tuple[str, ...]
    validation: Mapping[str, Any]
    labels: Mapping[str, str]
    config: Mapping[str, Any]
    tokens: tuple[Token, ...]
    places: tuple[Mapping[str, Mark], ...]
    mark: Mark

    @property
    def variables(self) -> dict[str, str]:
        """The variables that the suite gives, those of a program's ``command`` last; placeholders stand in them."""
        return {**self.env, **(self.program.env if self.program else {})}

    def place(self, path: str) -> Mark:
        """Return where a variable or a condition is written; the benchmark's own place for any other."""
        return next((places[path] for places in reversed(self.places) if path in places), self.mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The benchmarks in the order they were written, the files they came from (first read first), and warnings.

    ``lenient``: tokens whose placeholders stand for nothing are passed on as they are written.
    """

    benchmarks: tuple[Benchmark, ...]
    sources: tuple[str, ...]
    lenient: bool = False
    warnings: tuple[Problem, ...] = ()
