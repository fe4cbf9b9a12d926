"""What a verb that starts processes asks for first, and what it leaves behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from fleets import alone
from milabench.app import run as run_module
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.console import Console
from milabench.errors import ExitCode, PreflightError
from milabench.execute import Interrupt
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import FakeHost, Script, Story
from milabench.rundir import RunDir, runs

SUITE = "one: {command: {argv: [x], env: {%s}}, plan: {method: njobs}}\n"
FACTS = {"hostname": "here", "cpus": 4, "memory_bytes": 2**34, "arch": "cpu", "devices": [], "environ": {}}
REPLIES: dict[str, Any] = {
    "probe": {"facts": {**FACTS, "ips": ["10.0.0.1"]}},
    "missing": {"names": []},
    "freeze": {"packages": {}},
}


def operation(
    folder: Path,
    *,
    env: str = "",
    system: str | None = None,
    script: Script | None = None,
    probed: Mapping[str, Any] = MappingProxyType({}),
) -> Operation:
    (folder / "suite.yaml").write_text(SUITE % env)
    if system is not None:
        (folder / "system.yaml").write_text(system)
    options = Options(
        config=str(folder / "suite.yaml"),
        base=folder / "base",
        system=folder / "system.yaml" if system is not None else None,
        environ={"HF_TOKEN": "hf_0123456789"},
    )
    host = FakeHost(script, {**REPLIES, "probe": {"facts": {**REPLIES["probe"]["facts"], **probed}}})
    return Operation(options=options, console=Console(quiet=True), fleet=alone(host), interrupt=Interrupt())


def test_more_devices_than_this_machine_shows_are_refused(tmp_path: Path) -> None:
    probed = {"arch": "cuda", "devices": [{"id": 1, "name": "GPU"}]}
    work = operation(tmp_path, system="system: {gpu: {count: 2}}\n", probed=probed)
    with pytest.raises(PreflightError, match=r"asks for 2 cuda devices, this machine has 1, of the numbers \[1\]"):
        asyncio.run(work.workspace())


@pytest.mark.parametrize("address", ["10.0.0.1", "here", "localhost"])
def test_a_node_that_is_this_machine_is_taken(tmp_path: Path, address: str) -> None:
    system = f"system: {{nodes: [{{name: a, ip: {address}, main: true}}]}}\n"
    ready = asyncio.run(operation(tmp_path, system=system).workspace())
    assert ready.system.main.address == address


def run(work: Operation, monkeypatch: pytest.MonkeyPatch) -> ExitCode:
    @asynccontextmanager
    async def at_work(*_: object) -> AsyncIterator[Operation]:
        yield work

    monkeypatch.setattr(run_module, "operation", at_work)
    return asyncio.run(run_module.run(work.options, work.console, lambda _: None))


def facts(work: Operation) -> dict[str, Any]:
    (path,) = runs(work.options.base)
    return dict(RunDir(path).facts())


def test_a_run_is_recorded_as_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = operation(tmp_path)
    assert run(work, monkeypatch) == ExitCode.OK
    assert (facts(work)["state"], "ended" in facts(work)) == ("complete", True)


def test_a_run_that_breaks_off_is_recorded_as_failed_and_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(_: Launch) -> Story:
        raise OSError("no space left")

    work = operation(tmp_path, script=script)
    with pytest.raises(OSError, match="no space left"):
        run(work, monkeypatch)
    assert (facts(work)["state"], "ended" in facts(work)) == ("failed", True)


def test_a_secret_reaches_its_process_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def script(launch: Launch) -> Story:
        seen.append(launch.env["HF_TOKEN"])
        raise OSError

    work = operation(tmp_path, env="HF_TOKEN: '${oc.env:HF_TOKEN}'", script=script)
    with pytest.raises(OSError):
        run(work, monkeypatch)
    assert seen == ["hf_0123456789"]
    (path,) = runs(work.options.base)
    assert [file.name for file in path.iterdir() if "hf_0123456789" in file.read_text()] == []
    command = json.loads((path / "suite.json").read_text())["benchmarks"]["one"]["command"]
    assert command["env"] == {"HF_TOKEN": "${secret:HF_TOKEN}"}


def test_a_secret_that_is_named_and_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = operation(tmp_path, env="WANDB: '${secret:WANDB}'")
    with pytest.raises(PreflightError, match="not in your environment: WANDB"):
        run(work, monkeypatch)
    assert runs(work.options.base) == []
