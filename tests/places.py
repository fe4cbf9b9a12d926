"""Each kind of host, for the one contract test of all: started as it is meant to be, with a folder to work in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import nodes
from agents import ENVIRON, launch
from cluster import NO_SLURM, Cluster, is_possible
from milabench.execute.hosts import Launch
from milabench.execute.hosts.agent import AgentHost
from milabench.execute.hosts.boot import Boot
from milabench.execute.hosts.local import LocalHost
from milabench.execute.hosts.login import Login
from milabench.execute.hosts.slurm import Placed, SlurmHost
from milabench.execute.hosts.ssh import SSHHost
from milabench.resources import import_path
from milabench.rundir import Files

# Words that arrive as they are, whatever they are handed on by.
TEXTS = {
    "nothing": "",
    "spaces": " two  words and a tab\t",
    "quotes": 'it\'s a "quoted" `word`',
    "JSON": '{"a": [1, "b c"], "d": "\\"e\\""}',
    "variables": "$HOME ${PATH} $(id) $$ %h !!",
    "patterns": "* ? [a-z] {a,b} ~ ~root",
    "operators": "; & | > /tmp/x < /dev/null && || #",
    "newlines": "one\ntwo\r\n\nthree\n",
    "backslashes": "\\ \\n \\\\ \\'",
    "options": "--help",
    "other letters": "gemütlich, déjà vu, 日本語, 🚀",
    "control characters": "\x01\x1b[31m\x7f",
}
SILENCE_S = 6.0


@dataclass
class Place:
    """A kind of host: ``make`` makes one.

    ``cwd`` is a folder on its node, which this test sees as ``seen``; ``run`` is the runner's own, for the files of
    processes. ``number`` tells which number a process of the node has on this machine.
    """

    name: str
    make: Callable[[], AgentHost]
    cwd: str
    seen: Path
    run: Path
    number: Callable[[int], int] = int

    def talk(self, story: Callable[[AgentHost], Awaitable[Any]], timeout_s: float = 120) -> Any:
        """Run a story with a host of this kind, and end the host."""

        async def main() -> Any:
            async with self.make() as host:
                return await story(host)

        return asyncio.run(asyncio.wait_for(main(), timeout_s))

    def launch(self, script: str = "", **keys: Any) -> Launch:
        """Return the launch of a line of shell, or of ``argv``, on the node; further keys are those of `launch`."""
        return launch(self.run, script, node="n1", cwd=self.cwd, **keys)

    def printed(self, tag: str = "one") -> str:
        return Files.of(self.run, tag).stdout.read_text()

    async def marked(self, name: str) -> int:
        """Wait until a process on the node has written its number into a file of its folder, and return it."""
        path = self.seen / name
        while not (path.exists() and path.read_text().endswith("\n")):
            await asyncio.sleep(0.01)
        return self.number(int(path.read_text()))


@contextmanager
def _local(folder: Path) -> Iterator[Place]:
    work, run = folder / "work", folder / "run"
    for each in (work, run):
        each.mkdir()
    yield Place(
        name="local",
        make=lambda: LocalHost(import_path(), {**ENVIRON, "PIP_TOLD": "by the operator"}),
        cwd=str(work),
        seen=work,
        run=run,
    )


@contextmanager
def _ssh(folder: Path) -> Iterator[Place]:
    run = folder / "run"
    run.mkdir()
    with nodes.started(folder / "nodes", ("n1",)) as made, made.entered("op"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(made.home))
        login = Login(name="n1", address=made["n1"].address, user=nodes.USER)
        environ = {**made.environ(), "PIP_TOLD": "by the operator"}
        yield Place(
            name="ssh",
            make=lambda: SSHHost(login, Boot.made(environ), environ, SILENCE_S),
            cwd=str(nodes.BASE),
            seen=made["n1"].seen,
            run=run,
        )


@contextmanager
def _slurm(folder: Path) -> Iterator[Place]:
    if not is_possible():
        pytest.skip(NO_SLURM)
    work, run = folder / "work", folder / "run"
    for each in (work, run):
        each.mkdir()
    with Cluster() as cluster:
        job = cluster.submit("sleep 100000", "--nodes=2", "--nodelist=n1,n2")
        cluster.wait_for(job, "RUNNING")
        environ = {**ENVIRON, "HOME": str(folder), "PIP_TOLD": "by the operator", **cluster.environ}
        placed = Placed(job=str(job), node="n2")
        yield Place(
            name="slurm",
            make=lambda: SlurmHost(placed, Boot.made(environ), environ, SILENCE_S),
            cwd=str(work),
            seen=work,
            run=run,
            number=lambda number: cluster.number_here("n2", number),
        )


PLACES: Mapping[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "local": _local,
    "ssh": _ssh,
    "slurm": _slurm,
}
