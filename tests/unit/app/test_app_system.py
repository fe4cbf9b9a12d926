"""Which nodes ``milabench system`` describes, and what it calls them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fleets import facts, fleet
from milabench.app import system as system_module
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.app.system import Asked, describe
from milabench.console import Console
from milabench.errors import UsageError
from milabench.execute import Interrupt
from milabench.execute.hosts.fake import FakeHost
from milabench.system.types import System


def host(hostname: str, **changes: Any) -> FakeHost:
    hello = {"python": "/usr/bin/python3", "python_version": "3.11.2", "machine": "x86_64"}
    return FakeHost(replies={"probe": {"facts": facts(hostname=hostname, **changes)}, "hello": hello}, remote=True)


def described(
    monkeypatch: pytest.MonkeyPatch, asked: Asked, others: dict[str, FakeHost], environ: dict[str, str] | None = None
) -> tuple[System, dict[str, FakeHost]]:
    options = Options(config=None, base=Path("/base"), environ=environ or {})

    @asynccontextmanager
    async def at_work(*_: object) -> AsyncIterator[Operation]:
        here = FakeHost(replies={"probe": {"facts": facts(hostname="here")}})
        async with fleet(here, others) as made:
            yield Operation(options=options, console=Console(quiet=True), fleet=made, interrupt=Interrupt())

    monkeypatch.setattr(system_module, "operation", at_work)
    monkeypatch.setattr(system_module, "route", lambda to: {"own": None})
    return asyncio.run(describe(asked, options, Console(quiet=True))), others


def test_without_a_list_it_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = described(monkeypatch, Asked(), {}, {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "n[1-2]"})
    assert [(node.name, node.local, node.main) for node in found.nodes] == [("here", True, True)]
    assert found.allocation is None


def test_hosts_are_called_as_they_are_named_and_addresses_as_they_call_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = {
        "gpu1": host("gpu1.cluster"),
        "10.9.8.7": host("gpu2"),
        "10.9.8.8": host("twin"),
        "10.9.8.9": host("twin"),
    }
    found, _ = described(monkeypatch, Asked(hosts=tuple(others)), others)
    assert [node.name for node in found.nodes] == ["gpu1", "gpu2", "10.9.8.8", "10.9.8.9"]
    assert [found.probed[node.name]["hostname"] for node in found.nodes] == ["gpu1.cluster", "gpu2", "twin", "twin"]


def test_the_architecture_is_that_of_the_main_node(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = host("a", arch="cuda", devices=[{"id": 0, "name": "GPU"}])
    found, _ = described(monkeypatch, Asked(hosts=("a",)), {"a": gpu})
    assert (found.arch, len(found.main.devices)) == ("cuda", 1)


def test_nothing_is_made_on_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    _, others = described(monkeypatch, Asked(hosts=("a", "b")), {"a": host("a"), "b": host("b")})
    marks = [fields["absent"] for each in others.values() for op, fields in each.requests if op == "mark"]
    assert marks == ["leave", "leave"]


def test_the_nodes_of_an_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    within = {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "n[1-2]"}
    found, _ = described(monkeypatch, Asked(slurm=True), {"n1": host("n1"), "n2": host("n2")}, within)
    assert ([node.name for node in found.nodes], found.allocation is not None) == (["n1", "n2"], True)
    with pytest.raises(UsageError, match="no Slurm allocation"):
        described(monkeypatch, Asked(slurm=True), {})


def test_hosts_of_a_file_come_after_those_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("b\n")
    asked = Asked(hosts=("a",), hostfile=str(tmp_path / "hosts"))
    found, _ = described(monkeypatch, asked, {"a": host("a"), "b": host("b")})
    assert [node.name for node in found.nodes] == ["a", "b"]
