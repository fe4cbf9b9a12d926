"""What verbs do with several nodes: held, watched, asked and recorded each, and what of a run is lost with one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from runs_on_nodes import cut_off, here, machine, operation, resumed, run

from fleets import fleet
from milabench.app import places
from milabench.app import resume as resume_module
from milabench.app import run as run_module
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.errors import ExitCode, HostLost, PreflightError
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import FakeHost, FakeProcess
from milabench.rundir import RunDir


def asked(host: FakeHost, op: str) -> list[dict[str, Any]]:
    return [fields for name, fields in host.requests if name == op]


def test_every_node_is_held_watched_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"a": machine(hostname="n-a", cpus=8), "b": machine(hostname="n-b", driver="2")}
    code, record = run(tmp_path, others, monkeypatch)
    assert code == ExitCode.OK
    for name, host in others.items():
        (lock,) = {fields["path"] for fields in asked(host, "hold")}
        assert lock.startswith(f"{record.path.name}-")  # on its own disk, not in the run's folder
        assert lock.endswith(".lock")
        paths = [fields["path"] for fields in asked(host, "monitor")]
        assert paths == [str(record.monitor_path(name)), None]
    nodes = record.facts()["nodes"]
    assert {name: (each["hostname"], each["cpus"], each["driver"]) for name, each in nodes.items()} == {
        "a": ("n-a", 8, None),
        "b": ("n-b", 4, "2"),
    }
    assert [nodes["b"][key] for key in ("address", "user", "port", "main")] == ["10.9.8.2", "bench", 2222, False]
    assert record.facts()["system"]["hostname"] == "n-a"  # the main node's
    assert set(record.facts()["ssh"]) == {"sshkey", "ssh.connect", "ssh.keepalive"}
    assert all("environ" not in each for each in nodes.values())


def test_differences_between_nodes_are_recorded_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, record = run(tmp_path, {"a": machine(), "b": machine(cpus=8)}, monkeypatch)
    found = {each["subject"]: each for each in record.facts()["preflight"]}
    assert found["cores"]["what"] == "nodes differ in their cores: 4 on a; 8 on b"


def test_a_node_that_lacks_devices_is_told_with_all_others(tmp_path: Path) -> None:
    gpu = {"arch": "cuda", "devices": [{"id": 0, "name": "GPU"}]}
    work = operation(tmp_path, fleet(here(), {"a": machine(**gpu), "b": machine()}), arch="cuda")
    with pytest.raises(PreflightError, match="^the system asks for cuda, node b has no accelerator: check the driver"):
        asyncio.run(work.workspace())


class Leaving(FakeHost):
    """A node whose agent ends when it starts something; it is there again, or it is not."""

    def __init__(self, *, comes_back: bool) -> None:
        super().__init__(replies=machine()._replies, remote=True)
        self._left, self._comes_back = False, comes_back

    async def start(self, launch: Launch) -> FakeProcess:
        process = await super().start(launch)
        if not self._left:
            self._left = True
            await process.stop("lost", 0.0)
        return process

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        if self._left and not self._comes_back:
            raise HostLost("no route to host")
        return await super().request(op, **fields)


@pytest.mark.parametrize(("comes_back", "attempts"), [(True, 2), (False, 1)])
def test_what_went_with_a_node_is_run_again_if_it_is_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_back: bool, attempts: int
) -> None:
    whole = machine()
    code, record = run(tmp_path, {"a": whole, "b": Leaving(comes_back=comes_back)}, monkeypatch)
    assert code == (ExitCode.OK if comes_back else ExitCode.FAILED)
    assert record.journal().attempts["one"] == attempts
    assert whole.launched.count("one.a") == attempts


def test_usage_is_asked_of_the_nodes_that_run_something(tmp_path: Path) -> None:
    async def story() -> None:
        told = {"processes": {"x.a": {"rss_bytes": 1, "cpu_s": 0.0}}, "devices": [{"id": 0, "load": 0.5}]}
        others = {"a": machine(replies={"usage": told}), "b": machine(), "c": machine()}
        async with fleet(here(), others) as made:
            work = operation(tmp_path, made)
            await work.workspace()
            await others["b"].lose()
            found = await work._usage(["a", "b"])
        assert found == {"processes": told["processes"], "devices": [{"id": 0, "load": 0.5, "node": "a"}]}
        assert asked(others["c"], "usage") == []

    asyncio.run(story())


def test_a_node_that_is_still_at_work_for_a_runner_before_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Busy(FakeHost):
        times = 0

        async def request(self, op: str, **fields: Any) -> dict[str, Any]:
            reply = await super().request(op, **fields)
            if op == "hold":
                self.times += 1
                return {"held": self.times > 2, "path": "/b.lock", "by": "process 7 of n-b"}
            return reply

    busy = Busy(replies=machine()._replies, remote=True)
    work = operation(tmp_path, fleet(here(), {"a": machine(), "b": busy}), quiet=False)

    @asynccontextmanager
    async def at_work(*_: object) -> AsyncIterator[Operation]:
        yield work

    monkeypatch.setattr(run_module, "operation", at_work)
    asyncio.run(run_module.run(work.options, work.console, lambda _: None))
    said = "waiting at most 120 s for the processes of the runner before to end (b): process 7 of n-b holds /b.lock"
    assert said in capsys.readouterr().err
    assert busy.times == 3


# Going on ------------------------------------------------------------------------------------------------------------


def test_a_run_is_gone_on_with_on_the_nodes_it_was_begun_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, record = run(tmp_path, {"a": machine(), "b": machine()}, monkeypatch)
    cut_off(record)
    others = {"a": machine(), "b": machine()}
    assert resumed(tmp_path, record, others, monkeypatch) == ExitCode.OK
    assert {name: host.launched for name, host in others.items()} == {"a": ["two.a"], "b": ["two.b"]}


def test_a_node_that_has_changed_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, record = run(tmp_path, {"a": machine(), "b": machine(driver="1")}, monkeypatch)
    cut_off(record)
    with pytest.raises(PreflightError, match="driver of b: 1 → 2"):
        resumed(tmp_path, record, {"a": machine(), "b": machine(driver="2")}, monkeypatch)


def test_a_run_whose_nodes_cannot_be_reached_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = run(tmp_path, {"a": machine(), "b": machine()}, monkeypatch)
    cut_off(record)
    with pytest.raises(PreflightError, match="1 of 2 nodes cannot be used"):
        resumed(tmp_path, record, {"a": machine()}, monkeypatch)
    assert not record.is_being_written()


def test_a_run_of_another_allocation_says_which_nodes_it_needs(tmp_path: Path) -> None:
    before = {"allocation": "17", "nodes": {"n7": reached("n7"), "n8": reached("n8")}}
    run = RunDir(tmp_path / "it")

    def ways(options: Options) -> resume_module._Ways:
        return resume_module._in_allocation(places.of_run(before), before, run, options, other_nodes=False)

    with pytest.raises(
        PreflightError, match=r"n7, n8 of a Slurm cluster, and this allocation has n1, n2: .*--nodelist=n7,n8"
    ):
        ways(slurm("n[1-2]"))
    with pytest.raises(PreflightError, match="and milabench runs in no allocation: .*it --other-nodes$"):
        ways(Options(config=None, base=Path("/b")))
    found = ways(slurm("n[7-9]", here="n8"))
    assert found.within is not None
    assert found.within.job == "18"
    assert [(each.name, each.local) for each in found.system.nodes] == [("n7", False), ("n8", True)]


def reached(name: str) -> dict[str, Any]:
    names = {"address": name, "port": 22, "user": None, "main": name == "n7", "hostkey": None}
    return {**names, "local": name == "n7", "python": None}


def slurm(nodes: str, here: str = "") -> Options:
    environ = {"SLURM_JOB_ID": "18", "SLURM_JOB_NODELIST": nodes, "SLURMD_NODENAME": here}
    return Options(config=None, base=Path("/b"), environ=environ)
