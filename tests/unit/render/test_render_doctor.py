"""What is found as people and programs read it; and the page that lists it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from milabench import preflight
from milabench.preflight import Finding, Severity
from milabench.render import doctor

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "doctor.md"


def finding(code: str, severity: Severity) -> Finding:
    return Finding(code=code, severity=severity, subject="s", what=f"the {code}", consequence="harm", remedy="mend it")


FOUND = (finding("a", "blocking"), finding("b", "warning"), finding("c", "warning"), finding("d", "note"))


def test_findings_stand_under_their_severities_with_consequence_and_remedy() -> None:
    assert doctor.text(FOUND) == (
        "blocking\n"
        "  the a\n"
        "      so:  harm\n"
        "      do:  mend it\n"
        "\n"
        "warnings\n"
        "  the b\n"
        "      so:  harm\n"
        "      do:  mend it\n"
        "  the c\n"
        "      so:  harm\n"
        "      do:  mend it\n"
        "\n"
        "notes\n"
        "  the d\n"
        "      so:  harm\n"
        "      do:  mend it\n"
        "\n"
        "not ready: 1 blocking, 2 warnings, 1 note\n"
    )


def test_what_to_do_about_several_that_are_alike_is_told_once() -> None:
    first = finding("a", "blocking")
    assert doctor.text((first, replace(first, what="another a"))) == (
        "blocking\n  the a\n  another a\n      so:  harm\n      do:  mend it\n\nnot ready: 2 blocking\n"
    )


def test_without_what_is_blocking_it_is_ready() -> None:
    assert doctor.text(FOUND[1:]).splitlines()[-1] == "ready: 2 warnings, 1 note"
    assert doctor.text(()) == "ready: nothing found\n"


def test_the_json_form_has_the_conditions_too() -> None:
    found = json.loads(doctor.document(FOUND[:1], {"local": {"limits": {"nofile": [64, None]}}}))
    assert found == {
        "version": 1,
        "ready": False,
        "findings": [
            {
                "code": "a",
                "severity": "blocking",
                "subject": "s",
                "what": "the a",
                "consequence": "harm",
                "remedy": "mend it",
                "nodes": [],
            }
        ],
        "conditions": {"limits": {"nofile": [64, None]}},
    }


def test_the_json_form_has_the_conditions_of_each_of_several_nodes() -> None:
    found = json.loads(doctor.document((), {"a": {"limits": {}}, "b": {"disks": {}}}))
    assert (found["conditions"], found["nodes"]) == ({"limits": {}}, {"a": {"limits": {}}, "b": {"disks": {}}})


def test_the_page_lists_every_code_and_no_other() -> None:
    sources = Path(str(preflight.__file__)).parent.glob("*.py")
    lines = [line for path in sources for line in re.findall(r"^ +code=(.*),$", path.read_text(), re.MULTILINE)]
    written = {code for line in lines for code in re.findall(r'"([a-z-]+)"', line)}
    rows = (line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `"))
    assert {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)} == {
        *written,
        "no-plan",
        "node-unreachable",
    }
