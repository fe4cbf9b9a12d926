"""The data of a bundle on its way to nodes: who gets it, what is told, and what of a failure is kept apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from milabench import bundle
from milabench.app.delivery import Delivery, deliver
from milabench.bundle import About
from milabench.console import Console
from milabench.errors import HostLost, PreflightError
from milabench.execute import Interrupt
from milabench.execute.hosts.fake import FakeHost
from milabench.execute.travel import TELL_S
from milabench.execute.virtual import VirtualTime
from milabench.plan import Command, Job, Once, Plan, Trial, Workspace
from milabench.system.types import Node, System

ABOUT = About(milabench="1", arch="cpu", machine="x", python="3.11", groups=(), benchmarks=("own",), data=True)
MIB = 1 << 20


class Slow(FakeHost):
    """A node to which the n-th try to send is as its story says: an error, or the seconds that each MiB takes."""

    def __init__(self, *stories: PreflightError | float) -> None:
        super().__init__(remote=True)
        self._stories = list(stories)

    async def send(self, source: Path, target: str, names: Sequence[str], told: Callable[[int, int], object]) -> None:
        await self.request("send", source=source, target=target, names=names)
        story = self._stories.pop(0)
        for _ in range(10):
            if isinstance(story, PreflightError):
                raise story
            await asyncio.sleep(story)
            told(MIB, MIB)


def delivery(folder: Path, interrupt: Interrupt | None = None) -> Delivery:
    return Delivery(
        base=folder,
        names=("data/a",),
        total=10 * MIB,
        record=Once(record="r", folder=None, base={}, parts={}),
        console=Console(),
        interrupt=interrupt or Interrupt(),
    )


def recorded(host: FakeHost) -> list[str]:
    """Return what was asked of a node, and whether it was to note that all is there."""
    return [f"{op} {fields['done']}" if op == "end" else op for op, fields in host.requests]


def sent(host: FakeHost) -> list[Sequence[str]]:
    return [fields["names"] for op, fields in host.requests if op == "send"]


def test_how_far_it_is_is_told_from_time_to_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    time = VirtualTime()
    assert time.run(delivery(tmp_path).to({"n1": Slow(TELL_S / 4)})) == {}
    said = capsys.readouterr().err.splitlines()
    assert said[0] in {f"data of the bundle is on its way to node n1: {done}.0 MiB of 10.0 MiB" for done in (3, 4)}
    assert said[-1] == "data of the bundle is on node n1: 10.0 MiB sent"
    assert len(said) == 3


def test_a_node_notes_that_it_has_the_data_once_all_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt, time = Interrupt(), VirtualTime()
    states = iter(["locked", "needed"])  # first another milabench is at it
    replies = {"begin": lambda _: {"state": next(states)}}
    whole, full, slow = Slow(0.1), Slow(PreflightError("full")), Slow(1000.0)
    beside = Slow(0.1)
    beside._replies |= replies

    async def story() -> Mapping[str, str]:
        asyncio.get_running_loop().call_later(5.0, interrupt.set)
        return await delivery(tmp_path, interrupt).to({"a": whole, "b": full, "c": slow, "d": beside})

    assert time.run(story()) == {"b": "full"}
    assert recorded(whole) == ["begin", "send", "end True"]
    assert recorded(full) == ["begin", "send", "end False"]
    assert recorded(slow) == ["begin", "send"]
    assert recorded(beside) == ["begin", "begin", "send", "end True"]
    assert "data for node d waits: another milabench sends something to the same base" in capsys.readouterr().err


def test_a_failure_of_one_node_holds_up_no_other(tmp_path: Path) -> None:
    hosts = {"n1": Slow(PreflightError("No space left on device: /base/data/a")), "n2": Slow(1.0)}
    assert VirtualTime().run(delivery(tmp_path).to(hosts)) == {"n1": "No space left on device: /base/data/a"}
    assert sent(hosts["n2"]) == [("data/a",)]


def test_what_is_lost_with_an_agent_goes_on_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hosts = {"n1": Slow(HostLost("the link broke"), 0.1), "n2": Slow(HostLost("gone"), HostLost("gone for good"))}
    assert VirtualTime().run(delivery(tmp_path).to(hosts)) == {"n2": "gone for good"}
    assert "data for node n1 was cut off and goes on: the link broke" in capsys.readouterr().err


def test_an_interrupt_ends_it(tmp_path: Path) -> None:
    interrupt, time = Interrupt(), VirtualTime()

    async def story() -> Mapping[str, str]:
        asyncio.get_running_loop().call_later(5.0, interrupt.set)
        return await delivery(tmp_path, interrupt).to({"n1": Slow(1000.0)})

    assert time.run(story()) == {}
    assert time.seconds < 6


def test_what_is_no_users_mistake_is_not_passed_over(tmp_path: Path) -> None:
    class Broken(FakeHost):
        async def send(self, *_: Any) -> None:
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        VirtualTime().run(delivery(tmp_path).to({"n1": Broken()}))


# Who gets what -------------------------------------------------------------------------------------------------------

NODES = (
    Node(name="here"),
    Node(name="near", local=False, shares_base="here"),
    Node(name="own", local=False),
    Node(name="beside", local=False, shares_base="own"),
)


def ready(folder: Path, nodes: Sequence[Node], names: Sequence[str]) -> Workspace:
    """Return what is asked of a workspace whose bundle, unpacked, has these files."""
    base, packed = folder / "base", {}
    for name in ("suite.yaml", *names):
        packed[name] = folder / "packed" / name
        packed[name].parent.mkdir(parents=True, exist_ok=True)
        packed[name].write_bytes(b"x" * 100)
    bundle.write(folder / "suite.tar", ABOUT, packed)
    found = bundle.find(folder / "suite.tar", base)
    bundle.unpack(found, str)
    site = SimpleNamespace(base=str(base), bundle=str(found.folder), delivers="mark")
    suite = SimpleNamespace(benchmarks=[SimpleNamespace(group="mine")])
    return cast("Workspace", SimpleNamespace(site=site, suite=suite, system=System(arch="cpu", nodes=tuple(nodes))))


def prepares(*nodes: str, benchmark: str = "own") -> Plan:
    command = Command(tag=benchmark, benchmark=benchmark, node="", argv=("true",), cwd="/")
    jobs = tuple(Job(tag=node, commands=(replace(command, node=node),), deadline_s=None) for node in nodes)
    return Plan(phase="prepare", trials=(Trial(benchmark=benchmark, jobs=jobs),))


def delivered(
    folder: Path, plan: Plan, *, nodes: Sequence[Node] = NODES, names: Sequence[str] = ("data/a",), **hosts: FakeHost
) -> tuple[dict[str, str], dict[str, list[Sequence[str]]]]:
    """Return what is wrong, by benchmark, and what was sent to whom."""
    found: dict[str, FakeHost] = {node.name: FakeHost() for node in nodes} | hosts
    why = VirtualTime().run(deliver(ready(folder, nodes, names), plan, found, Console(quiet=True), Interrupt()))
    return why, {name: each for name, host in found.items() if (each := sent(host))}


def test_nodes_that_prepare_for_a_base_of_their_own_get_the_data(tmp_path: Path) -> None:
    assert delivered(tmp_path, prepares("here", "own")) == ({}, {"own": [["data/a"]]})


def test_bases_that_are_the_operators_have_it_already(tmp_path: Path) -> None:
    nodes = (Node(name="n1", local=False, shares_base=""), Node(name="n2", local=False, shares_base=""))
    assert delivered(tmp_path, prepares("n1"), nodes=nodes) == ({}, {})


def test_nodes_on_which_nothing_is_prepared_get_nothing(tmp_path: Path) -> None:
    assert delivered(tmp_path, prepares("here")) == ({}, {})


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("wheels/a.whl", "sources/x/1/main.py"), []),
        (("cache/hub/model", "data/a", "wheels/a.whl"), ["cache/hub/model", "data/a"]),
        (("extra/mine/a", "extra/another/b"), ["extra/mine/a"]),
    ],
    ids=["no data", "data alone", "of what was selected"],
)
def test_only_data_travels(tmp_path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    _, found = delivered(tmp_path, prepares("own"), names=names)
    assert found == ({"own": [wanted]} if wanted else {})


def test_benchmarks_of_a_node_that_cannot_take_it_are_not_prepared(tmp_path: Path) -> None:
    full = Slow(PreflightError("No space left on device: /base/data/a"))
    both = Plan(
        phase="prepare",
        trials=(*prepares("here", "own", benchmark="wide").trials, *prepares("here", benchmark="narrow").trials),
    )
    why, _ = delivered(tmp_path, both, own=full)
    assert why == {"wide": "the data of the bundle did not come to node own: No space left on device: /base/data/a"}


def test_data_that_was_removed_here_since_is_told_and_the_rest_travels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ready(tmp_path, NODES, ("data/a", "data/b"))
    (tmp_path / "base" / "data" / "a").unlink()
    host = FakeHost()
    assert VirtualTime().run(deliver(made, prepares("own"), {"own": host}, Console(), Interrupt())) == {}
    assert sent(host) == [["data/b"]]
    said = capsys.readouterr().err
    assert "warning: a file of the bundle's data is not in " in said
    assert f"(data/a): nodes do without; to have it back, remove {made.site.bundle}" in said
