"""``milabench exec``: a command on nodes, over the same agents as a run: words and values arrive as they are."""

from __future__ import annotations

import asyncio
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from benchmate.wire import LINE_BYTES
from milabench.agent.locks import Scratch
from milabench.app.fleet import Unreachable, doubled, line
from milabench.app.options import Options
from milabench.app.phases import Operation, operation
from milabench.app.workspace import addresses, resolve_system
from milabench.console import Console
from milabench.errors import ExitCode, PreflightError, UsageError
from milabench.execute.hosts import Host, Launch
from milabench.execute.hosts.login import UNKNOWN_ADDRESS
from milabench.follow.growing import Growing
from milabench.outcome import Exit
from milabench.plan.types import Command, Job
from milabench.problems import nearest
from milabench.rundir import Files
from milabench.system import Node, System
from milabench.system.file import SSH_PORT
from milabench.system.hosts import named
from milabench.system.nodes import is_here

NOT_STARTED = 127  # as a shell says that there is no such command
TOO_LONG = 124  # as timeout(1) says it
_LOOK_S = 0.02
_PIECE = 1 << 18

Shows = Callable[[str, bytes, bool], None]  # the node's name, what was printed, whether to standard error


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A command: ``cwd`` is a folder of the nodes, as ``_folder`` reads it; no time limit: None."""

    argv: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    slurm: bool = False
    cwd: str = ""
    env: Mapping[str, str]
    limit_s: float | None = None


async def exec_(options: Options, console: Console, wanted: Wanted, show: Shows) -> int:
    """Run a command on nodes at the same time; return its exit code, the worst of several.

    What it prints is shown as it comes. 128 and more: a signal ended it. Raises UsageError for a host that is none,
    Unreachable for nodes that cannot be used, or are one machine: the command runs on all of them or on none.
    """
    system = resolve_system(options, {"hostname": platform.node()})
    known, direct = targets(system, wanted)
    asked = replace(system, nodes=(*known, *direct))
    async with operation(options, console) as work:
        with work.interrupt.losing_nothing():
            await work.fleet.connect(asked, [node for node in known if not node.local])
            try:
                await work.fleet.connect(replace(asked, allocation=None), [node for node in direct if not node.local])
            except Unreachable as error:
                check_names(error.why, options.system, [node.name for node in system.nodes])
                raise
            hosts = {node.name: work.host if node.local else work.hosts[node.name] for node in (*known, *direct)}
            if len(hosts) > 1 and asked.allocation is None:  # of that Slurm may have several on one machine
                await _tell_apart(hosts, wanted, console)
        with closing(Scratch(tempfile.gettempdir(), "exec")) as scratch:
            ends = await _on_all(work, hosts, wanted, Path(scratch.path), show)
        if work.interrupt.asked:
            return ExitCode.INTERRUPTED
        for name, ended in ends.items():
            if ended.error is not None:
                console.note(f"{name}: {ended.error}")
    return max(code_of(ended) for ended in ends.values())


async def _tell_apart(hosts: Mapping[str, Host], wanted: Wanted, console: Console) -> None:
    """See that the command runs once on each machine; who names hosts may mean one twice, and is told of it.

    Raises Unreachable with those that are another's.
    """
    same = await doubled(hosts)
    if same and not wanted.hosts:
        raise Unreachable(same, len(hosts))
    for name, why in same.items():
        console.note(f"warning: {line(name, why)}, or the command runs there twice")


def targets(system: System, wanted: Wanted) -> tuple[list[Node], list[Node]]:
    """Return the nodes that are asked for: those of the system, all where none is named, and others by address.

    Raises UsageError.
    """
    if wanted.slurm and system.allocation is None:
        raise UsageError(
            "--slurm: this is no Slurm allocation: run it by `salloc` or in a job's script, without --system"
        )
    if not wanted.hosts:
        return list(system.nodes), []
    names = {node.name: node for node in system.nodes}
    chosen = dict.fromkeys(wanted.hosts)
    known = [names[name] for name in chosen if name in names]
    return known, [direct(name) for name in chosen if name not in names]


def check_names(why: Mapping[str, str], file: Path | None, names: Sequence[str]) -> None:
    """Raise UsageError for what is neither a known address nor, with a system file, the name of a node there."""
    text = next((each for each, reason in why.items() if UNKNOWN_ADDRESS in reason), None)
    if text is None:
        return
    near = nearest(text, names)
    hint = f"; did you mean {near!r}?" if near else ""
    if file is None:
        remedy = "mend it, or give the system file with a node of that name (--system FILE)"
        raise UsageError(f"--host {text}: no known address: {remedy}{hint}")
    raise UsageError(f"--host {text}: no node {text} in {file}: {', '.join(names)}; nor a known address{hint}")


def direct(text: str) -> Node:
    """Return the node at an address written as for SSH: ``host``, ``user@host:port``. Raises UsageError."""
    try:
        found = named(text)
    except UsageError:
        what = "neither a node of the system nor an address such as user@host:port"
        raise UsageError(f"--host {text}: {what}") from None
    plain = found.user is None and found.port == SSH_PORT
    here = plain and is_here(found.address, {"hostname": platform.node(), "ips": list(addresses())})
    return Node(name=text, address=found.address, user=found.user, port=found.port, local=here)


def code_of(ended: Exit) -> int:
    """Return how a process ended as shells say it; what is lost with its node is an environment that is not there."""
    if ended.cause == "deadline":
        return TOO_LONG
    if ended.cause == "lost":
        return ExitCode.ENVIRONMENT
    if ended.signal is not None:
        return 128 + ended.signal
    return NOT_STARTED if ended.code is None else ended.code


async def _on_all(
    work: Operation, hosts: Mapping[str, Host], wanted: Wanted, folder: Path, show: Shows
) -> dict[str, Exit]:
    files = {name: Files.of(folder, f"exec{index}") for index, name in enumerate(hosts)}
    streams = [
        _Printed(name, path, show, is_error=number == 1, named=len(hosts) > 1)
        for name, own in files.items()
        for number, path in enumerate(own.printed)
    ]
    running = [asyncio.create_task(_on(work, host, wanted, name, files[name])) for name, host in hosts.items()]
    try:
        # In a thread: who reads what is shown may let it wait, and nodes have to hear meanwhile that somebody is here.
        while not all(task.done() for task in running):
            if not await asyncio.to_thread(lambda: sum(stream.show() for stream in streams)):
                await asyncio.wait(running, timeout=_LOOK_S)
        for stream in streams:
            await asyncio.to_thread(stream.end)
    finally:
        for task in running:
            task.cancel()
    return {name: task.result() for name, task in zip(hosts, running, strict=True)}


async def _folder(host: Host, wanted: Wanted) -> str:
    """Return where the command runs: below one's home there, on this machine below the folder one is in.

    ``~`` begins with one's home on this machine too.
    """
    home, _, rest = wanted.cwd.partition("/")
    if home == "~":
        return str(Path(str((await host.hello())["home"]), rest.lstrip("/")))
    begin = str((await host.hello())["home"]) if host.remote else str(Path.cwd())
    return str(Path(begin, wanted.cwd))


def _launch(wanted: Wanted, cwd: str, name: str, files: Files) -> Launch:
    tag = files.tag
    command = Command(
        tag=tag, benchmark=tag, node=name, argv=wanted.argv, cwd=cwd, env=dict(wanted.env), metrics="none"
    )
    job = Job(tag=tag, commands=(command,), deadline_s=wanted.limit_s)
    return Launch(
        phase="run",
        job=job,
        command=command,
        files=files,
        env={},
        first_seq=0,
        deadline_s=wanted.limit_s,
        limited_by="--timeout",
    )


async def _on(work: Operation, host: Host, wanted: Wanted, name: str, files: Files) -> Exit:
    try:
        process = await host.start(_launch(wanted, await _folder(host, wanted), name, files))
        await work.interrupt.watch(process)
        try:
            return await process.wait()
        finally:
            work.interrupt.unwatch(process)
    except PreflightError as error:
        return Exit(tag=files.tag, cause="lost", error=str(error))


class _Printed:
    """What a command prints to one of its streams; of several nodes each line bears the node's name.

    A line without an end is shown in parts.
    """

    def __init__(self, name: str, path: Path, show: Shows, *, is_error: bool, named: bool) -> None:
        self._name, self._show, self._is_error = name, show, is_error
        self._prefix = f"{name}: ".encode() if named else b""
        self._file = Growing(path)
        self._begun = b""

    def show(self) -> bool:
        """Show what comes next, a piece at most, so that others have their turn; return whether there was any."""
        piece = self._file.read(_PIECE)
        if not self._prefix:
            self._tell(piece)
            return bool(piece)
        whole, newline, self._begun = (self._begun + piece).rpartition(b"\n")
        self._tell(whole + newline)
        if len(self._begun) >= LINE_BYTES:
            self._end_line()
        return bool(piece)

    def end(self) -> None:
        """Show what is left: nothing more comes."""
        while self.show():
            pass
        if self._begun:
            self._end_line()

    def _end_line(self) -> None:
        self._tell(self._begun + b"\n")
        self._begun = b""

    def _tell(self, content: bytes) -> None:
        if self._prefix:
            content = b"".join(self._prefix + line for line in content.splitlines(keepends=True))
        if content:
            self._show(self._name, content, self._is_error)
