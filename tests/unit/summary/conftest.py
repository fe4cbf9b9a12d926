"""The fixture that makes runs in the test's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from summary_fakes import FakeRun, MakeRun


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(name: str = "run", **fields: Any) -> FakeRun:
        folder = tmp_path / name
        folder.mkdir()
        return FakeRun(path=folder, **fields)

    return make
