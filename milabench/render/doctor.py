"""What a look before a run has found, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from milabench.preflight import SEVERITIES, Finding, Severity

_TITLES: Mapping[Severity, str] = {"blocking": "blocking", "warning": "warnings", "note": "notes"}


def is_ready(findings: Sequence[Finding]) -> bool:
    """Return whether nothing stands in the way."""
    return all(each.severity != "blocking" for each in findings)


def text(findings: Sequence[Finding]) -> str:
    """Return the findings under their severities, the worst first, and whether a run can begin."""
    return "".join(f"{line}\n" for line in _lines(findings))


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    counts = []
    for severity in SEVERITIES:
        found = [each for each in findings if each.severity == severity]
        if not found:
            continue
        counts.append(f"{len(found)} {_TITLES[severity] if len(found) > 1 else severity}")
        yield _TITLES[severity]
        for (_, consequence, remedy), alike in groupby(found, _said_once):
            yield from (f"  {each.what}" for each in alike)
            yield f"      so:  {consequence}"
            yield f"      do:  {remedy}"
        yield ""
    yield f"{'ready' if is_ready(findings) else 'not ready'}: {', '.join(counts) or 'nothing found'}"


def _said_once(finding: Finding) -> tuple[str, str, str]:
    """Return what is told once of findings that follow each other: several nodes that cannot be reached, say."""
    return finding.code, finding.consequence, finding.remedy


def document(findings: Sequence[Finding], conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the findings, and the conditions of each node that they were found in, as JSON."""
    found = {"version": 1, "ready": is_ready(findings), "findings": [asdict(each) for each in findings]}
    main = next(iter(conditions.values()), {})
    several = {"nodes": conditions} if len(conditions) > 1 else {}
    return json.dumps({**found, "conditions": main, **several}, indent=1) + "\n"
