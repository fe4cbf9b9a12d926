"""The schedule of a plan, on a host without processes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from schedules import command, outcomes, trial

from milabench.errors import HostLost, PreflightError
from milabench.execute import Interrupt, Setting, TrialEnded, Waiting, execute
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import HANGS, FakeHost, Story, exits
from milabench.execute.virtual import Stuck, VirtualTime
from milabench.outcome import Outcome
from milabench.plan import Job, Once, Plan, Staged, Trial
from milabench.record import Record
from milabench.rundir import RunDir
from milabench.setuplogs import SetupLogs


def test_trials_run_in_order_and_a_failing_one_stops_no_other(tmp_path: Path) -> None:
    def script(launch: Launch) -> Story:
        return exits(1 if launch.command.tag == "b" else 0)

    host = FakeHost(script)
    found = outcomes(Plan(phase="run", trials=(trial("a"), trial("b"), trial("c"))), host, tmp_path)
    assert host.launched == ["a", "b", "c"]
    assert {name: outcome.reason.partition(":")[0] for name, outcome in found.items()} == {
        "a": "no rate",
        "b": "exit code 1",
        "c": "no rate",
    }


def test_the_processes_of_a_job_run_together_and_fail_together(tmp_path: Path) -> None:
    def script(launch: Launch) -> Story:
        return exits(2) if launch.command.tag == "a.D1" else HANGS

    found = outcomes(Plan(phase="run", trials=(trial("a", "a.D0", "a.D1"),)), FakeHost(script), tmp_path)
    assert found == {"a": Outcome(kind="failed", reason="exit code 2", tag="a.D1")}


@pytest.mark.parametrize(
    "words",
    [
        "ConnectionResetError: rank 1 is gone",
        "RuntimeError: [pair.cc:547] Connection closed by peer [127.0.0.1]:4242",
        "torch.distributed.DistBackendError: ncclRemoteError: a remote process exited prematurely",
        "BrokenPipeError: [Errno 32] Broken pipe",
    ],
)
def test_of_processes_that_fail_at_once_the_reason_is_not_the_one_that_lost_another(tmp_path: Path, words: str) -> None:
    said = {"a.D0": words, "a.D1": "ValueError: this rank is broken", "a.D2": words}

    def script(launch: Launch) -> Story:
        stderr = tmp_path / "run" / f"{launch.command.tag}.stderr"
        stderr.write_text(f"Traceback (most recent call last):\n{said[launch.command.tag]}\n")
        return exits(1)

    found = outcomes(Plan(phase="run", trials=(trial("a", *said),)), FakeHost(script), tmp_path)
    assert (found["a"].tag, found["a"].reason) == ("a.D1", "exit code 1: ValueError: this rank is broken")


def test_a_group_is_ended_when_its_leader_has_measured_enough(tmp_path: Path) -> None:
    def script(launch: Launch) -> Story:
        return HANGS if launch.command.tag == "a.n1" else Story(leads=True)

    group = Job(tag="a", commands=(command("a.n0"), command("a.n1", metrics="none")), deadline_s=60.0)
    plan = Plan(phase="run", trials=(Trial(benchmark="a", jobs=(group,)),))
    assert outcomes(plan, FakeHost(script), tmp_path)["a"].kind == "early_stop"


@pytest.mark.parametrize(("code", "kind"), [(0, "ok"), (1, "failed")])
def test_a_service_ends_with_those_it_serves(tmp_path: Path, code: int, kind: str) -> None:
    def script(launch: Launch) -> Story:
        return HANGS if launch.command.service else exits(code, steps=3)

    server = replace(command("a.server", metrics="none"), service=True)
    job = Job(tag="a", commands=(server, command("a.client")), deadline_s=60.0)
    found = outcomes(Plan(phase="run", trials=(Trial(benchmark="a", jobs=(job,)),)), FakeHost(script), tmp_path)
    assert (found["a"].kind, found["a"].tag) == (kind, "a.client")
    events = {event.event: event.data for event in RunDir(tmp_path / "run").events("a.client")}
    assert events["end"]["outcome"] == kind


def test_a_measured_process_is_well(tmp_path: Path) -> None:
    assert outcomes(Plan(phase="run", trials=(trial("a"),)), FakeHost(), tmp_path) == {"a": Outcome(kind="ok", tag="a")}


def test_a_blocked_benchmark_is_noted_as_failed_and_starts_nothing(tmp_path: Path) -> None:
    host = FakeHost()
    found = outcomes(
        Plan(phase="run", trials=(trial("a"), trial("b"))), host, tmp_path, blocked={"a": "no environment"}
    )
    assert host.launched == ["b"]
    assert found["a"] == Outcome(kind="failed", reason="no environment", tag="a")


def test_an_interrupt_ends_what_runs_and_starts_nothing_more(tmp_path: Path) -> None:
    interrupt = Interrupt()

    def script(launch: Launch) -> Story:
        asyncio.get_running_loop().call_later(0.01, interrupt.set)
        return HANGS

    host = FakeHost(script)
    found = outcomes(Plan(phase="run", trials=(trial("a"), trial("b"))), host, tmp_path, interrupt=interrupt)
    assert host.launched == ["a"]
    assert found == {"a": Outcome(kind="interrupted", reason="interrupted by the operator", tag="a")}


ONCE = Once(record="/r", folder="/f", base={}, parts={})


def setup(host: FakeHost, folder: Path) -> list[object]:
    job = {"once": ONCE, "sequence": True, "staged": (Staged(source="/s", target="/t"),)}
    plan = Plan(phase="install", trials=(trial("torch", "torch.a", "torch.b", **job),))

    async def collect() -> list[object]:
        setting = Setting(hosts={"local": host}, records=SetupLogs(folder), interrupt=Interrupt())
        return [each async for each in execute(plan, setting)]

    return VirtualTime().run(collect())


def test_a_sequence_is_staged_run_in_order_and_recorded(tmp_path: Path) -> None:
    host = FakeHost(lambda _: exits(0))
    setup(host, tmp_path)
    assert host.launched == ["torch.a", "torch.b"]
    assert [op for op, _ in host.requests] == ["begin", "stage", "end"]
    assert host.requests[-1][1]["done"] is True


def test_a_sequence_stops_at_its_first_failure_and_is_not_recorded(tmp_path: Path) -> None:
    host = FakeHost(lambda _: exits(1))
    setup(host, tmp_path)
    assert host.launched == ["torch.a"]
    assert host.requests[-1][1]["done"] is False


def test_what_is_there_already_starts_nothing(tmp_path: Path) -> None:
    host = FakeHost(lambda _: exits(0), {"begin": {"event": "begun", "state": "done"}})
    ended = setup(host, tmp_path)[-1]
    assert isinstance(ended, TrialEnded)
    assert ended.done_before
    assert host.launched == []


def test_what_an_agent_that_is_gone_began_is_lost_and_not_done(tmp_path: Path) -> None:
    host = FakeHost(lambda _: exits(0), {"end": {"event": "ended", "known": False}})  # as the agent after it replies
    ended = setup(host, tmp_path)[-1]
    assert isinstance(ended, TrialEnded)
    reason = "the agent went away before it was recorded as done"
    assert ended.outcome == Outcome(kind="lost", reason=reason, tag="torch")


def test_a_taken_lock_is_waited_for(tmp_path: Path) -> None:
    host = FakeHost(lambda _: exits(0))
    states = iter(["locked", "locked", "needed"])
    original = host.request

    async def request(op: str, **fields: object) -> dict[str, object]:
        return {"state": next(states)} if op == "begin" else await original(op, **fields)

    host.request = request  # type: ignore[method-assign]
    assert sum(isinstance(each, Waiting) for each in setup(host, tmp_path)) == 2


@pytest.mark.parametrize(("again_s", "took_s"), [(None, 6.0), (3.0, 4.0)])
def test_a_second_interrupt_does_not_wait(tmp_path: Path, again_s: float | None, took_s: float) -> None:
    interrupt, time = Interrupt(), VirtualTime()

    def script(launch: Launch) -> Story:
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, interrupt.set)
        if again_s is not None:
            loop.call_later(1.0 + again_s, interrupt.set)
        return replace(HANGS, ignores_term=True)

    plan = Plan(phase="run", trials=(trial("a"),))
    found = outcomes(plan, FakeHost(script), tmp_path, interrupt=interrupt, time=time)
    assert (found["a"].kind, time.seconds) == ("interrupted", took_s)


def test_secrets_reach_the_process_by_name(tmp_path: Path) -> None:
    seen: dict[str, str] = {}

    def script(launch: Launch) -> Story:
        seen.update(launch.env)
        return exits(0)

    plan = Plan(phase="run", trials=(trial("a", secrets=("HF_TOKEN", "ABSENT")),))
    record = Record.create(tmp_path / "run", plan=plan, facts={}, suite={})
    setting = Setting(
        hosts={"local": FakeHost(script)},
        records=record,
        interrupt=Interrupt(),
        secrets={"HF_TOKEN": "x", "OTHER": "y"},
    )

    async def drain() -> None:
        async for _ in execute(plan, setting):
            pass

    asyncio.run(drain())
    assert seen["HF_TOKEN"] == "x"
    assert not {"ABSENT", "OTHER"} & seen.keys()


@pytest.mark.parametrize(("error", "kind"), [(HostLost("gone"), "lost"), (PreflightError("no"), "failed")])
def test_what_a_node_cannot_do_is_the_outcome_of_its_trial_only(
    tmp_path: Path, error: PreflightError, kind: str
) -> None:
    class Broken(FakeHost):
        async def request(self, op: str, **fields: object) -> dict[str, object]:
            raise error

    staged = (Staged(source="/s", target="/t"),)
    found = outcomes(Plan(phase="run", trials=(trial("a", staged=staged), trial("b"))), Broken(), tmp_path)
    assert (found["a"].kind, found["b"].kind) == (kind, "ok")


def test_a_sequence_shares_one_deadline(tmp_path: Path) -> None:
    deadlines: list[float | None] = []

    def script(launch: Launch) -> Story:
        deadlines.append(launch.deadline_s)
        return exits(0, after_s=25.0)

    setup(FakeHost(script), tmp_path)
    assert deadlines == [60.0, 35.0]


def test_a_deadline_and_a_stubborn_process_take_the_time_they_are_given(tmp_path: Path) -> None:
    time = VirtualTime()
    found = outcomes(
        Plan(phase="run", trials=(trial("a"),)),
        FakeHost(lambda _: replace(HANGS, ignores_term=True)),
        tmp_path,
        time=time,
    )
    assert (found["a"].kind, time.seconds) == ("timeout", 65.0)


def test_what_waits_for_nothing_is_told_instead_of_hanging(tmp_path: Path) -> None:
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        VirtualTime().run(waits())


def test_an_error_of_our_own_ends_the_plan_and_is_told(tmp_path: Path) -> None:
    class Broken(FakeHost):
        async def start(self, launch: Launch):  # type: ignore[no-untyped-def]
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        outcomes(Plan(phase="run", trials=(trial("a"), trial("b"))), Broken(), tmp_path)


def test_a_process_that_starts_after_a_second_interrupt_is_not_waited_for(tmp_path: Path) -> None:
    interrupt, time = Interrupt(), VirtualTime()

    def script(launch: Launch) -> Story:
        interrupt.set()
        interrupt.set()
        return replace(HANGS, ignores_term=True)

    found = outcomes(
        Plan(phase="run", trials=(trial("a"),)), FakeHost(script), tmp_path, interrupt=interrupt, time=time
    )
    assert (found["a"].kind, time.seconds) == ("interrupted", 0.0)
