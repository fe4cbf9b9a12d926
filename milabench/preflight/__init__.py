"""Conditions of a node + what is to be run → findings: what stands in the way, or would spoil the numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from milabench.preflight import accelerators, differences, machine, memory, setup
from milabench.preflight.conditions import Conditions
from milabench.preflight.differences import packages
from milabench.preflight.nodes import apart, together
from milabench.preflight.types import SEVERITIES, Finding, Severity, Wanted
from milabench.system.types import System

__all__ = [
    "SEVERITIES",
    "Conditions",
    "Finding",
    "Severity",
    "Wanted",
    "apart",
    "compared",
    "judge",
    "packages",
    "room",
    "together",
]


def judge(conditions: Conditions, system: System, wanted: Wanted | None = None) -> tuple[Finding, ...]:
    """Return what is found of one node, the worst first: of the machine alone, or also of what is to be run on it.

    What is not known gives no finding.
    """
    found = sorted(_findings(conditions, system, wanted), key=lambda each: SEVERITIES.index(each.severity))
    return tuple(dict.fromkeys(found))


def compared(system: System, wanted: Wanted | None = None) -> tuple[Finding, ...]:
    """Return what is found of the nodes of a system beside each other."""
    return tuple(differences.findings(system, wanted))


def room(conditions: Conditions, wanted: Wanted) -> tuple[Finding, ...]:
    """Return what is found of the disks of a machine that is no node, and keeps what a run writes."""
    return tuple(machine.disks(conditions, wanted))


def _findings(conditions: Conditions, system: System, wanted: Wanted | None) -> Iterator[Finding]:
    if wanted is not None:
        yield from setup.findings(conditions, wanted)
        yield from memory.findings(conditions, system, wanted)
    yield from accelerators.findings(conditions, system, wanted)
    yield from machine.findings(conditions, wanted)
