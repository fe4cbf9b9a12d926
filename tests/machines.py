"""A project that is worked on from one of several machines: nodes, or the operator's, which is none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness import Project, Result
from milabench.rundir import RunDir, runs
from nodes import BASE, USER, Nodes

_NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

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

    def write_system(self, *names: str, nodes: Mapping[str, Mapping[str, Any]] = _NOTHING, **options: Any) -> Path:
        """Write ``system.yaml`` with nodes, all where none is named, and options.

        ``nodes`` has what is otherwise with some. The one called n2 is logged into as another user.
        """
        entries = []
        for number, name in enumerate(names or [node.name for node in self.nodes.nodes]):
            user = {"user": USER} if name == "n2" else {}
            entry = {"name": name, "ip": self.nodes[name].address, "main": number == 0}
            entries.append({**entry, **user, **nodes.get(name, {})})
        system = {"arch": "cpu", "nodes": entries, "options": {"ssh.keepalive": 0.5, "ssh.connect": 10, **options}}
        return self.project.write("system.yaml", json.dumps({"system": system}))

    def argv(self, verb: str, *arguments: str, at: str = "op") -> list[str]:
        """Return milabench with the suite and the system, as the operator starts it on one of the machines.

        There it has that machine's network, name and base; the rest is of this one, Python above all.
        """
        known = (
            []
            if verb in ("resume", "report", "status", "system")
            else ["--config", str(self.project.folder / "suite.yaml")]
        )
        system = ["--system", str(self.project.folder / "system.yaml")] if known else []
        node = self.nodes[at]
        there = ["nsenter", "--target", str(node.pid), "--net", "--uts", "unshare", "--mount", "sh", "-c", _ENTER, "sh"]
        return [*there, str(node.seen), sys.executable, "-m", "milabench", verb, *known, *system, *arguments]

    @property
    def environ(self) -> dict[str, str]:
        return {**self.project.environ, **self.nodes.environ()}

    @contextmanager
    def started(self, verb: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start milabench as the operator does, and end it at the end of the block whatever happens."""
        process = subprocess.Popen(
            self.argv(verb, *arguments),
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def milabench(self, verb: str, *arguments: str, at: str = "op", timeout_s: float = 300, **environ: str) -> Result:
        done = subprocess.run(
            self.argv(verb, *arguments, at=at),
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
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
        return {
            node.name: [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in found]
            for node in self.nodes.machines.values()
            if (found := [pid for pid in node.started() if _lives(pid)])
        }


def end(run: RunDir, tag: str) -> Mapping[str, Any]:
    """Return how a process ended, which is told once."""
    ends = [event.data for event in run.events(tag) if event.event == "end"]
    assert len(ends) == 1, tag
    found: Mapping[str, Any] = ends[0]
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X") and pid != 0
    except OSError:
        return False
