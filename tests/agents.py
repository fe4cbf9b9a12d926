"""Agents to talk to in tests: through the local host, or frame by frame over its pipes."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from benchmate import wire
from harness import wait_until
from milabench.agent.processes import descendants
from milabench.execute.hosts import Host, Launch
from milabench.execute.hosts.local import LocalHost
from milabench.outcome import Exit
from milabench.plan import Command, Job, Phase
from milabench.resources import import_path
from milabench.rundir import Files

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}


class Elsewhere(LocalHost):
    """An agent of this machine that is talked to as if it were on another: what its processes write is sent."""

    remote: ClassVar[bool] = True


def talk(story: Callable[[LocalHost], Awaitable[Any]], kind: type[LocalHost] = LocalHost, /, **environ: str) -> Any:
    """Run a story with an agent, and end the agent."""

    async def main() -> Any:
        async with kind(import_path(), {**ENVIRON, **environ}) as host:
            return await story(host)

    return asyncio.run(asyncio.wait_for(main(), 60))


async def send_tree(host: Host, source: Path, target: str) -> None:
    """Make ``target`` on a host's node hold what ``source``, a folder or a file, holds here."""
    await host.stage([{"source": str(source), "target": target, "fresh": False}])


def launch(
    folder: Path,
    script: str,
    *,
    phase: Phase = "run",
    tag: str = "one",
    env: dict[str, str] | None = None,
    **keys: Any,
) -> Launch:
    """Return the launch of a line of shell, whose files lie in a folder; it works there if nothing else is said.

    ``keys`` are those of its job, some those of its command.
    """
    own = {"metrics": "none", "argv": ("sh", "-c", script), "cwd": str(folder), "node": "local"}
    own |= {name: keys.pop(name) for name in ("metrics", "argv", "container", "cwd", "node") if name in keys}
    command = Command(tag=tag, benchmark="one", env=env or {}, **own)
    job = Job(tag=tag, commands=(command,), **{"deadline_s": None, **keys})
    files = Files.of(folder, tag)
    return Launch(phase=phase, job=job, command=command, files=files, env={}, first_seq=0, deadline_s=job.deadline_s)


def ended(folder: Path, script: str, *, environ: dict[str, str] | None = None, **keys: Any) -> Exit:
    """Start a line of shell and return how it ended."""

    async def story(host: LocalHost) -> Exit:
        return await (await host.start(launch(folder, script, **keys))).wait()

    found: Exit = talk(story, **(environ or {}))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def assert_ends(pid: int, timeout_s: float = 0) -> None:
    """Assert that a process is gone, at once or in time, and end it if it is not."""
    try:
        wait_until(lambda: not alive(pid), timeout_s)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pid_in(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def stopped(folder: Path, script: str, cause: Any = "interrupt", grace_s: float = 0.5) -> Exit:
    """Start a line of shell, wait for its mark, stop it, and return how it ended."""

    async def story(host: LocalHost) -> Exit:
        process = await host.start(launch(folder, script))
        while not (folder / "mark").exists():
            await asyncio.sleep(0.02)
        await process.stop(cause, grace_s)
        return await process.wait()

    found: Exit = talk(story)
    return found


class Raw:
    """An agent at the other end of two pipes: requests are sent and replies read when the test says so."""

    def __init__(
        self, folder: Path, *, before: Callable[[], None] | None = None, patch: str = "pass", **environ: str
    ) -> None:
        """Start it; ``before`` is called in its process, ``patch`` is run in it before it serves."""
        self.folder = folder
        boot = f"import sys; sys.path[:0] = {import_path()!r}; from milabench.agent.serve import main; {patch}; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", boot],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRON, **environ},
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 - nothing else runs in a test
        )
        self.pid = self.process.pid
        self._frames = wire.Frames()
        self._numbers = itertools.count(1)
        self._inbox: list[dict[str, Any]] = []

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        """End the agent: by closing its pipes, by SIGKILL where that does not help."""
        left = descendants(self.pid)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            if self.process.stderr is not None:
                self.process.stderr.close()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def send(self, op: str, **fields: Any) -> int:
        """Send a request and return its number."""
        assert self.process.stdin is not None
        number = next(self._numbers)
        self.process.stdin.write(wire.frame({"id": number, "op": op, **fields}))
        self.process.stdin.flush()
        return number

    def start(self, script: str, name: str | None = None, **fields: Any) -> int:
        """Start a line of shell whose files are named so."""
        name = name or f"p{next(self._numbers)}"
        files = {
            "stdout": self.folder / f"{name}.stdout",
            "stderr": self.folder / f"{name}.stderr",
            "events": self.folder / f"{name}.data",
            "steps": self.folder / f"{name}.steps",
        }
        request = {
            "argv": ["sh", "-c", script],
            "cwd": str(self.folder),
            "env": {},
            "metrics": "none",
            "stop": "self",
            "limit": {"skip": 0, "observations": None, "seconds": None},
            "deadline_s": None,
            "phase": "run",
            "seq": 0,
            **{key: str(path) for key, path in files.items()},
        }
        return self.send("start", **{**request, **fields})

    def stop(self, target: int, cause: str = "interrupt", grace_s: float = 5.0) -> None:
        self.send("stop", target=target, cause=cause, grace_s=grace_s)

    def replies(self) -> Iterator[dict[str, Any]]:
        """Yield what the agent says, each reply once, until it has ended."""
        while self._inbox or self._read():
            yield self._inbox.pop(0)

    def reply(self, number: int, event: str | None = None) -> dict[str, Any]:
        """Return the reply to a request, its first one or that of a kind; others are kept for later."""
        place = 0
        while place < len(self._inbox) or self._read():
            reply = self._inbox[place]
            if reply["id"] == number and event in (None, reply["event"]):
                return self._inbox.pop(place)
            place += 1
        raise AssertionError(f"the agent has ended before it answered {number}")

    def exit(self, number: int) -> dict[str, Any]:
        """Return how a process ended."""
        return self.reply(number, "exit")

    def exits(self, *numbers: int) -> dict[int, dict[str, Any]]:
        return {number: self.exit(number) for number in numbers}

    def _read(self) -> bool:
        """Read until there is a further reply; return False when there will be none."""
        assert self.process.stdout is not None
        before = len(self._inbox)
        while len(self._inbox) == before:
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                return False
            self._inbox.extend(self._frames.feed(chunk))
        return True

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


def frozen(agent: Raw) -> None:
    """Stop the agent, so that what happens meanwhile comes to it all at once."""
    agent.signal(signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{agent.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
