"""Agents on the nodes of a real allocation: what they see there, and that they end with their step and the job."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import launch
from cluster import Cluster
from harness import wait_until
from milabench.errors import HostLost, PreflightError
from milabench.execute.hosts.boot import Boot
from milabench.execute.hosts.child import KNOWN
from milabench.execute.hosts.slurm import Placed, SlurmHost

SLEEP = "sleep 60123"  # nothing else sleeps so long


@pytest.fixture
def job(cluster: Cluster) -> Iterator[int]:
    """Return a job on two nodes, with all GPUs of each, that sleeps."""
    number = cluster.submit("sleep 600", "--nodelist=n1,n2", "--gres=gpu:2", "--ntasks-per-node=2")
    cluster.wait_for(number, "RUNNING")
    yield number
    cluster.cancel_all()


def host(cluster: Cluster, job: int, node: str = "n2", **environ: str) -> SlurmHost:
    around = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **cluster.environ, **environ}
    python = environ.pop("python", "python3")
    return SlurmHost(Placed(job=str(job), node=node, python=python), Boot.made(around), around)


def talk(made: SlurmHost, story: Callable[[SlurmHost], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with made:
            return await story(made)

    return asyncio.run(asyncio.wait_for(main(), 120))


def test_processes_have_the_devices_and_the_environment_of_the_job_there(
    cluster: Cluster, job: int, tmp_path: Path
) -> None:
    async def story(there: SlurmHost) -> Any:
        shown = 'echo "$SLURMD_NODENAME|$CUDA_VISIBLE_DEVICES|$WORD"'
        return await (await there.start(launch(tmp_path, shown))).wait()

    ended = talk(host(cluster, job, WORD="a 'b' $c\n*é", SLURM_NTASKS="4"), story)
    assert ended.code == 0
    assert (tmp_path / "one.stdout").read_text() == "n2|0,1|a 'b' $c\n*é\n"


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        (["--gpus=4"], {"n1": "0,1", "n2": "0,1"}),
        (["--gpus=3"], {"n1": "0,1", "n2": "0"}),
        (["--ntasks-per-node=2", "--gpus-per-task=1"], {"n1": "0,1", "n2": "0,1"}),
        (["--gpus-per-node=fake:1"], {"n1": "0", "n2": "0"}),
        (["--gres=none"], {"n1": "", "n2": ""}),
    ],
    ids=["of all", "unequal", "of tasks", "of a type", "none"],
)
def test_all_devices_of_the_job_are_there_however_they_were_asked_for(
    cluster: Cluster, tmp_path: Path, asked: list[str], seen: dict[str, str]
) -> None:
    async def told(node: str) -> str:
        (folder := tmp_path / node).mkdir()
        async with host(cluster, number, node) as there:
            await (await there.start(launch(folder, "echo $CUDA_VISIBLE_DEVICES"))).wait()
        return (folder / "one.stdout").read_text().strip()

    async def all_told() -> dict[str, str]:
        return dict(zip(seen, await asyncio.gather(*map(told, seen)), strict=True))

    number = cluster.submit("sleep 600", "--nodelist=n1,n2", *asked)
    try:
        cluster.wait_for(number, "RUNNING")
        assert asyncio.run(asyncio.wait_for(all_told(), 120)) == seen
    finally:
        cluster.cancel_all()


def test_closing_a_host_ends_what_it_runs_and_its_step(cluster: Cluster, job: int, tmp_path: Path) -> None:
    async def story(there: SlurmHost) -> None:
        await there.start(launch(tmp_path, f"setsid {SLEEP} & {SLEEP}"))
        await asyncio.to_thread(wait_until, lambda: len(sleepers()) == 2)

    before = {*KNOWN}
    talk(host(cluster, job), story)
    assert not sleepers()
    assert before == KNOWN  # numbers of Slurm's programs, which may be those of orphans later
    wait_until(lambda: steps(cluster, job) == [f"{job}.batch"])


def test_a_step_that_is_cancelled_is_told_and_another_agent_takes_its_place(
    cluster: Cluster, job: int, tmp_path: Path
) -> None:
    async def story(there: SlurmHost) -> tuple[Any, str]:
        process = await there.start(launch(tmp_path, f"exec {SLEEP}"))
        await asyncio.to_thread(wait_until, sleepers)
        step = next(each for each in steps(cluster, job) if not each.endswith("batch"))
        await asyncio.to_thread(cluster.command, "scancel", step)
        return await process.wait(), (await there.hello())["host"]

    ended, again = talk(host(cluster, job), story)
    assert ended.cause == "lost"
    # what the step itself has to say may be lost as it is killed: then srun says that
    assert re.match(rf"srun: (STEP {job}\.\d+ ON n2 CANCELLED|n2: task 0: Killed)", ended.error)
    assert again
    assert not sleepers()


def test_an_agent_ends_when_srun_is_killed(cluster: Cluster, job: int, tmp_path: Path) -> None:
    async def story(there: SlurmHost) -> Any:
        process = await there.start(launch(tmp_path, f"exec {SLEEP}"))
        await asyncio.to_thread(wait_until, sleepers)
        assert there._pipe is not None
        there._pipe.process.kill()  # type: ignore[attr-defined]
        ended = await process.wait()
        await asyncio.to_thread(wait_until, lambda: not sleepers())
        return ended

    ended = talk(host(cluster, job), story)
    assert (ended.cause, ended.error) == ("lost", "srun ended: killed by signal 9")


def test_a_node_that_breaks_is_told_as_slurm_tells_it(cluster: Cluster, job: int, tmp_path: Path) -> None:
    async def story(there: SlurmHost) -> tuple[Any, str]:
        process = await there.start(launch(tmp_path, f"exec {SLEEP}"))
        await asyncio.to_thread(cluster.break_node, "n2")
        with pytest.raises(HostLost) as lost:
            ended = await process.wait()
            await there.hello()
        return ended, str(lost.value)

    try:
        ended, lost = talk(host(cluster, job), story)
    finally:
        cluster.mend_node("n2")
    assert (ended.cause, ended.error) == ("lost", "srun: Node failure on n2")
    assert "Slurm job" in lost


@pytest.mark.parametrize(
    ("node", "python", "said"),
    [
        ("n3", "python3", "srun: .*Requested node configuration is not available"),
        ("n2", "python9", "srun: .*python9.*install Python 3.10 or newer there"),
    ],
)
def test_what_cannot_be_started_is_told_with_the_node(
    cluster: Cluster, job: int, node: str, python: str, said: str
) -> None:
    async def story(_: SlurmHost) -> None: ...

    with pytest.raises(PreflightError, match=said):
        talk(host(cluster, job, node, python=python), story)


def test_where_there_is_no_srun_that_is_told(tmp_path: Path) -> None:
    async def story(_: SlurmHost) -> None: ...

    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    made = SlurmHost(Placed(job="1", node="n1"), Boot.made(environ), environ)
    with pytest.raises(PreflightError, match="there is no srun here"):
        talk(made, story)


def steps(cluster: Cluster, job: int) -> list[str]:
    listed = cluster.command("squeue", "--steps", "--noheader", "--format=%i", f"--jobs={job}")
    return [each for each in listed.split() if not each.endswith("extern")]


def sleepers() -> list[int]:
    """Return the living processes of SLEEP."""
    wanted = f"{SLEEP} ".replace(" ", "\0").encode()
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _content(path) == wanted]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
