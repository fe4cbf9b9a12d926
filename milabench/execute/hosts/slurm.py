"""The agent of a node of a Slurm allocation, over the streams of one ``srun``: a step for each node, for all of a run.

The step has the environment of the runner, and all CPUs and devices that the job has on the node.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from milabench.agent import processes
from milabench.errors import PreflightError, UsageError, told
from milabench.execute.hosts.agent import SILENCE_S, AgentHost
from milabench.execute.hosts.boot import Boot
from milabench.execute.hosts.child import Child
from milabench.system.allocation import hosts

_KILL_S = 15.0  # so long srun gets to end its step
_STEP = ("--overlap", "--nodes=1", "--ntasks=1", "--unbuffered", "--cpu-bind=none", "--mpi=none", "--export=ALL")
_DETAILS_S = 30.0
_ALLOTTED = re.compile(r"\bNodes=(\S+) CPU_IDs=\S* Mem=\S* GRES=(\S*)")
_GPUS = re.compile(r"(?:^|,)gpu(?::[^:,()]+)?:(\d+)")
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER")
_SAID = re.compile(r"(?:srun|slurmstepd[^:]*): (?:error: )?(.*)")
# What srun says of how it ends, or of a connection that is gone with its node, rather than of why.
_AFTERWARDS = re.compile(
    r"forcing job termination|Job step aborted|Waiting up to|lacks support for cpu binding|launch/slurm|_server_read|"
    r"task \d+: Exited"
)
_KILLED = re.compile(r"task \d+: ")  # as all that is said where Slurm loses what it has to say of the step


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A node of a job, and the Python that is there."""

    job: str
    node: str
    python: str = "python3"


class SlurmHost(AgentHost):
    """A pipe to an agent on a node of an allocation; ``environ`` is that of the runner, which the step takes on."""

    remote = True

    def __init__(self, placed: Placed, boot: Boot, environ: Mapping[str, str], silence_s: float = SILENCE_S) -> None:
        super().__init__({}, silence_s)
        self._placed, self._boot, self._outer = placed, boot, step_environ(environ)

    async def connect(self) -> Step:
        placed = self._placed
        gpus = gpus_on(placed.node, await self._details())
        argv = step_argv(placed, self._boot.command(placed.python), gpus)
        try:
            pipe = await Step.spawn(argv, self._outer, keeps_words=True)
        except FileNotFoundError:
            raise PreflightError("there is no srun here: is Slurm on the PATH?") from None
        except (OSError, RuntimeError) as error:
            raise PreflightError(f"srun cannot be started: {told(error)}") from None
        try:
            await self._boot.start(pipe, placed.node, placed.python)
        except PreflightError as error:
            await pipe.kill()
            await pipe.ended()
            said = why(pipe.words.lines)
            raise PreflightError(f"{error}; {said}" if said not in str(error) else str(error)) from None
        except BaseException:
            await pipe.kill()
            raise
        return pipe

    async def _details(self) -> str:
        """Return what Slurm says of the job, nothing where it does not."""
        argv = ("scontrol", "show", "job", self._placed.job, "--details", "--oneliner")
        with suppress(OSError, RuntimeError, asyncio.TimeoutError):
            asked = await Step.spawn(argv, self._outer, keeps_words=True)
            try:
                return await asyncio.wait_for(_all_of(asked), _DETAILS_S)
            finally:
                await asked.kill()
                await asked.ended()
        return ""


class Step(Child):
    """srun as a child process: its step ends with it, and the agent when either is gone."""

    async def ended(self) -> str:
        how = await super().ended()
        return why(self.words.lines) or f"srun ended: {how}"

    async def kill(self) -> None:
        """End the step: srun does so when it is asked to end; a killed one would leave that to the agent."""
        if self.process.returncode is None:  # by its number: send_signal would wait for one that has just ended,
            processes.kill([self.process.pid], signal.SIGTERM)  # whom asyncio waits for
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.process.wait(), _KILL_S)
            return
        await super().kill()


def step_argv(placed: Placed, command: Iterable[str], gpus: int = 0) -> list[str]:
    """Return what starts a command as a step of its own on a node, beside whatever else the job runs there.

    ``gpus`` are those of the job on the node. Where they were asked for by task, or for all nodes together, a step that
    does not say how many it wants has too few, or cannot be made.
    """
    devices = [f"--gpus={gpus}"] if gpus else []
    return ["srun", f"--jobid={placed.job}", f"--nodelist={placed.node}", *_STEP, *devices, *command]


def gpus_on(node: str, details: str) -> int:
    """Return how many GPUs a job has on a node, by what ``scontrol show job --details`` says; 0 where it does not."""
    for nodes, devices in _ALLOTTED.findall(details):
        with suppress(UsageError):
            if node in hosts(nodes):
                return sum(int(count) for count in _GPUS.findall(devices))
    return 0


async def _all_of(pipe: Child) -> str:
    chunks = []
    while chunk := await pipe.read():
        chunks.append(chunk)
    return b"".join(chunks).decode(errors="replace")


def step_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what asks srun for more than is said to it.

    In a job's script, Slurm's variables repeat what the job asked for, and srun takes them as said to it: as many tasks
    for its one node, say.
    """
    return {name: value for name, value in environ.items() if name in _KEPT or not name.startswith(("SLURM_", "SRUN_"))}


def why(lines: Iterable[str]) -> str:
    """Return why a step ended, by what srun and the step's own process said; nothing where they did not say."""
    told = [match[1].strip(" *") for line in lines if (match := _SAID.fullmatch(line.strip()))]
    said = [each for each in told if not _AFTERWARDS.search(each)]
    return next((f"srun: {each}" for each in sorted(said, key=lambda each: bool(_KILLED.search(each)))), "")
