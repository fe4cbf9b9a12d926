"""The schedule of a plan, on a host without processes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from milabench.errors import DiskFull, HostLost, PreflightError
from milabench.execute import Interrupt, Setting, TrialEnded, Waiting, execute
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import HANGS, FakeHost, Story, exits
from milabench.execute.virtual import Stuck, VirtualTime
from milabench.outcome import Exit, Outcome
from milabench.plan import Command, Job, Once, Plan, Staged, Trial
from milabench.record import Record
from milabench.rundir import RunDir
from milabench.setuplogs import SetupLogs


def command(tag: str, metrics: str = "file") -> Command:
    return Command(
        tag=tag, benchmark=tag.split(".", maxsplit=1)[0], node="local", argv=("x",), cwd="/", metrics=metrics
    )


def trial(name: str, *tags: str, **job: object) -> Trial:
    commands = tuple(command(tag) for tag in tags or (name,))
    return Trial(benchmark=name, jobs=(Job(tag=name, commands=commands, deadline_s=60.0, **job),))


def outcomes(plan: Plan, host: FakeHost, folder: Path, **options: object) -> dict[str, Outcome]:
    interrupt, side_by_side = options.pop("interrupt", Interrupt()), options.pop("side_by_side", False)
    time = options.pop("time", VirtualTime())
    record = Record.create(folder / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns)

    async def collect() -> dict[str, Outcome]:
        setting = Setting(hosts={"local": host}, records=record, interrupt=interrupt, side_by_side=side_by_side)
        happenings = execute(plan, setting, **options)
        return {each.trial.id: each.outcome async for each in happenings if isinstance(each, TrialEnded)}

    found = time.run(collect())
    assert record.outcomes() == found
    return found


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


def on(name: str, *devices: int) -> Trial:
    """Return a trial with a process on each of some devices, of one without any."""
    tags = [replace(command(f"{name}.D{device}"), devices=(device,)) for device in devices] or [command(name)]
    return Trial(benchmark=name, jobs=tuple(Job(tag=each.tag, commands=(each,), deadline_s=60.0) for each in tags))


def beginnings(folder: Path, *trials: Trial, seconds: dict[str, float]) -> tuple[dict[str, float], dict[str, object]]:
    """Run trials side by side; return when each began (s), and whom each met."""
    began: dict[str, float] = {}
    time = VirtualTime()

    def script(launch: Launch) -> Story:
        began.setdefault(launch.command.benchmark, round(time.seconds, 3))
        return exits(0, steps=1, step_s=seconds[launch.command.benchmark])

    outcomes(Plan(phase="run", trials=trials), FakeHost(script), folder, side_by_side=True, time=time)
    return began, dict(RunDir(folder / "run").journal().neighbours)


def test_side_by_side_trials_share_no_device_and_say_whom_they_met(tmp_path: Path) -> None:
    trials = (on("a", 0, 1), on("b", 1, 2), on("c", 3), on("d"), on("e", 0))
    began, met = beginnings(tmp_path, *trials, seconds={"a": 10, "b": 5, "c": 12, "d": 1, "e": 1})
    assert began == {"a": 0.0, "c": 0.0, "b": 10.0, "d": 15.0, "e": 16.0}
    assert met == {"a": ("c",), "b": ("c",), "c": ("a", "b"), "d": (), "e": ()}


def test_a_trial_that_waits_for_a_device_is_not_overtaken_on_it(tmp_path: Path) -> None:
    trials = (on("long", 0), on("both", 0, 1), on("short", 1))
    began, _ = beginnings(tmp_path, *trials, seconds={"long": 10, "both": 1, "short": 1})
    assert began == {"long": 0.0, "both": 10.0, "short": 11.0}


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


class Full(Record):
    """A record whose disk is full for one thing: a method, of one trial or process."""

    where = ("", "")

    def _check(self, method: str, name: str) -> None:
        if self.where == (method, name):
            raise DiskFull("no room is left")

    def started(self, trial: Trial) -> None:
        self._check("started", trial.id)
        super().started(trial)

    def begin(self, command: Command, config: object) -> int:
        self._check("begin", command.tag)
        return super().begin(command, config)  # type: ignore[arg-type]

    def seal(self, command: Command, ended: Exit) -> Outcome:
        self._check("seal", command.tag)
        return super().seal(command, ended)


@pytest.mark.parametrize(
    ("method", "name", "sealed"),
    [
        ("started", "late", {"long.D0": "lost", "soon.D1": "ok"}),
        ("begin", "late.D1", {"long.D0": "lost", "soon.D1": "ok"}),
        ("seal", "soon.D1", {"long.D0": "lost"}),
    ],
)
def test_what_runs_beside_a_trial_that_cannot_go_on_is_ended_and_sealed(
    tmp_path: Path, method: str, name: str, sealed: dict[str, str]
) -> None:
    def script(launch: Launch) -> Story:
        return HANGS if launch.command.benchmark == "long" else exits(0, steps=1)

    plan, time = Plan(phase="run", trials=(on("long", 0), on("soon", 1), on("late", 1))), VirtualTime()
    record, host = Full.create(tmp_path / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns), FakeHost(script)
    record.where = (method, name)  # type: ignore[attr-defined]

    async def collect() -> None:
        setting = Setting(hosts={"local": host}, records=record, interrupt=Interrupt(), side_by_side=True)
        async for _ in execute(plan, setting):
            pass

    with pytest.raises(DiskFull):
        time.run(collect())
    ends = {tag: record.end(tag) for tag in record.tags()}
    assert {tag: end.kind for tag, end in ends.items() if end is not None} == sealed
    assert time.seconds < 1
    outcomes = {trial: outcome.kind for trial, outcome in record.journal().outcomes.items()}
    assert outcomes["long"] == "lost"


@pytest.mark.parametrize(("method", "name"), [("begin", "a.n1"), ("seal", "a.n0"), ("seal", "a.n1")])
def test_the_processes_of_a_job_that_breaks_are_ended_and_awaited(tmp_path: Path, method: str, name: str) -> None:
    def script(launch: Launch) -> Story:
        return replace(HANGS, ignores_term=True) if launch.command.tag != name else exits(0, steps=1)

    plan, time = Plan(phase="run", trials=(trial("a", "a.n0", "a.n1"),)), VirtualTime()
    record, host = Full.create(tmp_path / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns), FakeHost(script)
    record.where = (method, name)  # type: ignore[attr-defined]
    interrupt = Interrupt()

    async def collect() -> None:
        async for _ in execute(plan, Setting(hosts={"local": host}, records=record, interrupt=interrupt)):
            pass

    with pytest.raises(DiskFull):
        time.run(collect())
    assert not interrupt.ends_something
    other = {"a.n0": "a.n1", "a.n1": "a.n0"}[name]
    assert (record.end(other) is not None) == (other in host.launched)


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
