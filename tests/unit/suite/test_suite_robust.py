"""Whatever a suite or a system file holds: it is resolved, or refused with places; nothing else comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milabench import suite, system
from milabench.errors import ConfigurationError
from milabench.suite.language import KEYS
from milabench.system.language import KEYS as SYSTEM_KEYS

names = st.sampled_from(["a", "b", "_p", "*", "_defaults", "m"])
words = st.sampled_from(
    [
        "a",
        "_p",
        "b",
        "10m",
        "{n}",
        "${.x}",
        "${a.env}",
        "${system.arch}",
        "${",
        "per_gpu",
        "bench",
        "",
        "x{n}",
        "${..y[0]}",
    ]
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-1, 9), st.floats(), words)
below = st.sampled_from(
    ["append", "options", "stop", "argv", "method", "n", "usage", "name", "--", "include", "inherits", "x", "git", "<<"]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(below, inner, max_size=3), max_leaves=5
)
entries = st.dictionaries(st.sampled_from([*KEYS, "include", "exclude", "capabilities"]), values, max_size=5)
suites_written = st.dictionaries(names, entries | values, max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("robust")
    (path / "bench").mkdir()
    return path


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(suites_written)
def test_any_suite_is_resolved_or_refused(folder: Path, written: dict[str, Any]) -> None:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(written, sort_keys=False))
    try:
        suite.resolve(path)
    except ConfigurationError as error:
        assert error.problems
        assert all(problem.mark is not None for problem in error.problems)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*SYSTEM_KEYS, "dash", "x"]), values, max_size=4))
def test_any_system_file_is_resolved_or_refused(folder: Path, written: dict[str, Any]) -> None:
    path = folder / "system.yaml"
    path.write_text(yaml.safe_dump({"system": written}, sort_keys=False))
    try:
        assert system.resolve(path, {}).nodes
    except ConfigurationError as error:
        assert all(problem.mark is not None for problem in error.problems)
