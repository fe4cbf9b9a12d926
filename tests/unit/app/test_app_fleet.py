"""Nodes that are connected and asked, and what is found out about them together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from fleets import facts, fleet
from milabench.app.fleet import AT_ONCE, Fleet, Survey, Told, Unreachable
from milabench.errors import HostLost, PreflightError
from milabench.execute.hosts import Host
from milabench.execute.hosts.fake import FakeHost
from milabench.system.types import Node, System

SURVEY = Survey(base="/base")
HELLO = {"event": "hello", "python": "/usr/bin/python3", "python_version": "3.11.2", "machine": "x86_64"}


class Machine(FakeHost):
    """A machine with a base, which machines may share; its clock is some seconds ahead."""

    def __init__(self, base: set[str] | None = None, *, ahead_s: float = 0.0, remote: bool = True, **told: Any) -> None:
        told_facts = facts(**told.pop("facts", {}))
        super().__init__(replies={"probe": {"facts": told_facts}, "hello": HELLO, **told}, remote=remote)
        self.base = set() if base is None else base
        self.ahead_s = ahead_s

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        reply = await super().request(op, **fields)
        match op:
            case "mark":
                await asyncio.sleep(0)
                self.base.add(fields["name"])
            case "marks":
                return {"names": sorted(self.base)}
            case "unmark":
                self.base.clear()
            case "clock":
                return {"time_ns": time.time_ns() + round(self.ahead_s * 1e9)}
            case "route":
                return {"address": "10.0.0.1", "own": "10.0.0.2", "interface": f"to-{fields['to']}", "error": None}
        return reply


def system(*names: str, local: str | None = None) -> System:
    nodes = tuple(
        Node(name=name, address=f"ip-{name}", main=name == names[0], local=name == local, environ={}) for name in names
    )
    return System(arch="cpu", nodes=nodes)


def join(here: Host, others: Mapping[str, Host | PreflightError], described: System) -> tuple[Told, Fleet]:
    async def story() -> tuple[Told, Fleet]:
        async with fleet(here, others) as joined:
            return await joined.join(described, SURVEY), joined

    return asyncio.run(story())


def bases(told: Told) -> dict[str, str | None]:
    return {name: each["shares_base"] for name, each in told.remote.items()}


def test_what_a_node_is_comes_from_itself() -> None:
    told, joined = join(FakeHost(), {"b": Machine(ahead_s=5.0, facts={"cpus": 7})}, system("a", "b", local="a"))
    (known,) = told.remote.values()
    assert (known["cpus"], known["python"], known["python_version"]) == (7, "/usr/bin/python3", "3.11.2")
    assert abs(known["clock_offset_ns"] - 5e9) < 1e9
    assert joined.ahead_s == {"b": known["clock_offset_ns"] / 1e9}
    assert (known["interface"], told.here["interface"]) == ("to-ip-a", None)
    assert set(joined.hosts) == {"a", "b"}
    assert joined.hosts["a"] is joined.here


def test_a_node_with_this_machines_name_that_is_not_reached_is_told_that_it_may_be_this_one() -> None:
    silent = {name: PreflightError(f"node {name}: no answer within 15 s") for name in ("op", "b")}
    two = system("op", "b")
    named = replace(two, nodes=(replace(two.nodes[0], namesake=True), two.nodes[1]))
    with pytest.raises(Unreachable) as found:
        join(FakeHost(), silent, named)
    told = found.value.why
    assert told["op"].startswith("node op: no answer within 15 s; this machine has that name too, and not that address")
    assert "leave `ip` out, or give an address of one of its interfaces" in told["op"]
    assert told["b"] == "node b: no answer within 15 s"


def test_the_main_node_knows_the_way_to_the_others_and_they_the_way_to_it() -> None:
    told, _ = join(FakeHost(), {"a": Machine(), "b": Machine(), "c": Machine()}, system("a", "b", "c"))
    assert [each["interface"] for each in told.remote.values()] == ["to-ip-b", "to-ip-a", "to-ip-a"]


def test_nodes_that_see_each_others_marks_have_the_same_base() -> None:
    shared: set[str] = set()
    others = {"a": Machine(shared), "b": Machine(), "c": Machine(shared), "d": Machine(shared)}
    told, joined = join(Machine(remote=False), others, system("a", "b", "c", "d"))
    assert bases(told) == {"a": None, "b": None, "c": "a", "d": "a"}
    assert joined.bases == {"a": "a", "b": "b", "c": "a", "d": "a"}


def test_the_main_node_alone_is_asked_whether_it_finds_itself() -> None:
    class Nameless(Machine):
        async def request(self, op: str, **fields: Any) -> dict[str, Any]:
            reply = await super().request(op, **fields)
            return {**reply, "error": "ip-a is known to nobody here"} if fields.get("to") == "ip-a" else reply

    told, _ = join(FakeHost(), {"a": Nameless(), "b": Machine(), "c": Machine()}, system("a", "b", "c"))
    found = [each["route"].get("itself", "") for each in told.remote.values()]
    assert found == ["ip-a is known to nobody here", "", ""]
    assert told.remote["a"]["route"]["error"] is None


def test_the_base_of_the_operators_machine_is_told_from_that_of_a_node() -> None:
    shared: set[str] = set()
    others = {"a": Machine(), "b": Machine(shared), "c": Machine(shared)}
    told, joined = join(Machine(shared, remote=False), others, system("a", "b", "c"))
    assert bases(told) == {"a": None, "b": "", "c": ""}  # it is no node, and makes nothing for them
    assert joined.bases == {"a": "a", "b": "b", "c": "b"}


def test_a_node_may_share_the_base_of_this_machine_which_is_one_too() -> None:
    shared: set[str] = set()
    told, joined = join(Machine(shared, remote=False), {"b": Machine(shared)}, system("a", "b", local="a"))
    assert (bases(told), joined.bases) == ({"b": "a"}, {"a": "a", "b": "a"})
    told, joined = join(Machine(shared, remote=False), {"b": Machine(shared)}, system("b", "a", local="a"))
    assert (told.here["shares_base"], joined.bases) == ("b", {"b": "b", "a": "b"})


@pytest.mark.parametrize("number", ["../../x", -1, None, 1.5, True])
def test_a_node_cannot_name_files_by_the_numbers_of_its_devices(number: object) -> None:
    """``<benchmark>.D<number>`` is what the files of a process are called."""
    lying = Machine(facts={"devices": [{"id": 0, "name": "GPU"}, {"id": number, "name": "GPU"}]})
    with pytest.raises(Unreachable) as found:
        join(FakeHost(), {"b": lying, "c": Machine()}, system("a", "b", "c", local="a"))
    assert set(found.value.why) == {"b"}
    assert "numbers of its devices are no numbers" in found.value.why["b"]


def test_a_machine_that_is_two_nodes_is_refused() -> None:
    same, other = {**HELLO, "identity": "boot n1"}, {**HELLO, "identity": "boot n2"}
    others = {"a": Machine(hello=same), "b": Machine(hello=other), "c": Machine(hello=same), "d": Machine()}
    with pytest.raises(Unreachable) as raised:
        join(FakeHost(), others, system("a", "b", "c", "d"))
    assert str(raised.value).splitlines() == [
        "1 of 4 nodes cannot be used, and no process was started:",
        "node c: it is the machine that node a is, by another address or port: leave one of them out",
    ]
    assert raised.value.exit_code == 4


def test_of_one_machine_alone_nothing_is_asked() -> None:
    here = FakeHost()
    told, _ = join(here, {}, system("a", local="a"))
    assert (told, here.requests) == (Told(), [])


def test_all_nodes_that_cannot_be_connected_are_told_together() -> None:
    others = {
        "a": Machine(),
        "b": PreflightError("node b (10.0.0.2): no route"),
        "c": PreflightError("port 22: refused"),
    }
    with pytest.raises(Unreachable) as raised:
        join(FakeHost(), others, system("a", "b", "c"))
    assert str(raised.value).splitlines() == [
        "2 of 3 nodes cannot be used, and no process was started:",
        "node b (10.0.0.2): no route",
        "node c: port 22: refused",
    ]
    assert set(raised.value.why) == {"b", "c"}


def test_of_very_many_that_cannot_be_connected_some_are_told() -> None:
    names = [f"node{number}" for number in range(100)]
    with pytest.raises(Unreachable) as raised:
        join(FakeHost(), {}, system(*names))
    assert len(str(raised.value).splitlines()) == 22
    assert str(raised.value).endswith("and 80 more")


def test_one_node_that_cannot_be_connected_is_told_in_its_own_words() -> None:
    with pytest.raises(Unreachable, match="^node a is made up$"):
        join(FakeHost(), {}, system("a"))


def test_a_base_that_a_node_cannot_write_to_is_told_of_that_node() -> None:
    class Unwritable(Machine):
        async def request(self, op: str, **fields: Any) -> dict[str, Any]:
            if op == "mark":
                raise PreflightError("mark failed: Permission denied: /base")
            return await super().request(op, **fields)

    with pytest.raises(Unreachable, match=r"b: the base /base cannot be written to \(Permission denied: /base\)"):
        join(FakeHost(), {"a": Machine(), "b": Unwritable()}, system("a", "b"))


def test_only_so_many_connections_are_made_at_a_time() -> None:
    making, most = 0, 0

    class Slow(PreflightError):
        pass

    async def story() -> None:
        nonlocal making, most

        async def connected(*_: object) -> Host:
            nonlocal making, most
            making += 1
            most = max(most, making)
            await asyncio.sleep(0.001)
            making -= 1
            return Machine()

        class Way:
            __aenter__ = connected

            async def __aexit__(self, *_: object) -> None:
                return None

        async with Fleet(FakeHost(), lambda *_: Way()) as joined:
            await joined.join(system(*(f"n{number}" for number in range(100))), SURVEY)
            assert len(joined.hosts) == 100

    asyncio.run(story())
    assert most == AT_ONCE


def test_nodes_are_connected_once_however_often_they_are_asked_for() -> None:
    first = Machine()

    async def story() -> None:
        async with fleet(FakeHost(), {"a": first, "b": Machine()}) as joined:
            one = await joined.join(system("a"), SURVEY)
            assert await joined.join(system("a"), SURVEY) == one
            assert set((await joined.join(system("a", "b"), SURVEY)).remote) == {"a", "b"}

    asyncio.run(story())
    assert [op for op, _ in first.requests].count("probe") == 1


def test_who_does_not_answer_is_passed_over_or_told() -> None:
    async def story() -> None:
        lost = Machine()
        async with fleet(FakeHost(), {"a": Machine(), "b": lost}) as joined:
            await joined.join(system("a", "b"), SURVEY)
            await lost.lose()
            asked: dict[str, dict[str, Any]] = {"a": {}, "b": {}}
            assert set(await joined.ask(asked, "clock", passing_over=True)) == {"a"}
            with pytest.raises(Unreachable, match="^1 of 2 nodes cannot be used:\nnode b: the node is gone"):
                await joined.ask(asked, "clock")  # what was started before is not known here

    asyncio.run(story())


def test_agents_end_at_the_same_time_and_what_one_of_them_raises_is_told_when_all_have() -> None:
    ended: list[str] = []

    class Way:
        def __init__(self, name: str) -> None:
            self._name = name

        async def __aenter__(self) -> Host:
            return Machine()

        async def __aexit__(self, *_: object) -> None:
            if self._name == "a":
                raise HostLost("gone")
            await asyncio.sleep(0.01)
            ended.append(self._name)

    async def story() -> None:
        async with Fleet(FakeHost(), lambda node, _: Way(node.name)) as joined:
            await joined.join(system("a", "b", "c"), SURVEY)

    with pytest.raises(HostLost):
        asyncio.run(story())
    assert ended == ["b", "c"]


def test_what_was_connected_before_another_failed_is_asked_when_that_is_left_out() -> None:
    whole = Machine()

    async def story() -> None:
        async with fleet(FakeHost(), {"a": whole, "b": PreflightError("no route")}) as joined:
            with pytest.raises(Unreachable):
                await joined.join(system("a", "b"), SURVEY)
            assert set((await joined.join(system("a"), SURVEY)).remote) == {"a"}

    asyncio.run(story())
    assert [op for op, _ in whole.requests].count("probe") == 1
