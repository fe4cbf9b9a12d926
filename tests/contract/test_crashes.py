"""A runner that is killed at any change it makes to its run directory loses nothing: resuming gives the same report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(1000)
def test_killed_anywhere_and_resumed_a_run_is_equal_to_an_uninterrupted_one(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "crash.py"
    argv = [sys.executable, str(script), str(tmp_path), "--again", "2"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["points"] > 150  # every line of the journal, every seal, every folder that an attempt is moved to
    assert found["attempts kept"] > 50
    assert found["wrong"] == {}
