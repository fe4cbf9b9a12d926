"""A project that is worked on from one of several machines: nodes, or the operator's, which is none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness import Project, Result, living
from milabench.rundir import RunDir, runs
from nodes import BASE, USER, Nodes

_NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
_OF_SUITES = ("install", "prepare", "run", "plan", "doctor")

# The base of the machine whose network this is, then the program in the place of the shell.
_ENTER = f"""set -e
mount -t tmpfs none {BASE.parent} && mkdir {BASE} && mount --bind "$1" {BASE}
shift
exec "$@"
"""


class Machines:
    """A project that is worked on from one of several machines."""

    def __init__(self, folder_: Path, machines: Nodes) -> None:
        self.project, self.nodes = Project(folder_), machines
        self.write_system()

    @property
    def system(self) -> Path:
        return self.project.folder / "system.yaml"

    def write_system(self, *names: str, nodes: Mapping[str, Mapping[str, Any]] = _NOTHING, **system: Any) -> None:
        """Write ``system.yaml`` with nodes, all where none is named; ``system`` is what else it says.

        ``nodes`` has what is otherwise with some. The one called n2 is logged into as another user.
        """
        entries = []
        for number, name in enumerate(names or [node.name for node in self.nodes.nodes]):
            user = {"user": USER} if name == "n2" else {}
            entry = {"name": name, "ip": self.nodes[name].address, "main": number == 0}
            entries.append({**entry, **user, **nodes.get(name, {})})
        options = {"ssh.keepalive": 0.5, "ssh.connect": 10, **system.pop("options", {})}
        found = {"arch": "cpu", "nodes": entries, "options": options, **system}
        self.system.parent.mkdir(parents=True, exist_ok=True)
        self.system.write_text(json.dumps({"system": found}))

    def write_doubled(self, name: str) -> None:
        """Write a system in which a node is the machine that n2 is, by another port."""
        twice = self.nodes["n2"]
        twice.answer_at(2222)
        self.write_system(nodes={name: {"ip": twice.address, "port": 2222, "user": USER, "hostkey": twice.host_key()}})

    def argv(self, verb: str, *arguments: str, at: str = "op") -> list[str]:
        """Return milabench as the operator starts it on one of the machines, with the suite where it takes one.

        There it has that machine's network, name and base; the rest is of this one, Python above all.
        """
        files = [f"--config={self.project.folder}/suite.yaml", f"--system={self.system}"] if verb in _OF_SUITES else []
        node = self.nodes[at]
        there = ["nsenter", "--target", str(node.pid), "--net", "--uts", "unshare", "--mount", "sh", "-c", _ENTER, "sh"]
        return [*there, str(node.seen), sys.executable, "-m", "milabench", verb, *files, *arguments]

    @property
    def environ(self) -> dict[str, str]:
        environ = {**self.project.environ, **self.nodes.environ()}
        environ.pop("SSH_AUTH_SOCK", None)
        return environ

    @contextmanager
    def started(self, verb: str, *arguments: str, at: str = "op") -> Iterator[subprocess.Popen[str]]:
        """Start milabench as the operator does, and end it at the end of the block whatever happens."""
        with living(self.argv(verb, *arguments, at=at), env=self.environ) as process:
            yield process

    def milabench(self, verb: str, *arguments: str, at: str = "op", timeout_s: float = 300, **environ: str) -> Result:
        done = subprocess.run(
            self.argv(verb, *arguments, at=at),
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout_s,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def run(self, at: str = "op") -> RunDir:
        """Return the newest run of a machine."""
        return RunDir(runs(self.nodes[at].seen)[-1])

    def outcomes(self, at: str = "op") -> dict[str, str]:
        """Return how each process of the newest run ended."""
        run = self.run(at)
        return {tag: end(run, tag)["outcome"] for tag in run.tags()}

    def left(self) -> dict[str, list[str]]:
        """Return what runs on machines beside their sshd."""
        found = {node.name: [_words(pid) for pid in node.started()] for node in self.nodes.machines.values()}
        return {name: words for name, each in found.items() if (words := [word for word in each if word])}

    def spooled(self) -> list[str]:
        """Return the files in which agents still keep what processes wrote, of nodes that are up."""
        up = [node for node in self.nodes.nodes if node.process is not None and node.process.poll() is None]
        return [line for node in up for line in node.run("find", "/var/tmp", "-name", "*.data").split()]


def end(run: RunDir, tag: str) -> Mapping[str, Any]:
    """Return how a process ended, which is told once."""
    ends = [event.data for event in run.events(tag) if event.event == "end"]
    assert len(ends) == 1, tag
    found: Mapping[str, Any] = ends[0]
    return found


def _words(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
    return ""
