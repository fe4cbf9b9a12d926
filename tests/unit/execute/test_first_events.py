"""Groups of ranks: each rank is heard of in time, or the job fails and says what to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from milabench.execute import Interrupt, Setting, TrialEnded, execute
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import HANGS, FakeHost, Reply, Story
from milabench.execute.ports import Ports
from milabench.execute.virtual import VirtualTime
from milabench.outcome import Exit, Outcome
from milabench.plan import Command, Job, Plan, Trial
from milabench.plan.types import Ranks
from milabench.record import Record
from milabench.rundir import RunDir

HELLO = [("hello", {"pid": 1})]
WAITS = replace(HANGS, events=HELLO)


def member(number: int, **keys: Any) -> Command:
    """Return the launcher of two ranks on one of two nodes."""
    ranks = Ranks(
        leader="t.n0", first=2 * number, count=2, nodes=2, address=f"10.0.0.{number + 1}", interface=f"eth{number}"
    )
    command = Command(
        tag=f"t.n{number}",
        benchmark="t",
        node=f"n{number}",
        argv=("torchrun", "--rdzv-endpoint=10.0.0.1:${port:29400}"),
        cwd="/",
        rank=number,
        metrics="none" if number else "file",
        ranks=ranks,
    )
    return replace(command, **keys)


def group(**job: Any) -> Job:
    return Job(**{"tag": "t", "commands": (member(0), member(1)), "deadline_s": 3600.0, "first_event_s": 300.0, **job})


def run(
    folder: Path, stories: Mapping[str, Story], *, job: Job | None = None, replies: Mapping[str, Reply] | None = None
) -> tuple[Outcome, float, dict[str, FakeHost]]:
    """Return what came of a group whose launchers have these stories, after how long, and the nodes."""
    time = VirtualTime()
    plan = Plan(phase="run", trials=(Trial(benchmark="t", jobs=(job or group(),)),))
    record = Record.create(folder / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns)

    def script(launch: Launch) -> Story:
        return stories[launch.command.tag]

    async def collect() -> tuple[Outcome, dict[str, FakeHost]]:
        hosts = {name: FakeHost(script, replies) for name in ("n0", "n1")}
        setting = Setting(hosts=hosts, records=record, interrupt=Interrupt())
        happenings = execute(plan, setting)
        (outcome,) = [each.outcome async for each in happenings if isinstance(each, TrialEnded)]
        return outcome, hosts

    outcome, hosts = time.run(collect())
    return outcome, time.seconds, hosts


def test_ranks_of_all_nodes_write_beside_the_leader_and_count(tmp_path: Path) -> None:
    found, _, _ = run(tmp_path, {"t.n0": Story(), "t.n1": Story()})
    assert found == Outcome(kind="ok", tag="t.n0")
    written = sorted(path.name for path in (tmp_path / "run").glob("t.*.steps"))
    assert written == ["t.n0.rank1.steps", "t.n0.rank2.steps", "t.n0.rank3.steps", "t.n0.steps"]
    (steps,) = RunDir(tmp_path / "run").steps("t.n0")
    assert list(steps.columns["count"]) == [40, 40, 40]  # ten of each of four ranks


def test_a_silent_node_is_named_with_what_to_check(tmp_path: Path) -> None:
    replies = {"reach": lambda fields: {"event": "reached", "why": f"no answer within {fields['within_s']:g} s"}}
    stories = {"t.n0": WAITS, "t.n1": replace(WAITS, silent=(2, 3))}
    found, seconds, hosts = run(tmp_path, stories, replies=replies)
    assert (found.kind, found.tag, round(seconds)) == ("failed", "t.n1", 300)
    assert found.reason.startswith("nothing was heard within 300 s of ranks 2 and 3 on n1 (10.0.0.2, eth1); ")
    for word in ("10.0.0.1:29400", "firewall", "interface", "clocks", "same torch", "torchrun.first_event_s"):
        assert word in found.reason
    assert [fields for op, fields in hosts["n1"].requests if op == "reach"] == [
        {"address": "10.0.0.1", "port": 29400, "within_s": 5.0}
    ]


@pytest.mark.parametrize(
    ("unreached", "says"),
    [
        ((), "the ranks meet at 10.0.0.1:29400, which every node reaches"),
        (("n1",), "10.0.0.1:29400, where the ranks meet, is not reached from n1: no route to host"),
        (("n0", "n1"), "nothing takes connections at 10.0.0.1:29400 on n0 itself (no route to host)"),
    ],
)
def test_what_each_node_reaches_is_told(tmp_path: Path, unreached: tuple[str, ...], says: str) -> None:
    time = VirtualTime()
    plan = Plan(phase="run", trials=(Trial(benchmark="t", jobs=(group(),)),))
    record = Record.create(tmp_path / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns)

    async def collect() -> Outcome:
        hosts = {
            name: FakeHost(
                lambda _: HANGS, {"reach": {"event": "reached", "why": "no route to host" * (name in unreached)}}
            )
            for name in ("n0", "n1")
        }
        setting = Setting(hosts=hosts, records=record, interrupt=Interrupt())
        (found,) = [each.outcome async for each in execute(plan, setting) if isinstance(each, TrialEnded)]
        return found

    reason = time.run(collect()).reason
    assert "ranks 0 and 1 on n0 (10.0.0.1, eth0); ranks 2 and 3 on n1 (10.0.0.2, eth1)" in reason
    assert says in reason


@pytest.mark.parametrize(
    "stories",
    [
        {"t.n0": WAITS, "t.n1": WAITS},
        {"t.n0": Story(step_s=100.0, steps=10, ends=None), "t.n1": HANGS},  # only the leader tells: they have met
    ],
    ids=["hello", "step"],
)
def test_a_group_that_was_heard_of_goes_on(tmp_path: Path, stories: Mapping[str, Story]) -> None:
    found, seconds, hosts = run(tmp_path, stories)
    assert (found.kind, round(seconds)) == ("timeout", 3600)
    assert not [op for host in hosts.values() for op, _ in host.requests if op == "reach"]


def test_without_the_option_the_deadline_of_the_job_holds(tmp_path: Path) -> None:
    found, seconds, _ = run(tmp_path, {"t.n0": HANGS, "t.n1": HANGS}, job=group(first_event_s=None))
    assert (found.kind, round(seconds)) == ("timeout", 3600)


@pytest.mark.parametrize(("story", "kind"), [(HANGS, "failed"), (replace(WAITS, silent=(1,)), "timeout")])
def test_of_printed_metrics_only_the_leader_is_to_say_something(tmp_path: Path, story: Story, kind: str) -> None:
    job = group(commands=(member(0, metrics="stdout"), member(1)))
    found, _, _ = run(tmp_path, {"t.n0": story, "t.n1": HANGS}, job=job)
    assert (found.kind, "of rank 0 on n0" in found.reason) == (kind, kind == "failed")


def test_a_port_is_asked_of_the_leaders_node_and_given_to_all(tmp_path: Path) -> None:
    replies = {"port": lambda fields: {"event": "port", "port": fields["lowest"] + 7}}
    _, _, hosts = run(tmp_path, {"t.n0": Story(), "t.n1": Story()}, replies=replies)
    assert [[op for op, _ in host.requests] for host in hosts.values()] == [["port"], []]
    for tag in ("t.n0", "t.n1"):
        start = next(event.data for event in RunDir(tmp_path / "run").events(tag) if event.event == "start")
        assert start["command"][1] == "--rdzv-endpoint=10.0.0.1:29407"


def test_groups_that_run_at_the_same_time_have_different_ports(tmp_path: Path) -> None:
    def copied(command: Command, copy: int) -> Command:
        assert command.ranks is not None
        return replace(
            command, tag=f"{command.tag}.{copy}", ranks=replace(command.ranks, leader=f"{command.ranks.leader}.{copy}")
        )

    commands = tuple(copied(member(number), copy) for copy in (1, 2) for number in (0, 1))
    run(tmp_path, {command.tag: Story() for command in commands}, job=group(commands=commands))
    found = {}
    for command in commands:
        start = next(event.data for event in RunDir(tmp_path / "run").events(command.tag) if event.event == "start")
        found[command.tag] = start["command"][1].rpartition(":")[2]
    assert found == {"t.n0.1": "29400", "t.n1.1": "29400", "t.n0.2": "29401", "t.n1.2": "29401"}


def test_a_node_that_does_not_answer_holds_up_no_ports_of_others() -> None:
    class Hung(FakeHost):
        async def request(self, op: str, **fields: Any) -> dict[str, Any]:
            await asyncio.sleep(60)
            return await super().request(op, **fields)

    async def story() -> float:
        ports = Ports({"n0": Hung(), "n1": FakeHost()})

        async def taken(number: int) -> float:
            async with ports.of([member(number, ranks=None)]) as given:
                assert given == {f"t.n{number}": 29400}
                return asyncio.get_running_loop().time()

        began = asyncio.get_running_loop().time()
        slow, quick = await asyncio.gather(taken(0), taken(1))
        assert slow - began >= 60
        return quick - began

    assert VirtualTime().run(story()) < 1


def test_steps_of_a_node_that_ends_after_the_leader_count(tmp_path: Path) -> None:
    stories = {"t.n0": Story(), "t.n1": Story(step_s=1.0)}
    found, seconds, _ = run(tmp_path, stories)
    assert (found.kind, round(seconds)) == ("ok", 3)
    rates = [event.data for event in RunDir(tmp_path / "run").events("t.n0") if event.event == "data"]
    assert [each["rate"] for each in rates] == [400.0] * 3  # in the leader's time


def test_a_leader_that_failed_is_the_reason_also_where_others_end_by_that_sooner(tmp_path: Path) -> None:
    stories = {"t.n0": Story(steps=1, ends=Exit(tag="", code=3)), "t.n1": Story(steps=20, ignores_term=True)}
    found, seconds, _ = run(tmp_path, stories)
    assert (found, round(seconds, 1)) == (Outcome(kind="failed", reason="exit code 3", tag="t.n0"), 2.0)


def test_the_error_that_a_rank_of_a_further_node_told_is_the_reason(tmp_path: Path) -> None:
    told = [("error", {"type": "ValueError", "message": "this rank is broken"})]
    stories = {"t.n0": WAITS, "t.n1": Story(steps=1, events=told, silent=(2,), ends=Exit(tag="", code=1))}
    found, _, _ = run(tmp_path, stories)
    assert found == Outcome(kind="failed", reason="exit code 1: rank 3: ValueError: this rank is broken", tag="t.n1")


def test_of_many_silent_nodes_some_are_named(tmp_path: Path) -> None:
    commands = tuple(
        Command(
            tag=f"t.n{number}",
            benchmark="t",
            node=f"n{number % 2}",
            argv=("torchrun",),
            cwd="/",
            metrics="none" if number else "file",
            ranks=Ranks(leader="t.n0", first=number, count=1, nodes=20),
        )
        for number in range(20)
    )
    stories = {command.tag: HANGS for command in commands}
    found, _, _ = run(tmp_path, stories, job=group(commands=commands))
    assert "rank 7 on n1; and 12 more nodes; the ranks meet at n0, " in found.reason


# On one node ---------------------------------------------------------------------------------------------------------

JOINS = [*HELLO, ("hello", {"pid": 1, "joins": "gloo"})]
UNDER_VOIR = ("torchrun", "--nproc-per-node=3", "-m", "--", "benchmate.overseer", "main.py")


def alone(**keys: Any) -> Job:
    """Return a job of three ranks on one node, on devices 4 to 6."""
    ranks = Ranks(leader="t", first=0, count=3)
    command = Command(
        tag="t", benchmark="t", node="n0", argv=("torchrun", "main.py"), cwd="/", devices=(4, 5, 6), ranks=ranks
    )
    return group(commands=(replace(command, **keys),))


@pytest.mark.parametrize(
    ("argv", "story", "said"),
    [
        (("torchrun",), replace(WAITS, silent=(1,)), "rank 1 (device 5) on n0 within 300 s after ranks 0 and 2 had"),
        (("torchrun",), replace(WAITS, silent=(0,)), "rank 0 (device 4) on n0 within 300 s after ranks 1 and 2 had"),
        (
            ("torchrun",),
            replace(HANGS, events=JOINS, silent=(1, 2)),
            "ranks 1 and 2 (devices 5, 6) on n0 within 300 s after rank 0 had",
        ),
        (UNDER_VOIR, HANGS, "ranks 0 to 2 (devices 4, 5, 6) on n0 within 300 s; the group printed nothing"),
        (UNDER_VOIR, replace(WAITS, silent=(1, 2)), "ranks 1 and 2 (devices 5, 6) on n0 within 300 s after rank 0"),
    ],
    ids=["one", "the leader", "all that joined", "none under voir", "one under voir"],
)
def test_on_one_node_ranks_that_hang_before_their_first_word_are_named(
    tmp_path: Path, argv: tuple[str, ...], story: Story, said: str
) -> None:
    silent = {"t": story if story is not HANGS else replace(HANGS, silent=(0, 1, 2))}
    found, seconds, hosts = run(tmp_path, silent, job=alone(argv=argv))
    assert (found.kind, found.tag) == ("failed", "t")
    assert f"nothing was heard of {said}" in found.reason
    assert 300 <= seconds <= 335
    for word in ("t.stderr", "torchrun.first_event_s"):
        assert word in found.reason
    for word in ("firewall", "interface", "clocks"):
        assert word not in found.reason
    assert not [op for op, _ in hosts["n0"].requests if op == "reach"]


@pytest.mark.parametrize(
    ("keys", "story"),
    [
        ({}, WAITS),  # all have spoken: the first step may be compiled for as long as it takes
        ({}, replace(WAITS, silent=(1, 2))),  # rank 0 alone speaks
        ({}, replace(HANGS, silent=(0, 1, 2))),  # none does before it measures
        ({"metrics": "stdout"}, replace(WAITS, silent=(1,))),
        ({"argv": UNDER_VOIR}, WAITS),
    ],
    ids=["all", "rank 0 alone", "plain", "printed", "voir"],
)
def test_on_one_node_a_group_may_take_its_time(tmp_path: Path, keys: Mapping[str, Any], story: Story) -> None:
    found, seconds, _ = run(tmp_path, {"t": story}, job=alone(**keys))
    assert (found.kind, round(seconds)) == ("timeout", 3600)


def test_on_one_node_ranks_that_made_a_step_are_waited_for(tmp_path: Path) -> None:
    story = Story(steps=20, step_s=100.0, events=JOINS, silent=(2,))
    found, seconds, _ = run(tmp_path, {"t": story}, job=alone())
    assert (found.kind, round(seconds)) == ("failed", 2000)  # of what it measured a part is missing
    assert found.reason.startswith("the steps of rank 2 of 3 are missing")


def test_a_group_of_one_rank_is_not_waited_for(tmp_path: Path) -> None:
    ranks = Ranks(leader="t", first=0, count=1)
    found, seconds, _ = run(tmp_path, {"t": HANGS}, job=alone(argv=UNDER_VOIR, ranks=ranks))
    assert (found.kind, round(seconds)) == ("timeout", 3600)
