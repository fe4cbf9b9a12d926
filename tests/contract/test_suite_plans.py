"""The plan of every suite in ``config/`` on described machines, pinned whole in ``tests/golden/suites``.

``make golden`` writes them anew: look at the difference before it is committed.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest

from milabench import plan as planning
from milabench import resources
from milabench.app.options import Options
from milabench.app.workspace import workspace
from milabench.plan import Phase, Plan, Site, codec
from milabench.render.plan import render

GOLDEN = Path(__file__).parent.parent / "golden" / "suites"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
ROOT = resources.data_root()
SUITES = sorted(path.stem for path in (ROOT / "config").glob("*.yaml") if path.stem != "base")
PHASES: tuple[Phase, ...] = ("install", "prepare", "run")
# Nothing of the machine the test runs on stands in a plan but where the repository is.
SITE = Site(
    base="/base",
    python="/bin/python",
    python_version="3.11.0",
    uv="/bin/uv",
    installer="uv",
    constraints=str(ROOT / "constraints"),
    benchmate="/milabench/benchmate",
    wheel="benchmate.whl",
    import_path=("/milabench",),
)
FACTS: dict[str, Any] = {
    "hostname": "node0",
    "cpus": 64,
    "memory_bytes": 2**40,
    "arch": "cuda",
    "driver": "550.54.15",
    "devices": [
        {"id": number, "name": "NVIDIA A100-SXM4-80GB", "uuid": f"GPU-{number}", "memory_bytes": 80 * 2**30}
        for number in range(8)
    ],
    "environ": {},
    "ips": [],
    "indexes": [],
}


def plans(suite: str, nodes: int) -> str:
    """Return the plans of all phases of a suite as text."""
    shape = {"nodes": nodes} if nodes > 1 else {}
    ready = replace(workspace(Options(config=suite, base=Path("/base"), shape=shape), FACTS), site=SITE)
    return "\n".join(render(_anywhere(planning.plan(ready, phase))) for phase in PHASES)


def _anywhere(plan: Plan) -> Plan:
    """Return the plan as it is where the repository lies in ``/repository``."""
    here = json.dumps(str(ROOT))[1:-1]
    return codec.from_json(json.loads("".join(codec.lines(plan)).replace(here, "/repository")))


@pytest.mark.parametrize("nodes", [1, 2], ids="{}x8".format)
@pytest.mark.parametrize("suite", SUITES)
def test_the_plan_of_a_suite_is_as_pinned(suite: str, nodes: int) -> None:
    path, text = GOLDEN / f"{suite}-{nodes}x8.txt", plans(suite, nodes)
    if UPDATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    pinned = path.read_text().splitlines()
    changes = list(unified_diff(pinned, text.splitlines(), "pinned", "planned", lineterm="", n=2))
    if changes:
        message = f"{path.name} differs; if it should, write it anew with `make golden`"
        pytest.fail("\n".join([message, *changes]), pytrace=False)


def test_every_pinned_plan_is_of_a_suite() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {
        f"{suite}-{nodes}x8.txt" for suite in SUITES for nodes in (1, 2)
    }
