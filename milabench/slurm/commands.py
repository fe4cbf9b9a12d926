"""sbatch, squeue and scancel: the one place where Slurm is asked."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from milabench.errors import PreflightError, told
from milabench.slurm import states
from milabench.slurm.states import Seen

_TIMEOUT_S = 120.0  # a controller at work on much may need a while
_SLOW_S = 5.0  # so long nobody wonders
_UNKNOWN = "Invalid job id"
_OVER = re.compile(rf"{_UNKNOWN}|already complet")  # what scancel says of a job that has ended
_LEFT_OUT = ("SLURM_", "SQUEUE_", "SCANCEL_")
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS")
# What profiles are refused, too: sbatch would wait for the job, submit several, or have what it prints elsewhere.
_NOT_SBATCH = frozenset(f"SBATCH_{name}" for name in ("WAIT", "ARRAY_INX", "CLUSTERS", "INPUT", "ERROR"))


class SlurmError(PreflightError):
    """One of Slurm's commands does not do what it is to do; the message has what it ``said``, in lines."""

    def __init__(self, message: str, said: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.said = tuple(said)


class Slurm:
    """Slurm's commands, as the operator's environment finds them.

    ``tell`` is called where one takes long, once until one answers again: a controller may be gone.
    """

    def __init__(self, environ: Mapping[str, str], tell: Callable[[str], None] = lambda _: None) -> None:
        self._environ, self._tell = plain(environ), tell
        self._is_slow = False

    async def submit(self, arguments: Sequence[str]) -> str:
        """Submit a job and return its number. Raises SlurmError with what sbatch said.

        A job that Slurm takes while this is cancelled is cancelled as well: nobody would know of it.
        """
        asked = asyncio.create_task(self._call("sbatch", *arguments))
        try:
            return _number(await asyncio.shield(asked))
        except asyncio.CancelledError:
            with suppress(SlurmError):
                await self.cancel([_number(await asked)])
            raise

    async def look(self, jobs: Sequence[str]) -> dict[str, Seen]:
        """Return how jobs are; those that Slurm has forgotten are not there. Raises SlurmError."""
        if not jobs:
            return {}
        try:
            asked = ("--noheader", "--states=all", f"--jobs={','.join(jobs)}", f"--Format={states.FORMAT}")
            return states.parse(await self._call("squeue", *asked))
        except SlurmError as error:
            if _UNKNOWN in str(error):
                return {}
            raise

    async def end(self, jobs: Sequence[str]) -> None:
        """Have jobs end: those that wait are cancelled, the runner of those that run is told to end what it does.

        Cancelling a job that runs would end its benchmarks at the same moment as the runner, which could not tell that
        from a failure of theirs. Raises SlurmError.
        """
        await self._cancel("--state=PENDING", *jobs)
        await self._cancel("--state=RUNNING", "--batch", "--signal=TERM", *jobs)

    async def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel jobs, whatever they do. Raises SlurmError."""
        await self._cancel(*jobs)

    async def _cancel(self, *arguments: str) -> None:
        """Call scancel; jobs that have ended meanwhile are as they are to be."""
        try:
            await self._call("scancel", *arguments)
        except SlurmError as error:
            if not error.said or not all(map(_OVER.search, error.said)):
                raise

    async def _call(self, program: str, *arguments: str) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *arguments,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for milabench
            )
        except FileNotFoundError:
            raise SlurmError(
                f"there is no {program} here: submit from a machine that has Slurm's commands, such as a login node"
            ) from None
        except OSError as error:
            raise SlurmError(f"{program} cannot be started: {told(error)}") from None
        try:
            out, said = await asyncio.wait_for(self._answer(process, program), _TIMEOUT_S)
        except asyncio.TimeoutError:
            raise SlurmError(f"{program} says nothing for {_TIMEOUT_S:.0f} s: does Slurm's controller run?") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # a site's own script may have started the program
                await process.wait()
        if process.returncode != 0:
            why = "; ".join(said) or f"exit code {process.returncode}"
            raise SlurmError(f"{program} failed: {why}", said)
        return out.decode(errors="replace")

    async def _answer(self, process: Process, program: str) -> tuple[bytes, list[str]]:
        """Return what a command printed and, in lines, what it said; tell where that takes long."""
        assert process.stdout is not None
        assert process.stderr is not None
        errors = bytearray()
        answer = asyncio.gather(process.stdout.read(), _read_into(errors, process.stderr), process.wait())
        try:
            done, _ = await asyncio.wait({answer}, timeout=_SLOW_S)
            if not done and not self._is_slow:
                self._is_slow = True
                so_far = "; ".join(_said(errors, program))
                said = f" ({so_far})" if so_far else ""
                self._tell(f"{program} has not answered for {_SLOW_S:.0f} s{said}: it is waited for")
            out, _, _ = await answer
        finally:
            answer.cancel()
        self._is_slow = self._is_slow and not done
        return out, _said(errors, program)


def plain(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what makes squeue and scancel do something else than they are told.

    Nor does it have what an allocation sets that this is run in: a job that is submitted is none of its steps. A
    cluster that only sbatch would go to is the one for all.
    """
    left = {name: value for name, value in environ.items() if name in _KEPT or not name.startswith(_LEFT_OUT)}
    cluster = {"SLURM_CLUSTERS": environ["SBATCH_CLUSTERS"]} if environ.get("SBATCH_CLUSTERS") else {}
    return cluster | {name: value for name, value in left.items() if name not in _NOT_SBATCH}


def _number(printed: str) -> str:
    """Return the number of a job as sbatch prints it. Raises SlurmError."""
    number = printed.strip().partition(";")[0].split()[-1:]  # a site's own plugins may print before
    if not number or not number[0].isdecimal():
        raise SlurmError(f"sbatch printed no number of a job, but {printed.strip()!r}")
    return number[0]


async def _read_into(taken: bytearray, stream: asyncio.StreamReader) -> None:
    while chunk := await stream.read(1 << 16):
        taken += chunk


def _said(errors: bytes | bytearray, program: str) -> list[str]:
    """Return what a command said of why it failed."""
    lines = (line.strip().removeprefix(f"{program}: ") for line in errors.decode(errors="replace").splitlines())
    return [line.removeprefix("error: ") for line in lines if line]
