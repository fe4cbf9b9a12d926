"""Folders and files to a node over its agent's pipe: as they are, only what changed, and in nobody's way."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agents import Elsewhere, launch, pid_in, send_tree, talk
from harness import wait_until
from milabench.errors import HostLost, PreflightError
from milabench.execute import trees
from milabench.execute.hosts.local import LocalHost
from milabench.execute.travel import SoFar

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "bench"
    (folder / "inner").mkdir(parents=True)
    (folder / "main.py").write_text("print(1)\n")
    (folder / "inner" / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    (folder / "inner" / "run.sh").chmod(0o755)
    (folder / "gone").symlink_to("/nowhere/at/all")
    return folder


def staged(source: Path, target: Path, *, fresh: bool = False) -> list[dict[str, Any]]:
    return [{"source": str(source), "target": str(target), "fresh": fresh}]


def elsewhere(story: Callable[[LocalHost], Awaitable[Any]]) -> Any:
    return talk(story, Elsewhere)


def big(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    return path


def test_a_folder_is_the_same_as_on_this_machine_whoever_stages_it(source: Path, tmp_path: Path) -> None:
    async def story(host: LocalHost) -> Any:
        await host.stage(staged(source, tmp_path / host.__class__.__name__))

    talk(story)
    elsewhere(story)
    here, there = tmp_path / "LocalHost", tmp_path / "Elsewhere"
    compared = subprocess.run(
        ["diff", "--recursive", "--no-dereference", str(here), str(there)], capture_output=True, text=True, check=False
    )
    assert (compared.stdout, compared.returncode) == ("", 0)
    assert subprocess.run([there / "inner" / "run.sh"], capture_output=True, check=True).stdout == b"it runs\n"


def test_how_far_all_that_is_staged_on_another_machine_is_can_be_seen(source: Path, tmp_path: Path) -> None:
    wheel = big(tmp_path / "a.whl", 2 * MIB)
    both = [*staged(source, tmp_path / "there"), *staged(wheel, tmp_path / "wheels" / "a.whl")]
    seen: list[SoFar] = []

    async def story(host: LocalHost) -> None:
        for _ in range(2):
            seen.append(SoFar())
            await host.stage(both, seen[-1])

    elsewhere(story)
    total = 2 * MIB + sum((source / name).stat().st_size for name in ("main.py", "inner/run.sh"))
    assert seen == [SoFar(total, total, total), SoFar(total, total, 0)]


def test_a_wheel_is_made_here_and_sent(tmp_path: Path) -> None:
    package = tmp_path / "benchmate"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\n")
    wheel = tmp_path / "cache" / "benchmate-0.1.0+abc-py3-none-any.whl"

    async def story(host: LocalHost) -> None:
        await host.stage(staged(package, wheel))

    elsewhere(story)
    assert wheel.read_bytes()[:2] == b"PK"


def test_send_tree_takes_files_and_folders_to_any_host(source: Path, tmp_path: Path) -> None:
    async def story(host: LocalHost) -> None:
        folder = tmp_path / host.__class__.__name__
        await send_tree(host, source, str(folder / "tree"))
        await send_tree(host, source / "inner" / "run.sh", str(folder / "bin" / "run"))

    talk(story)
    elsewhere(story)
    for name in ("LocalHost", "Elsewhere"):
        assert (tmp_path / name / "tree" / "main.py").read_text() == "print(1)\n"
        assert os.access(tmp_path / name / "bin" / "run", os.X_OK)


def test_a_large_file_does_not_stand_in_the_way_of_what_else_is_asked(source: Path, tmp_path: Path) -> None:
    content = big(tmp_path / "big", 120 * MIB)

    async def story(host: LocalHost) -> tuple[bool, Any]:
        process = await host.start(launch(tmp_path, "echo $$ > pid; exec sleep 1000"))
        sending = asyncio.create_task(send_tree(host, content, str(tmp_path / "there")))
        while not (tmp_path / ".there.partial").exists():
            await asyncio.sleep(0.01)
        await process.stop("interrupt")
        ended = await process.wait()
        done_before = sending.done()
        await sending
        return done_before, ended.cause

    assert elsewhere(story) == (False, "interrupt")
    assert subprocess.run(["cmp", content, tmp_path / "there"], check=False).returncode == 0


def test_two_at_once_come_one_after_the_other(source: Path, tmp_path: Path) -> None:
    one, two = big(tmp_path / "one", 30 * MIB), big(tmp_path / "two", 20 * MIB)
    target = tmp_path / "there"

    async def story(host: LocalHost) -> None:
        await asyncio.gather(*(send_tree(host, each, str(target)) for each in (one, two, one)))

    elsewhere(story)
    assert target.read_bytes() == one.read_bytes()
    assert not list(tmp_path.glob(".*.partial"))


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["a file in the way", "nothing can be made there"])
def test_what_cannot_be_written_there_is_told_and_the_next_one_goes_well(
    source: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    closed = tmp_path / "closed"
    make(closed)
    target = closed / "below" if closed.is_file() else Path("/proc/nowhere/below")

    async def story(host: LocalHost) -> str:
        with pytest.raises(PreflightError) as failed:
            await send_tree(host, source, str(target))
        await send_tree(host, source, str(tmp_path / "there"))
        return str(failed.value)

    told = elsewhere(story)
    assert str(target.parent) in told
    assert (tmp_path / "there" / "main.py").exists()


def test_a_source_that_is_not_there_is_told(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> str:
        with pytest.raises(PreflightError) as failed:
            await send_tree(host, tmp_path / "nothing", str(tmp_path / "there"))
        return str(failed.value)

    assert elsewhere(story) == f"stage failed: No such file or directory: {tmp_path / 'nothing'}"


def test_when_the_agent_is_killed_meanwhile_it_is_told_and_sending_can_be_tried_again(tmp_path: Path) -> None:
    content = big(tmp_path / "big", 60 * MIB)

    async def story(host: LocalHost) -> None:
        await host.start(launch(tmp_path, "echo $PPID > agent; exec sleep 1000"))
        await asyncio.to_thread(wait_until, (tmp_path / "agent").exists)
        sending = asyncio.create_task(send_tree(host, content, str(tmp_path / "there")))
        while not (tmp_path / ".there.partial").exists():
            await asyncio.sleep(0.01)
        os.kill(pid_in(tmp_path / "agent"), 9)
        with pytest.raises(HostLost):
            await sending
        await send_tree(host, content, str(tmp_path / "there"))

    elsewhere(story)
    assert (tmp_path / "there").stat().st_size == 60 * MIB


# Files of a folder, some at a time -----------------------------------------------------------------------------------


def test_some_files_of_a_folder_are_there_as_they_are_and_what_else_is_there_stays(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "there"
    (target / "own").mkdir(parents=True)
    (source / "inner" / "latest").symlink_to("run.sh")
    told: list[tuple[int, int]] = []

    async def story(host: LocalHost) -> None:
        names = ["main.py", "inner/run.sh", "inner/latest"]
        await host.send(source, str(target), names, lambda *each: told.append(each))

    elsewhere(story)
    assert (target / "inner" / "latest").readlink() == Path("run.sh")
    assert os.access(target / "inner" / "run.sh", os.X_OK)
    assert sorted(path.name for path in target.iterdir()) == ["inner", "main.py", "own"]
    sizes = [(source / name).stat().st_size for name in ("main.py", "inner/run.sh")]
    assert sum(there for there, _ in told) == sum(sent for _, sent in told) == sum(sizes)
    told.clear()
    elsewhere(story)
    assert (sum(there for there, _ in told), sum(sent for _, sent in told)) == (sum(sizes), 0)


def test_what_came_before_a_failure_is_not_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "_BATCH_BYTES", 2 * MIB)
    source, target = tmp_path / "here", tmp_path / "there"
    source.mkdir()
    names = [big(source / str(number), MIB).name for number in range(5)]
    sent = 0

    def told(_: int, more: int) -> None:
        nonlocal sent
        sent += more

    async def story(host: LocalHost) -> None:
        await host.send(source, str(target), names, told)

    (target / "4").mkdir(parents=True)  # in the way of the last one
    with pytest.raises(PreflightError, match=r"there/\.4\.partial"):
        elsewhere(story)
    assert sorted(path.name for path in target.iterdir()) == ["0", "1", "2", "3", "4"]
    (target / "4").rmdir()
    sent = 0
    elsewhere(story)
    assert (sent, (target / "4").stat().st_size) == (MIB, MIB)


def test_a_file_that_is_gone_here_is_told(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> None:
        await host.send(tmp_path, str(tmp_path / "there"), ["gone"], lambda *_: None)

    with pytest.raises(PreflightError, match="No such file or directory"):
        elsewhere(story)


def test_of_what_is_broken_off_nothing_is_left(tmp_path: Path) -> None:
    content = big(tmp_path / "big", 120 * MIB)
    partial = tmp_path / "there" / ".big.partial"

    async def story(host: LocalHost) -> None:
        sending = asyncio.create_task(host.send(tmp_path, str(tmp_path / "there"), [content.name], lambda *_: None))
        while not partial.exists():
            await asyncio.sleep(0.01)
        sending.cancel()
        await asyncio.wait([sending])

    elsewhere(story)
    wait_until(lambda: not partial.exists())
    assert not (tmp_path / "there" / "big").exists()
