"""Kill a runner with SIGKILL at every point where it changes its run directory, resume, and compare the reports.

``python tests/crash.py FOLDER [--again N]`` prints a JSON object: how many points there are, and what was not equal at
which of them. The runner is the whole flow of ``milabench run`` and ``resume``, on a fake host in virtual time; each is
a process of its own. ``--again N``: at N of the points the resumed runner is killed as well, at each change that it
begins with.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmate.wire import decode_event
from fleets import alone
from milabench.app import resume as resume_module
from milabench.app import run as run_module
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.console import Console
from milabench.errors import RunDirError, UserError
from milabench.execute import Interrupt
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import HANGS, FakeHost, Story, exits
from milabench.execute.virtual import VirtualTime
from milabench.render import json as as_json
from milabench.rundir import RunDir
from milabench.summary import summarize

SUITE = """
good: {command: {argv: [x]}, plan: {method: njobs, n: 2}, weight: 2}
bad: {command: {argv: [x]}, plan: {method: njobs}}
slow: {command: {argv: [x]}, plan: {method: njobs}, max_duration: 5s}
long: {command: {argv: [x]}, plan: {method: njobs}}
"""
STORIES = {
    "good": Story(steps=12, warmups=2),
    "bad": exits(3, steps=2),
    "slow": replace(HANGS, steps=3, ignores_term=True),
    "long": Story(steps=1100, step_s=0.001),
}
FACTS = {"hostname": "here", "cpus": 4, "memory_bytes": 2**34, "arch": "cpu", "devices": [], "environ": {}, "ips": []}
REPLIES = {"probe": {"facts": FACTS}, "missing": {"names": []}, "freeze": {"packages": {}, "code": {}}}
PUTS_AWAY = 40  # so many changes of a resumed runner are looked at
KILLED = 128 + signal.SIGKILL


class Kills:
    """Count the changes to files below a folder, and end the process at one of them: before, amid or after it."""

    def __init__(self, folder: Path, at: int | None) -> None:
        self.points, self._at, self._folder, self._write, self._sync = 0, at, str(folder), os.write, os.fsync
        os.write, os.fsync = self.write, self.sync  # type: ignore[assignment]
        sys.addaudithook(self._audit)

    def point(self) -> None:
        self.points += 1
        if self.points == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, file: int, content: bytes) -> int:
        if not str(Path(f"/proc/self/fd/{file}").readlink()).startswith(self._folder):
            return self._write(file, content)
        self.point()
        half = self._write(file, content[: len(content) // 2])
        self.point()
        return half + self._write(file, content[half:])

    def sync(self, file: int) -> None:
        self.point()
        self._sync(file)
        self.point()

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in ("os.rename", "os.mkdir", "os.remove")
        opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (changes or opens) and str(arguments[0]).startswith(self._folder):
            self.point()


def story(launch: Launch) -> Story:
    return STORIES[launch.command.benchmark]


def runner(folder: Path, *, resuming: bool) -> None:
    """Run or resume the suite in a folder, as the command line would."""
    clock = VirtualTime()
    time.time = lambda: clock.now_ns() / 1e9  # type: ignore[assignment]
    options = Options(
        config=str(folder / "suite.yaml"), base=folder / "base", run_name=str(folder / "run"), repeats=2, shape={}
    )

    @asynccontextmanager
    async def at_work(*_: object) -> AsyncIterator[Operation]:
        host = FakeHost(story, REPLIES)
        yield Operation(options=options, console=console, fleet=alone(host), interrupt=Interrupt())

    console = Console(quiet=True)
    run_module.operation = resume_module.operation = at_work  # type: ignore[assignment]
    if resuming:
        asked = resume_module.Resumed(name=str(folder / "run"))
        clock.run(resume_module.resume(asked, options, console, lambda _: None))
    else:
        clock.run(run_module.run(options, console, lambda _: None))


def apart(do: Callable[[], object]) -> int:
    """Do something in a process of its own and return its exit code; 128 + the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            do()
            code = 0
        except RunDirError:
            code = 3
        except UserError as error:
            print(error, file=sys.stderr)
            code = 4
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - status if status < 0 else status


