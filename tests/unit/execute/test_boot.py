"""The agent's zip, and how it is brought to a node: talked through with a node that is only played."""

from __future__ import annotations

import ast
import asyncio
import re
import shlex
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from milabench.agent import arrive
from milabench.errors import PreflightError
from milabench.execute.hosts.boot import Boot, passed
from milabench.execute.virtual import VirtualTime

ENDED = "the agent on node n1 has ended: exit code 127: sh: 1: exec: python3: not found"
SILENCE = b"nothing comes any more"


class Played:
    """A transport at whose other end a node says these pieces; MARK in them stands for how the program begins a line.

    What is sent is kept, and SENT in them stands for it. After the piece SILENCE nothing comes any more.
    """

    complaint = ""

    def __init__(self, *pieces: bytes) -> None:
        self.sent = b""
        self.killed = self.closed = False
        self._pieces = list(pieces)

    async def read(self) -> bytes:
        if not self._pieces:
            return b""
        if self._pieces[0] == SILENCE:
            await asyncio.Event().wait()
        nonce = re.findall(rb"\b[0-9a-f]{16}\b", self.sent.partition(b"\n")[0])[-1]
        return self._pieces.pop(0).replace(b"SENT", self.sent).replace(b"MARK", b"\nmilabench " + nonce)

    def write(self, content: bytes) -> None:
        self.sent += content

    async def drain(self) -> None:
        pass

    def close_input(self) -> None:
        self.closed = True

    async def ended(self) -> str:
        return ENDED

    async def kill(self) -> None:
        self.killed = True


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Boot:
    return Boot.made({"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))})


def start(boot: Boot, pieces: Sequence[bytes]) -> Played:
    pipe = Played(*pieces)
    asyncio.run(boot.start(pipe, "node n1"))
    return pipe


def refusal(boot: Boot, *pieces: bytes) -> str:
    with pytest.raises(PreflightError) as found:
        start(boot, pieces)
    return str(found.value)


# The zip -----------------------------------------------------------------------------------------------------------


def test_the_zip_has_the_agent_and_what_it_imports(boot: Boot) -> None:
    with zipfile.ZipFile(boot.archive) as archive:
        names = set(archive.namelist())
    assert {"milabench/agent/serve.py", "milabench/pack.py", "benchmate/wire/__init__.py", "pynvml.py"} <= names
    assert all(name.endswith(".py") for name in names)


def test_equal_sources_make_an_equal_zip_wherever_it_is_kept(boot: Boot, tmp_path: Path) -> None:
    other = Boot.made({"HOME": str(tmp_path)})
    assert other.archive.parent == tmp_path / ".cache" / "milabench" / "agents"
    assert other.digest == boot.digest


def test_a_temporary_folder_is_made_only_where_the_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    Boot.made({"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert list(temporary.iterdir()) == []
    other = Boot.made({"XDG_CACHE_HOME": "/dev/null"})
    assert other.archive.parent.parent == temporary


def test_it_is_made_once(boot: Boot) -> None:
    before = boot.archive.stat().st_mtime_ns
    again = Boot.made({"XDG_CACHE_HOME": str(boot.archive.parents[2])})
    assert (again, again.archive.stat().st_mtime_ns) == (boot, before)
    assert [path.name for path in boot.archive.parent.iterdir()] == [boot.archive.name]


# Its way -----------------------------------------------------------------------------------------------------------


def test_a_node_that_has_the_zip_is_sent_the_program_alone(boot: Boot) -> None:
    pipe = start(boot, [b"MARK have \n"])
    assert pipe.sent.count(b"\n") == 1
    assert len(pipe.sent) < 8192


@pytest.mark.parametrize("noise", [b" ", b"Last login: today\n", b"no end of line", b"milabench 0123 have \n"])
def test_a_node_that_wants_the_zip_is_sent_it_whatever_its_shell_prints(boot: Boot, noise: bytes) -> None:
    pipe = start(boot, [noise, b"MARK wa", b"nt \n", b"MARK have \n"])
    assert pipe.sent.partition(b"\n")[2] == boot.archive.read_bytes()


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        ([b"MARK old 3.6.8\n"], "node n1: python3 there is Python 3.6.8, and 3.10 or newer is needed"),
        ([b"MARK want \n", b"MARK unwritable disk full\n"], "neither the home folder nor a temporary one"),
        ([b"sh: python3: not found\n"], f"{ENDED}: install Python 3.10 or newer there"),
        ([b"y\n" * (1 << 20)], "node n1: its login shell prints without end ('y')"),
    ],
    ids=["old", "unwritable", "absent", "noise"],
)
def test_what_keeps_an_agent_from_starting_is_told(boot: Boot, pieces: list[bytes], told: str) -> None:
    assert told in refusal(boot, *pieces)


def waited_for(boot: Boot, *pieces: bytes, complaint: str = "") -> list[str]:
    """Return what is told of a node that says these pieces and then nothing: meanwhile, and in the end."""
    pipe, told = Played(*pieces, SILENCE), list[str]()
    pipe.complaint = complaint
    with pytest.raises(PreflightError) as found:
        VirtualTime().run(replace(boot, tell=told.append).start(pipe, "node n1"))
    return [*told, str(found.value)]


def test_a_python_that_does_not_come_up_is_told_as_that_with_what_was_printed_last(boot: Boot) -> None:
    silent, printing, complaining = (
        waited_for(boot),
        waited_for(boot, b"Welcome\nnoi", b"se\n"),
        waited_for(boot, complaint="waits for a lock"),
    )
    assert silent == [
        "waiting for node n1: python3 has not come up there after 10 s",
        "node n1: python3 has not come up there within 60 s: a start-up file of the login shell may wait for something"
        " or never end, or the home folder not answer: see whether `python3 -V` comes back over there",
    ]
    assert all("(printed last: 'noise')" in each for each in printing)
    assert all("(printed last: 'waits for a lock')" in each for each in complaining)


def test_an_agent_that_does_not_start_though_python_is_there_is_told_apart(boot: Boot) -> None:
    meanwhile, end = waited_for(boot, b"MARK here \n")
    assert meanwhile == "waiting for node n1: python3 is there, and the agent has not started after 10 s"
    assert "within 60 s: the home folder may not answer" in end
    assert "start-up file" not in end


def test_a_start_up_file_that_reads_what_is_sent_is_told_apart(boot: Boot) -> None:
    meanwhile, end = waited_for(boot, b"hello\nSENT")
    assert meanwhile.endswith("10 s (printed last: 'hello')")
    assert "its login shell gives back what is sent to it" in end


def test_nothing_is_told_of_a_node_that_is_ready_soon(boot: Boot) -> None:
    told: list[str] = []
    VirtualTime().run(replace(boot, tell=told.append).start(Played(b"MARK here \n", b"MARK have \n"), "node n1"))
    assert told == []


def test_the_command_is_the_same_word_for_every_login_shell(boot: Boot) -> None:
    """Nothing in it means anything to sh, csh or fish within single quotes, and none of it is longer than a line."""
    words = boot.command("/opt/my python/bin/python3")
    code = words[-1]
    assert not set(code) & set("'\\!$`\n")
    assert shlex.split(shlex.join(words)) == words


def test_what_nodes_are_told_is_where_packages_come_from() -> None:
    mine = {"PIP_INDEX_URL": "a", "UV_INDEX": "b", "https_proxy": "c", "NO_PROXY": "d", "SSL_CERT_FILE": "e"}
    other = {"PATH": "x", "HOME": "x", "HF_TOKEN": "x", "PYTHONPATH": "x", "SSH_AUTH_SOCK": "x", "XPIP_": "x"}
    assert passed({**mine, **other}) == mine


def test_any_python_3_can_read_the_program_to_be_told_that_it_is_too_old() -> None:
    ast.parse(Path(arrive.__file__).read_text(), feature_version=(3, 4))
