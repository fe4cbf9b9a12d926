"""What is said without a terminal: lines as trials begin, go on and end, and the failures together."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmate.wire import GOOD, MEASURED, StepsWriter, encode_event
from milabench.console import Console
from milabench.console.failures import Failure, told
from milabench.console.words import trial_line
from milabench.execute import CommandEnded, CommandStarted, Travelling, TrialEnded, TrialStarted, Waiting
from milabench.follow import Progress
from milabench.outcome import SIBLING, Outcome
from milabench.plan.types import Command, Job, Phase, Plan, Trial
from milabench.rundir import Files
from milabench.setuplogs import SetupLogs
from milabench.suite.types import Limit

LIMIT = Limit(skip=2, observations=598)
KNOWN = Progress(
    tag="a",
    stage="measuring",
    steps=120,
    measured=118,
    limit=LIMIT,
    rate_now=71.31,
    unit="images/s",
    loss=2.3145,
    last_step=1000.0,
)


@pytest.mark.parametrize(
    ("processes", "line"),
    [
        ([KNOWN], "120/600 steps, 71.31 images/s, loss 2.314"),
        ([replace(KNOWN, stage="warm-up", steps=1, loss=None)], "1/600 steps of warm-up, 71.31 images/s"),
        ([replace(KNOWN, steps=0, measured=0, rate_now=None, loss=None)], "no step yet"),
        ([replace(KNOWN, last_step=900.0)], "120/600 steps, no step for 1 min 40 s, loss 2.314"),
        (
            [KNOWN, replace(KNOWN, steps=118, loss=2.5)],
            "2 processes, 118–120/600 steps, 142.6 images/s, loss 2.314–2.5",
        ),
        (
            [KNOWN, replace(KNOWN, limit=None, unit="tokens/s")],
            "2 processes, 120 steps, 71.31 images/s, 71.31 tokens/s, loss 2.314",
        ),
        ([KNOWN, replace(KNOWN, outcome=Outcome(kind="ok"))], "120/600 steps, 71.31 images/s, loss 2.314"),
        ([replace(KNOWN, outcome=Outcome(kind="ok"))], "ending"),
        ([replace(KNOWN, limit=None)], "still running"),
    ],
)
def test_a_line_says_how_far_a_trial_is(processes: list[Progress], line: str) -> None:
    assert trial_line(processes, 1000.0) == line


@dataclass
class Stage:
    """A console at work on a plan, without processes."""

    folder: Path
    console: Console
    phase: Phase = "run"

    def __post_init__(self) -> None:
        self.logs = SetupLogs(self.folder)
        self.logs.path.mkdir(parents=True)

    def trial(self, name: str, count: int = 1) -> Trial:
        tags = [name] if count == 1 else [f"{name}.{number}" for number in range(count)]
        commands = [Command(tag=tag, benchmark=name, node="local", argv=("x",), cwd="/") for tag in tags]
        jobs = tuple(Job(tag=each.tag, commands=(each,), deadline_s=600.0, limit=LIMIT) for each in commands)
        return Trial(benchmark=name, jobs=jobs)

    def begin(self, trial: Trial, index: int = 0) -> None:
        self.console.show(TrialStarted(trial=trial, index=index, total=3))
        for job in trial.jobs:
            self.console.show(CommandStarted(command=job.commands[0], job=job))

    def end(self, trial: Trial, outcome: Outcome) -> None:
        for job in trial.jobs:
            self.console.show(CommandEnded(command=job.commands[0], outcome=replace(outcome, tag=job.tag)))
        self.console.show(TrialEnded(trial=trial, outcome=replace(outcome, tag=trial.jobs[0].tag)))

    def files(self, tag: str) -> Files:
        return self.logs.files(tag)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, Console(progress_s=0.01))


def measuring(stage: Stage, tag: str, ahead_s: float = 0.0) -> None:
    stage.files(tag).events.write_bytes(encode_event("data", {"loss": 0.5}, time_ns=1, seq=0))
    now_ns = time.time_ns() + round(ahead_s * 1e9)
    writer = StepsWriter(stage.files(tag).steps, unit="items", zero_ns=now_ns - 10**9)
    for number in range(10):
        writer.append(number * 10**8, (number + 1) * 10**8, 8, MEASURED, GOOD)
    writer.close()


async def said(capsys: pytest.CaptureFixture[str], lines: list[str], words: str) -> None:
    """Wait until something has been said twice, and keep all lines."""
    end = time.monotonic() + 30
    while sum(words in line for line in lines) < 2:
        assert time.monotonic() < end, lines
        await asyncio.sleep(0.01)
        lines += capsys.readouterr().err.splitlines()


def test_a_long_trial_is_told_of_now_and_then(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    trial, lines = stage.trial("resnet50", count=2), list[str]()

    async def scene() -> None:
        async with stage.console.phase(Plan(phase="run", trials=(trial,)), stage.logs):
            stage.begin(trial, index=2)
            measuring(stage, "resnet50.0")
            measuring(stage, "resnet50.1")
            await said(capsys, lines, "10/600 steps")
            stage.end(trial, Outcome(kind="ok"))

    asyncio.run(scene())
    first, *between, last = [*lines, *capsys.readouterr().err.splitlines()]
    assert first == "[3/3] running resnet50"
    assert between[0].startswith("[3/3] resnet50 0.")
    assert between[-1].endswith(": 2 processes, 10/600 steps, 160.0 items/s, loss 0.5")
    assert last.startswith("  ok resnet50 (ok, ")


def test_a_node_whose_clock_is_late_is_not_told_to_be_silent(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    trial, lines = stage.trial("resnet50"), list[str]()

    async def scene() -> None:
        plan = Plan(phase="run", trials=(trial,))
        async with stage.console.phase(plan, stage.logs, ahead_s={trial.commands[0].node: -3600.0}):
            stage.begin(trial)
            measuring(stage, trial.commands[0].tag, ahead_s=-3600.0)
            await said(capsys, lines, "10/600 steps")
            stage.end(trial, Outcome(kind="ok"))

    asyncio.run(scene())
    assert not [line for line in lines if "no step for" in line]


def test_a_short_trial_gets_no_further_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(tmp_path, Console(progress_s=60.0))
    trial = stage.trial("short")

    async def scene() -> None:
        async with stage.console.phase(Plan(phase="run", trials=(trial,)), stage.logs):
            stage.begin(trial)
            await asyncio.sleep(0.05)
            stage.end(trial, Outcome(kind="ok"))

    asyncio.run(scene())
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_quiet_console_says_failures_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(tmp_path, Console(quiet=True, progress_s=0.01))
    good, bad = stage.trial("good"), stage.trial("bad")

    async def scene() -> None:
        async with stage.console.phase(Plan(phase="run", trials=(good, bad)), stage.logs):
            for trial, kind in ((good, "ok"), (bad, "failed")):
                stage.begin(trial)
                await asyncio.sleep(0.05)
                stage.end(trial, Outcome(kind=kind, reason="exit code 3"))  # type: ignore[arg-type]

    asyncio.run(scene())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("FAIL bad (failed, ")
    assert lines[1:] == ["failures:", "  bad (failed): exit code 3"]


def test_failures_are_told_together_at_the_end(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = stage.trial("first", count=2), stage.trial("second")
    stage.files("first.0").stderr.write_text(
        "".join(f"line {number}\n" for number in range(40)) + "no \x1b[2J memory\n"
    )

    async def scene() -> None:
        async with stage.console.phase(Plan(phase="run", trials=(first, second)), stage.logs):
            stage.begin(first)
            for tag, reason in (("first.0", "exit code 1: no memory"), ("first.1", SIBLING)):
                ended = Outcome(kind="failed", reason=reason, tag=tag)
                stage.console.show(CommandEnded(command=first.jobs[int(tag[-1])].commands[0], outcome=ended))
            stage.console.show(
                TrialEnded(trial=first, outcome=Outcome(kind="failed", reason="exit code 1", tag="first.0"))
            )
            stage.console.show(TrialStarted(trial=second, index=1, total=3))
            blocked = Outcome(kind="failed", reason="its preparation failed", tag="second")
            stage.console.show(TrialEnded(trial=second, outcome=blocked))

    asyncio.run(scene())
    lines = capsys.readouterr().err.splitlines()
    where = lines.index("failures:")
    assert sum(line.startswith("FAIL") for line in lines[:where]) == 2
    assert lines[where + 1 : where + 3] == [
        "  first.0 (failed): exit code 1: no memory",
        "     the last lines of its stderr:",
    ]
    assert lines[where + 3 : where + 5] == ["     | line 26", "     | line 27"]
    assert lines[where + 17 : where + 19] == [
        "     | no ?[2J memory",
        f"     whole logs: {stage.logs.path}/first.0.{{stdout,stderr}}",
    ]
    assert lines[where + 19 :] == ["  second (failed): its preparation failed"]


def test_what_the_operator_interrupted_is_no_failure(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    trial = stage.trial("one")

    async def scene() -> None:
        async with stage.console.phase(Plan(phase="run", trials=(trial,)), stage.logs):
            stage.begin(trial)
            stage.end(trial, Outcome(kind="interrupted", reason="interrupted by the operator"))

    asyncio.run(scene())
    assert "failures:" not in capsys.readouterr().err


def test_what_a_job_waits_for_is_said(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    trial = stage.trial("one")

    async def scene() -> None:
        async with stage.console.phase(Plan(phase="install", trials=(trial,)), stage.logs):
            stage.begin(trial)
            for _ in range(2):
                stage.console.show(Waiting(job=trial.jobs[0]))
            stage.console.show(Travelling(told="what one needs is on node n2: 1.0 MiB sent"))

    asyncio.run(scene())
    assert capsys.readouterr().err.splitlines() == [
        "[1/3] installing one",
        "waiting for another milabench that works on one",
        "what one needs is on node n2: 1.0 MiB sent",
    ]


def test_failures_alike_are_told_once_with_their_tags(tmp_path: Path) -> None:
    failures = []
    for number in range(256):
        tag = f"many.{number}"
        Files.of(tmp_path, tag).stderr.write_text(
            f"process {4000 + number}: device {number} is gone (0x7f{number:x})\n"
        )
        failures.append(
            Failure(tag=tag, outcome=Outcome(kind="failed", reason=f"exit code 1: device {number} is gone"))
        )
    Files.of(tmp_path, "other").stdout.write_text("what it printed\n")
    failures.append(Failure(tag="other", outcome=Outcome(kind="killed", reason="killed by SIGKILL")))
    assert list(told(failures, lambda tag: Files.of(tmp_path, tag))) == [
        "failures:",
        "  many.0 and 255 more alike, many.1, many.2, many.3, many.4, many.5, many.6, many.7 … many.255 (failed):"
        " exit code 1: device 0 is gone",
        "     the last lines of its stderr:",
        "     | process 4000: device 0 is gone (0x7f0)",
        f"     whole logs: {tmp_path}/many.0.{{stdout,stderr}}",
        "  other (killed): killed by SIGKILL",
        "     the last lines of its stdout:",
        "     | what it printed",
        f"     whole logs: {tmp_path}/other.{{stdout,stderr}}",
    ]


def test_other_exit_codes_are_other_failures(tmp_path: Path) -> None:
    failures = [Failure(tag=f"p{code}", outcome=Outcome(kind="failed", reason=f"exit code {code}")) for code in (3, 4)]
    assert list(told(failures, lambda tag: Files.of(tmp_path, tag))) == [
        "failures:",
        "  p3 (failed): exit code 3",
        "  p4 (failed): exit code 4",
    ]


def test_a_view_that_breaks_leaves_the_run_alone(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("this cannot be")

    monkeypatch.setattr("milabench.console.trial_line", broken)
    trial, lines = stage.trial("one"), list[str]()

    async def scene() -> None:
        async with stage.console.phase(Plan(phase="run", trials=(trial,)), stage.logs):
            stage.begin(trial)
            end = time.monotonic() + 30
            while len(lines) < 2 and time.monotonic() < end:
                await asyncio.sleep(0.01)
                lines.extend(capsys.readouterr().err.splitlines())
            stage.end(trial, Outcome(kind="ok"))

    asyncio.run(scene())
    assert lines[1:] == ["the view of what runs has ended (RuntimeError: this cannot be); the run goes on"]
    assert capsys.readouterr().err.startswith("  ok one")


def failed(stage: Stage, tag: str, text: str) -> Failure:
    stage.files(tag).stderr.write_text(text)
    return Failure(tag=tag, outcome=Outcome(kind="failed", reason="exit code 1", tag=tag))


def test_failures_of_different_benchmarks_are_told_each(stage: Stage) -> None:
    found = list(told([failed(stage, tag, "no\n") for tag in ("fast", "slow.0", "slow.1")], stage.files))
    assert [line.split(" (")[0] for line in found if "(failed)" in line] == [
        "  fast",
        "  slow.0 and 1 more alike, slow.1",
    ]


def test_a_line_of_last_words_is_cut_where_it_is_too_long_to_read(stage: Stage) -> None:
    found = list(told([failed(stage, "a", "x" * 5000 + "\n")], stage.files))
    assert "     | " + "x" * 300 + "…" in found


def test_of_failures_that_are_alike_the_words_of_one_are_kept(stage: Stage) -> None:
    import tracemalloc

    text = "".join(f"{number} {'x' * 290}\n" for number in range(15))
    several = [failed(stage, f"p.{number}", text) for number in range(1000)]
    list(told(several[:2], stage.files))
    tracemalloc.start()
    found = list(told(several, stage.files))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[1].startswith("  p.0 and 999 more alike, p.1, p.2, ")
    assert peak < 2_000_000  # the words of all are 4.4 MB