def killed(folder: Path, at: int | None, *, resuming: bool) -> tuple[int, int]:
    """Run or resume in a process that is killed at a point; return its exit code and how many points it reached."""
    told, tell = os.pipe()

    def do() -> None:
        kills = Kills(folder / "run", at)
        runner(folder, resuming=resuming)
        with os.fdopen(tell, "w") as answer:
            answer.write(str(kills.points))

    code = apart(do)
    os.close(tell)
    with os.fdopen(told) as answer:
        return code, int(answer.read() or 0)


def report(folder: Path) -> str:
    return "".join(as_json.render(summarize([RunDir(folder / "run")])))


def finished(folder: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the outcomes that stand in the journal, and the event files of their trials."""
    run = RunDir(folder / "run")
    if not run.plan_path.exists():
        return {}, {}
    outcomes = run.outcomes()
    tags = [
        command.tag
        for trial in run.plan().trials
        if trial.id in outcomes
        for job in trial.jobs
        for command in job.commands
    ]
    return {trial: each.kind for trial, each in outcomes.items()}, {
        tag: run.files(tag).events.read_bytes() for tag in tags
    }


def complaints(folder: Path, wanted: str, kills: list[int]) -> list[str]:
    """Kill the runner at a point, the next one at the next, then resume to the end; return what is wrong then."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    resuming = False
    for number, at in enumerate(kills):
        code, _ = killed(folder, at, resuming=resuming)
        if code != KILLED and (code != 0 or number == 0):  # a resumed runner may have less to do than that
            return [f"exit code {code} instead of being killed"]
        resuming = (folder / "run" / "plan.json").exists()
    outcomes, files = finished(folder)
    before = RunDir(folder / "run").journal()
    sittings = len(before.sittings) + (before.state != "complete")  # a complete run is not touched
    code = apart(lambda: runner(folder, resuming=resuming))
    if code != 0:
        return [f"going on ended with {code}"]
    found = [] if report(folder) == wanted else ["the report differs"]
    after, kept = finished(folder)
    found += [
        f"{trial} ended as {kind} and is {after.get(trial)}" for trial, kind in outcomes.items() if after[trial] != kind
    ]
    found += [f"{tag} was measured again" for tag, content in files.items() if kept[tag] != content]
    journal = RunDir(folder / "run").journal()
    found += [] if (len(journal.sittings), journal.state) == (sittings, "complete") else ["the journal is torn"]
    return found + unwhole(RunDir(folder / "run"))


def unwhole(run: RunDir) -> list[str]:
    """Return what is not whole: a file that is not sealed once, an attempt that is neither counted nor kept."""
    found = [str(path) for path in run.path.rglob("*.partial")]
    for tag in run.tags():
        names = [event.event for event in run.events(tag)]
        if [names.count(each) for each in ("config", "start", "end")] != [1, 1, 1]:
            found.append(f"{tag}: {names}")
    for folder in run.path.glob("attempts/*"):
        for path in folder.glob("*.jsonl"):
            events = [decode_event(line) for line in path.read_bytes().splitlines()]  # None: cut short
            if sum(event is not None and event.event == "end" for event in events) != 1:
                found.append(f"{path} is not sealed")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--again", type=int, default=0)
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    (folder / "suite.yaml").write_text(SUITE)
    os.fsync = lambda file: None  # type: ignore[assignment]  # a kill loses nothing that is written, synced or not
    code, points = killed(folder, None, resuming=False)
    assert code == 0, code
    wanted = report(folder)
    cases = [[at] for at in range(1, points + 1)]
    for first in random.Random(1).sample(range(points // 4, points), arguments.again):
        cases += [[first, second] for second in range(1, PUTS_AWAY)]  # dead attempts are put away at its beginning
    wrong, kept = {}, 0
    for case in cases:
        if found := complaints(folder, wanted, case):
            wrong[str(case)] = found
        kept += any((folder / "run").glob("attempts/*/*.jsonl"))
    print(json.dumps({"points": points, "cases": len(cases), "attempts kept": kept, "wrong": wrong}))


if __name__ == "__main__":
    main()
