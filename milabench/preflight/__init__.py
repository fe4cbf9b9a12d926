"""Conditions of a node + what is to be run → findings: what stands in the way, or would spoil the numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from milabench.preflight import accelerators, machine, memory, setup
from milabench.preflight.conditions import Conditions
from milabench.preflight.types import SEVERITIES, Finding, Severity, Wanted
from milabench.system.types import System

__all__ = ["SEVERITIES", "Conditions", "Finding", "Severity", "Wanted", "judge"]


def judge(conditions: Conditions, system: System, wanted: Wanted | None = None) -> tuple[Finding, ...]:
    """Return what is found, the worst first: of the machine alone, or also of what is to be run on it.

    What is not known gives no finding.
    """
    found = sorted(_findings(conditions, system, wanted), key=lambda each: SEVERITIES.index(each.severity))
    return tuple(dict.fromkeys(found))


def _findings(conditions: Conditions, system: System, wanted: Wanted | None) -> Iterator[Finding]:
    if wanted is not None:
        yield from setup.findings(conditions, wanted)
        yield from memory.findings(conditions, system, wanted)
    yield from accelerators.findings(conditions, system, wanted)
    yield from machine.findings(conditions, wanted)
