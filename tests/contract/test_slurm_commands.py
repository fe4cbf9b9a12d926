"""Slurm's commands as processes, played by scripts: one that is slow, one that does not answer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agents import alive
from harness import wait_until
from milabench.slurm import commands
from milabench.slurm.commands import Slurm, SlurmError


def played(folder: Path, **scripts: str) -> Slurm:
    """Return Slurm with such commands; each writes down what it is called with."""
    for name, script in scripts.items():
        path = folder / name
        path.write_text(f'#!/bin/sh\ncd {folder}\necho "$*" >> {name}.calls\n{script}\n')
        path.chmod(0o755)
    return Slurm({"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"})


def calls(folder: Path, name: str) -> list[str]:
    path = folder / f"{name}.calls"
    return path.read_text().splitlines() if path.exists() else []


async def until_called(folder: Path, name: str) -> None:
    while not calls(folder, name):
        await asyncio.sleep(0.01)


def test_the_number_of_a_job_is_found_among_what_a_site_prints(tmp_path: Path) -> None:
    slurm = played(tmp_path, sbatch="echo 'welcome to the cluster'; echo '17;big'")
    assert asyncio.run(slurm.submit(["it.sh"])) == "17"


def test_a_job_that_is_taken_while_nobody_waits_any_more_is_cancelled(tmp_path: Path) -> None:
    slurm = played(tmp_path, sbatch="while ! test -e go; do sleep 0.02; done; echo 17", scancel="true")

    async def story() -> None:
        asked = asyncio.create_task(slurm.submit(["it.sh"]))
        await until_called(tmp_path, "sbatch")
        asked.cancel()
        await asyncio.sleep(0)
        (tmp_path / "go").touch()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(asyncio.wait_for(story(), 60))
    assert calls(tmp_path, "scancel") == ["17"]


def test_a_command_that_does_not_answer_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_TIMEOUT_S", 2.0)
    slurm = played(tmp_path, squeue="sleep 1000 & echo $! > child; wait")

    async def story() -> None:
        with pytest.raises(SlurmError, match="squeue says nothing for"):
            await slurm.look(["1"])

    asyncio.run(asyncio.wait_for(story(), 60))
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not alive(child))


def test_a_command_that_nobody_waits_for_any_more_is_ended(tmp_path: Path) -> None:
    slurm = played(tmp_path, squeue="echo $$ > pid; exec sleep 1000")

    async def story() -> int:
        asked = asyncio.create_task(slurm.look(["1"]))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return int((tmp_path / "pid").read_text())

    pid = asyncio.run(asyncio.wait_for(story(), 60))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


INVALID = "echo 'scancel: error: Kill job error on job id 7: Invalid job id specified' >&2"


def test_a_job_that_has_ended_meanwhile_needs_no_end(tmp_path: Path) -> None:
    slurm = played(tmp_path, scancel=f"{INVALID}; exit 1")
    asyncio.run(slurm.end(["7"]))
    asyncio.run(slurm.cancel(["7"]))
    assert [call.split()[-1] for call in calls(tmp_path, "scancel")] == ["7", "7", "7"]


def test_what_else_scancel_says_is_an_error(tmp_path: Path) -> None:
    refused = "echo 'scancel: error: Kill job error on job id 8: Access/permission denied' >&2"
    slurm = played(tmp_path, scancel=f"{INVALID}; {refused}; exit 1")
    with pytest.raises(SlurmError, match="job id 7: Invalid.*; Kill job error on job id 8: Access/permission denied"):
        asyncio.run(slurm.cancel(["7", "8"]))


def test_a_command_that_is_slow_is_told_once_with_what_it_has_said_until_one_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = f"echo 'squeue: error: retrying up to 60sec' >&2; while ! test -e {tmp_path}/go; do sleep 0.02; done"
    monkeypatch.setattr(commands, "_SLOW_S", 2.0)
    played(tmp_path, squeue=waits)
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        (tmp_path / "go").touch()

    slurm = Slurm({"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}, tell)

    async def story() -> None:
        for _ in range(2):
            (tmp_path / "go").unlink(missing_ok=True)
            if told:
                asyncio.get_running_loop().call_later(3.0, (tmp_path / "go").touch)
            assert await slurm.look(["7"]) == {}

    asyncio.run(asyncio.wait_for(story(), 60))
    assert told == ["squeue has not answered for 2 s (retrying up to 60sec): it is waited for"]
