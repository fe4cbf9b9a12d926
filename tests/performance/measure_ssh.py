"""What SSH costs: a command through a warm agent, 64 at once, connecting; beside ``ssh host true`` in the same run.

Between two network namespaces of this machine, so that what is measured is what both ends do; needs root and sshd.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measuring
import nodes
from milabench.execute.hosts import Launch
from milabench.execute.hosts.boot import Boot
from milabench.execute.hosts.login import Login
from milabench.execute.hosts.ssh import SSHHost
from milabench.plan import Command, Job
from milabench.rundir import Files

COMMANDS, PROCESSES, CONNECTIONS = 200, 64, 11


def launch(run: Path, tag: str, *argv: str) -> Launch:
    command = Command(tag=tag, benchmark=tag, node="n1", argv=argv, cwd="/", env={}, metrics="none")
    job = Job(tag=tag, commands=(command,), deadline_s=None)
    files = Files.of(run, tag)
    return Launch(phase="run", job=job, command=command, files=files, env={}, first_seq=0, deadline_s=None)


async def ended(host: SSHHost, wanted: Launch) -> None:
    found = await (await host.start(wanted)).wait()
    assert found.code == 0, found


async def timed(work: Any) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def by_ssh(made: nodes.Nodes) -> float:
    options = ("-i", str(made.key), "-o", f"UserKnownHostsFile={made.known_hosts}", "-o", "BatchMode=yes")
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec("ssh", *options, f"{nodes.USER}@{made['n1'].address}", "true")
    assert await process.wait() == 0
    return time.perf_counter() - began


async def measure(made: nodes.Nodes, run: Path) -> None:
    login = Login(name="n1", address=made["n1"].address, user=nodes.USER, key=made.key)
    boot, environ = Boot.made(made.environ()), made.environ()
    first = SSHHost(login, boot, environ)
    began = time.perf_counter()
    async with first:
        measuring.show("the first connection, which brings the agent's zip", [time.perf_counter() - began], "s")
    connecting, programs = [], []
    for _ in range(CONNECTIONS):
        host = SSHHost(login, boot, environ)
        began = time.perf_counter()
        async with host:
            connecting.append(time.perf_counter() - began)
        programs.append(await by_ssh(made))
    measuring.show("connecting, until an agent answers", connecting, "s")
    measuring.show("`ssh host true`", programs, "s")
    async with SSHHost(login, boot, environ) as host:
        requests = [await timed(host.request("clock")) * 1e3 for _ in range(COMMANDS)]
        measuring.show("a request to the warm agent", requests, "ms")
        commands = [await timed(ended(host, launch(run, f"c{n}", "true"))) * 1e3 for n in range(COMMANDS)]
        measuring.show("a command (`true`) through the warm agent, with its files sent", commands, "ms", goal="≤ 5")
        many = [launch(run, f"m{number}", "sleep", "1") for number in range(PROCESSES)]
        took = await timed(asyncio.gather(*(ended(host, each) for each in many)))
        measuring.show(f"{PROCESSES} processes of 1 s at once, over one session", [took], "s")
    hosts = [SSHHost(login, boot, environ) for _ in range(PROCESSES)]
    took = await timed(asyncio.gather(*(host.__aenter__() for host in hosts)))
    measuring.show(f"{PROCESSES} connections at once, each with an agent", [took], "s")
    took = await timed(asyncio.gather(*(ended(host, launch(run, f"h{n}", "true")) for n, host in enumerate(hosts))))
    measuring.show(f"a command through each of {PROCESSES} agents at once", [took], "s")
    await asyncio.gather(*(host.__aexit__(None) for host in hosts))


def main() -> None:
    if (reason := nodes.why_not()) is not None:
        sys.exit(f"not measured: {reason}")
    with tempfile.TemporaryDirectory(prefix="milabench-performance-") as folder:
        run = Path(folder, "run")
        run.mkdir()
        with nodes.started(Path(folder, "nodes"), ("n1",)) as made, made.entered("op"):
            os.environ["HOME"] = str(made.home)
            asyncio.run(measure(made, run))


main()
