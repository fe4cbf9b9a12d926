"""A suite written as text, with a folder ``bench`` to define benchmarks by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from milabench.errors import ConfigurationError, Problem
from milabench.suite import Benchmark, Suite, resolve

BASE = "_base: {definition: bench, plan: {method: per_gpu}}\n"


class Suites(SimpleNamespace):
    """Write files and resolve the last one; ``base`` is a parent that has all a benchmark needs."""

    folder: Path

    def write(self, text: str, name: str = "suite.yaml") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def resolve(self, text: str, *overrides: str, environ: Mapping[str, str] | None = None) -> Suite:
        return resolve(self.write(BASE + text), overrides, environ or {})

    def all(self, text: str, *overrides: str) -> dict[str, Benchmark]:
        return {benchmark.name: benchmark for benchmark in self.resolve(text, *overrides).benchmarks}

    def one(self, text: str, *overrides: str) -> Benchmark:
        (benchmark,) = self.resolve(text, *overrides).benchmarks
        return benchmark

    def problems(self, text: str, *overrides: str) -> tuple[Problem, ...]:
        with pytest.raises(ConfigurationError) as raised:
            self.resolve(text, *overrides)
        return raised.value.problems

    def places(self, text: str, *overrides: str) -> list[tuple[str, int | None]]:
        """Return code and line of each mistake; lines count from the one after the base."""
        return [(one.code, one.mark.line - 1 if one.mark else None) for one in self.problems(text, *overrides)]


@pytest.fixture
def suites(tmp_path: Path) -> Suites:
    (tmp_path / "bench").mkdir()
    return Suites(folder=tmp_path)
