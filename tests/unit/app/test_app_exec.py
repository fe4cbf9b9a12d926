"""Which nodes a command is for, and what its end is called."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from milabench.app import exec as module
from milabench.app.exec import Wanted, check_names, code_of, direct, targets
from milabench.errors import HostLost, UsageError
from milabench.execute import Interrupt
from milabench.execute.hosts.fake import FakeHost, exits
from milabench.outcome import Exit
from milabench.rundir import Files
from milabench.system import Node, System
from milabench.system.types import Allocation

NODES = (Node(name="n1", address="10.0.0.1"), Node(name="n2", address="10.0.0.2"))
SYSTEM = System(arch="cpu", nodes=NODES)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.platform, "node", lambda: "op")
    monkeypatch.setattr(module, "addresses", lambda: ["10.0.0.9"])


@pytest.mark.parametrize(
    ("text", "address", "port", "user", "local"),
    [
        ("10.0.0.1", "10.0.0.1", 22, None, False),
        ("gpu-7.cluster", "gpu-7.cluster", 22, None, False),
        ("bench@10.0.0.1", "10.0.0.1", 22, "bench", False),
        ("bench@10.0.0.1:2222", "10.0.0.1", 2222, "bench", False),
        ("[2001:db8::1]:2222", "2001:db8::1", 2222, None, False),
        ("bench@[2001:db8::1]", "2001:db8::1", 22, "bench", False),
        ("2001:db8::1", "2001:db8::1", 22, None, False),
        ("localhost", "localhost", 22, None, True),
        ("op", "op", 22, None, True),
        ("10.0.0.9", "10.0.0.9", 22, None, True),
        ("bench@localhost", "localhost", 22, "bench", False),
        ("localhost:2222", "localhost", 2222, None, False),
    ],
)
def test_an_address_is_read_as_ssh_has_it(text: str, address: str, port: int, user: str | None, local: bool) -> None:
    node = direct(text)
    assert (node.name, node.address, node.port, node.user, node.local) == (text, address, port, user, local)


def test_what_is_neither_a_node_of_the_file_nor_an_address_is_told_with_the_nodes() -> None:
    file, why = Path("nodes.yaml"), {"nod2": "node nod2 has an address that is not known (Name not known): mend its ip"}
    with pytest.raises(UsageError) as raised:
        check_names(why, file, ["node1", "node2"])
    said = "--host nod2: no node nod2 in nodes.yaml: node1, node2; nor a known address; did you mean 'node2'?"
    assert str(raised.value) == said
    with pytest.raises(UsageError) as raised:
        check_names(why, None, ["local"])
    remedy = "mend it, or give the system file with a node of that name (--system FILE)"
    assert str(raised.value) == f"--host nod2: no known address: {remedy}"
    check_names({"n3": "node n3 refuses the connection"}, file, ["n1"])


@pytest.mark.parametrize("text", ["", "a b", "-oProxyCommand=x", "user@", "host:", "host:port", "a@b@c", "a:b:c"])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="neither a node of the system nor an address"):
        direct(text)


def names(wanted: Wanted, system: System = SYSTEM) -> tuple[list[str], list[str]]:
    known, others = targets(system, wanted)
    return [node.name for node in known], [node.name for node in others]


@pytest.mark.parametrize(
    ("hosts", "known", "others"),
    [
        ((), ["n1", "n2"], []),
        (("n2",), ["n2"], []),
        (("n2", "n1", "n2"), ["n2", "n1"], []),
        (("n1", "u@h:1", "u@h:1"), ["n1"], ["u@h:1"]),
    ],
)
def test_nodes_are_those_of_the_system_and_others_by_address(
    hosts: tuple[str, ...], known: list[str], others: list[str]
) -> None:
    assert names(Wanted(argv=("true",), env={}, hosts=hosts)) == (known, others)


def test_slurm_is_asked_for_within_an_allocation_only() -> None:
    wanted = Wanted(argv=("true",), env={}, slurm=True)
    with pytest.raises(UsageError, match="no Slurm allocation"):
        names(wanted)
    within = System(arch="cpu", nodes=NODES, allocation=Allocation(job="7", nodes=("n1", "n2")))
    assert names(wanted, within) == (["n1", "n2"], [])


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({"code": 0}, 0),
        ({"code": 77}, 77),
        ({"signal": signal.SIGKILL}, 137),
        ({"signal": signal.SIGTERM, "cause": "deadline"}, 124),
        ({"code": 0, "cause": "deadline"}, 124),
        ({"error": "cannot be started"}, 127),
        ({"cause": "lost", "error": "gone"}, 4),
    ],
)
def test_an_end_is_called_as_shells_call_it(ended: dict[str, object], code: int) -> None:
    assert code_of(Exit(tag="one", **ended)) == code  # type: ignore[arg-type]


# What is shown -----------------------------------------------------------------------------------------------------


class Shown:
    """What was shown, and of which node."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, bytes, bool]] = []

    def __call__(self, name: str, content: bytes, is_error: bool) -> None:
        self.pieces.append((name, content, is_error))

    def of(self, name: str) -> bytes:
        return b"".join(content for node, content, _ in self.pieces if node == name)


def test_who_prints_without_end_leaves_others_their_turn(tmp_path: Path) -> None:
    path, shown = tmp_path / "x", Shown()
    path.write_bytes(b"y\n" * (3 << 17))
    printed = module._Printed("n1", path, shown, is_error=False, named=False)
    assert printed.show()
    assert len(shown.of("n1")) == 1 << 18
    printed.end()
    assert shown.of("n1") == path.read_bytes()


def test_a_line_without_an_end_is_shown_in_parts_and_not_kept(tmp_path: Path) -> None:
    path, shown = tmp_path / "x", Shown()
    path.write_bytes(b"y" * (5 << 20))
    printed = module._Printed("n1", path, shown, is_error=False, named=True)
    printed.end()
    lines = shown.of("n1").splitlines()
    assert [len(line) - len(b"n1: ") for line in lines] == [1 << 20] * 5


def test_a_node_that_is_lost_before_its_command_is_begun_is_told_and_the_others_run(tmp_path: Path) -> None:
    def gone(_: dict[str, Any]) -> dict[str, Any]:
        raise HostLost("the link is down")

    hosts = {"n1": FakeHost(lambda _: exits(3)), "n2": FakeHost(remote=True, replies={"hello": gone})}

    async def main() -> dict[str, Exit]:
        work: Any = SimpleNamespace(interrupt=Interrupt())
        return await module._on_all(work, hosts, Wanted(argv=("true",), env={}), tmp_path, Shown())

    ends = asyncio.run(main())
    assert ends["n1"].code == 3
    assert ends["n2"] == Exit(tag="exec1", cause="lost", error="the link is down")


def test_nodes_are_heard_while_nobody_reads_what_is_shown(tmp_path: Path) -> None:
    """A reader that waits must not keep the runner from telling its agents that it is there."""
    files, read = Files.of(tmp_path, "exec0"), threading.Event()
    files.stdout.write_bytes(b"something\n")
    heard: list[bool] = []

    async def main() -> None:
        work: Any = SimpleNamespace(interrupt=Interrupt())
        running = asyncio.create_task(
            module._on_all(
                work,
                {"n1": FakeHost()},
                Wanted(argv=("true",), env={}),
                tmp_path,
                lambda *_: heard.append(read.wait(20)),
            )
        )
        asyncio.get_running_loop().call_later(0.01, read.set)
        await running

    asyncio.run(main())
    assert heard == [True]
