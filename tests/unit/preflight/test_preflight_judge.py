"""From conditions to findings: none without a cause, each with its own, the worst first."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from good_node import CPU, GOOD, SYSTEM, codes, found
from test_preflight_devices import STATES, gpu, using
from test_preflight_machine import MACHINE
from test_preflight_set_up import GATED, SET_UP

from milabench import preflight
from milabench.preflight import Conditions
from milabench.preflight.conditions import DeviceState


def test_where_all_is_well_nothing_is_found() -> None:
    assert found() == []
    assert found(wanted=None) == []
    assert found(system=CPU) == []


def test_what_is_not_known_is_no_finding() -> None:
    told: dict[str, Any] = {"accelerators": None, "shared_memory": None, "disks": {"base": None}, "limits": {}}
    assert found(Conditions.of({}), CPU, None) == []
    assert found(Conditions.of({}), SYSTEM, None) == []
    assert codes(found(Conditions.of(told), CPU, None)) == [("little-shared-memory", "note", "/dev/shm")]
    unknown = replace(GOOD, accelerators=(DeviceState(gpu=0), DeviceState(gpu=1)), processes=None)
    assert found(unknown) == []


def test_the_worst_comes_first_and_nothing_twice() -> None:
    bad = replace(gpu(persistence=False, errors=1), data=frozenset(), processes=using().processes)
    severities = [each.severity for each in found(bad)]
    assert severities == ["blocking", "blocking", "warning", "note"]


def test_every_code_has_a_case() -> None:
    folder = Path(str(preflight.__file__)).parent
    written = {
        code
        for path in folder.glob("*.py")
        # of several nodes: test_preflight_nodes.py; of containers: test_preflight_containers.py
        if path.name not in ("differences.py", "containers.py")
        for line in re.findall(r"^ +code=(.*),$", path.read_text(), re.MULTILINE)
        for code in re.findall(r'"([a-z-]+)"', line)
    }
    tables = [*(case[1][0] for case in MACHINE.values()), *(case[1][0] for case in SET_UP.values())]
    tables += [case[1][0] for case in STATES.values() if case[1]]
    tables += [case[2][0] for case in GATED.values() if case[2]]
    assert written == {*tables, "little-shared-memory", "device-memory", "secret-missing"}
    assert len(written) > 30


def test_every_finding_says_what_will_follow_and_what_to_do() -> None:
    cases = [each[0] for table in (MACHINE, STATES, SET_UP) for each in table.values()]
    for conditions in cases:
        for finding in found(conditions):
            for text in (finding.what, finding.consequence, finding.remedy):
                assert text
                assert not text.endswith(".")
