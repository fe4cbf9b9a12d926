"""Runs on several nodes without processes: made, cut off and gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleets import facts, fleet
from milabench.app import resume as resume_module
from milabench.app import run as run_module
from milabench.app.fleet import Fleet
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.app.resume import Resumed
from milabench.console import Console
from milabench.errors import ExitCode
from milabench.execute import Interrupt
from milabench.execute.hosts.fake import FakeHost, Script
from milabench.rundir import RunDir, runs

SUITE = "one: {command: {argv: [x]}, plan: {method: per_node}}\ntwo: {command: {argv: [x]}, plan: {method: per_node}}\n"
SYSTEM = """\
system:
  arch: %s
  nodes: [{name: a, ip: 10.9.8.1, main: true}, {name: b, ip: 10.9.8.2, user: bench, port: 2222}]
"""
HELLO = {"python": "/usr/bin/python3", "python_version": "3.11.2", "machine": "x86_64"}


def machine(script: Script | None = None, replies: Mapping[str, dict[str, Any]] | None = None, **told: Any) -> FakeHost:
    known = {"probe": {"facts": facts(**told)}, "hello": HELLO, "freeze": {"packages": {}}, **(replies or {})}
    return FakeHost(script, known, remote=True)


def here() -> FakeHost:
    return FakeHost(replies={"probe": {"facts": facts(hostname="here")}, "freeze": {"packages": {}}})


def operation(folder: Path, made: Fleet, *, arch: str = "cpu", quiet: bool = True) -> Operation:
    (folder / "suite.yaml").write_text(SUITE)
    (folder / "system.yaml").write_text(SYSTEM % arch)
    options = Options(config=str(folder / "suite.yaml"), base=folder / "base", system=folder / "system.yaml")
    return Operation(options=options, console=Console(quiet=quiet), fleet=made, interrupt=Interrupt())


def run(folder: Path, others: Mapping[str, FakeHost], monkeypatch: pytest.MonkeyPatch) -> tuple[ExitCode, RunDir]:
    work = operation(folder, fleet(here(), others))

    @asynccontextmanager
    async def at_work(*_: object) -> AsyncIterator[Operation]:
        yield work

    monkeypatch.setattr(run_module, "operation", at_work)
    code = asyncio.run(run_module.run(work.options, work.console, lambda _: None))
    return code, RunDir(runs(work.options.base)[-1])


def cut_off(record: RunDir) -> None:
    """Make it a run whose last trial has not ended."""
    lines = record.journal_path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"finished"' not in line and not ('"ended"' in line and '"two"' in line)]
    record.journal_path.write_text("".join(kept))
    for tag in ("two.a", "two.b"):
        path = record.files(tag).events
        path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if '"end"' not in line))


def resumed(
    folder: Path,
    record: RunDir,
    others: Mapping[str, FakeHost],
    monkeypatch: pytest.MonkeyPatch,
    system: Path | None = None,
    **how: bool,
) -> ExitCode:
    options = Options(config=None, base=folder / "base", system=system)
    work = replace(operation(folder, fleet(here(), others)), options=options)

    @asynccontextmanager
    async def at_work(*_: object) -> AsyncIterator[Operation]:
        yield work

    monkeypatch.setattr(resume_module, "operation", at_work)
    wanted = Resumed(name=str(record.path), **how)
    return asyncio.run(resume_module.resume(wanted, work.options, work.console, lambda _: None))
