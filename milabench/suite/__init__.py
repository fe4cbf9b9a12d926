"""A suite: YAML in, frozen benchmarks out.

``resolve`` in order: read all layers, merge them, and then for each entry merge its parents, replace references, expand
a matrix into its cells, and read what it says. All mistakes are told at once.
"""

from __future__ import annotations

from milabench.suite.explain import explain
from milabench.suite.flat import flat
from milabench.suite.resolution import resolve
from milabench.suite.select import select
from milabench.suite.types import Benchmark, GitSource, Limit, Placement, Program, Suite

__all__ = ["Benchmark", "GitSource", "Limit", "Placement", "Program", "Suite", "explain", "flat", "resolve", "select"]
