"""Jobs followed to their ends: what is told of them, what Ctrl-C does, and what Slurm does not say."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from milabench.app import following
from milabench.console import Console
from milabench.errors import ExitCode
from milabench.outcome import Outcome
from milabench.plan import Command, Job, Plan, Trial
from milabench.record import Record
from milabench.slurm import records
from milabench.slurm.commands import Slurm, SlurmError
from milabench.slurm.records import Submissions, Submitted
from milabench.slurm.states import Seen


@dataclass
class Told(Console):
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)


class Fake(Slurm):
    """Slurm by a story: what each look at the jobs finds; the last goes on for ever. None: it does not answer."""

    def __init__(self, *looks: dict[str, Seen] | None, then: Callable[[int], None] = lambda _: None) -> None:
        self._looks, self._then, self.calls = list(looks), then, list[str]()
        self._count = 0

    async def look(self, jobs: Sequence[str]) -> dict[str, Seen]:
        self._count += 1
        self._then(self._count)
        found = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        if found is None:
            raise SlurmError("squeue failed: Unable to contact slurm controller")
        return {job: seen for job, seen in found.items() if job in jobs}

    async def end(self, jobs: Sequence[str]) -> None:
        self.calls.append(f"end {' '.join(jobs)}")

    async def cancel(self, jobs: Sequence[str]) -> None:
        self.calls.append(f"cancel {' '.join(jobs)}")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_SHORTEST_S", 0.001)
    monkeypatch.setattr(following, "_LONGEST_S", 0.01)


def there(folder: Path, *jobs: str) -> list[Submissions]:
    made = []
    for job in jobs:
        run = folder / job
        run.mkdir()
        made.append(Submissions(run=run).with_job(Submitted(job=job, profile=None, asked=(), submitted=0.0)))
    return made


def job(number: str, state: str, **more: object) -> dict[str, Seen]:
    return {number: Seen(job=number, state=state, **more)}  # type: ignore[arg-type]


def followed(slurm: Fake, jobs: Sequence[Submissions]) -> tuple[ExitCode, list[str], list[Path]]:
    told, shown = Told(), list[Path]()
    code = asyncio.run(asyncio.wait_for(following.follow(slurm, jobs, told, shown.extend), 30))
    return code, told.notes, shown


def test_what_is_new_of_a_job_is_told_once(tmp_path: Path) -> None:
    waits = job("7", "PENDING", reason="Priority")
    runs = job("7", "RUNNING", nodes="n[1-2]")
    slurm = Fake(waits, waits, job("7", "PENDING", reason="Resources"), runs, runs, job("7", "COMPLETED", exit_code=0))
    code, told, shown = followed(slurm, there(tmp_path, "7"))
    assert code == ExitCode.OK
    assert told[:4] == [
        "job 7 waits: Priority: others come before it",
        "job 7 waits: Resources: what it asks for is in use",
        "job 7 is running on n[1-2]",
        "job 7 has ended",
    ]
    assert shown == []  # there is no run to report on


def test_how_each_job_ended_is_recorded_and_the_worst_is_the_exit_code(tmp_path: Path) -> None:
    ends = {**job("7", "FAILED", exit_code=1), **job("8", "NODE_FAIL", nodes="n3", reason="NodeDown")}
    jobs = there(tmp_path, "7", "8")
    code, told, _ = followed(Fake(ends), jobs)
    assert code == ExitCode.ENVIRONMENT
    assert "job 8 on n3 lost a node (NODE_FAIL, NodeDown)" in told
    found = [records.read(each.run).latest for each in jobs]
    assert [(each.state, each.nodes) for each in found] == [("FAILED", ""), ("NODE_FAIL", "n3")]


def test_a_controller_that_does_not_answer_is_told_once_and_asked_again(tmp_path: Path) -> None:
    slurm = Fake(job("7", "RUNNING"), None, None, None, job("7", "COMPLETED", exit_code=0))
    code, told, _ = followed(slurm, there(tmp_path, "7"))
    assert code == ExitCode.OK
    assert sum("Unable to contact" in line for line in told) == 1


def test_jobs_can_be_left_while_the_controller_does_not_answer(tmp_path: Path) -> None:
    class Down(Fake):
        async def end(self, jobs: Sequence[str]) -> None:
            raise SlurmError("scancel failed: Unable to contact slurm controller")

        cancel = end

    slurm = Down(None, then=lambda count: os.kill(os.getpid(), signal.SIGINT) if count <= 3 else None)
    code, told, _ = followed(slurm, there(tmp_path, "7"))
    assert code == ExitCode.INTERRUPTED
    assert told[-1] == "job 7 could not be told to end, for Slurm does not answer: it goes on: scancel 7"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_leave_the_jobs_and_say_how_to_find_them(tmp_path: Path, number: signal.Signals) -> None:
    slurm = Fake(job("7", "RUNNING"), then=lambda count: os.kill(os.getpid(), number) if count == 3 else None)
    (tmp_path / "my night").mkdir()
    code, told, _ = followed(slurm, there(tmp_path / "my night", "7"))
    assert (code, slurm.calls) == (ExitCode.INTERRUPTED, [])
    attach = f"milabench submit --attach '{tmp_path}/my night/7'"
    assert told[-1] == f"{number.name}: job 7 goes on: {attach} follows it"


def test_jobs_can_be_left_while_a_command_of_slurm_has_not_ended(tmp_path: Path) -> None:
    class Silent(Fake):
        async def look(self, jobs: Sequence[str]) -> dict[str, Seen]:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(0.01)
            await asyncio.Event().wait()
            raise AssertionError

    assert followed(Silent({}), there(tmp_path, "7"))[0] == ExitCode.INTERRUPTED


def test_a_job_that_slurm_has_forgotten_is_over(tmp_path: Path) -> None:
    code, told, _ = followed(Fake(job("7", "RUNNING"), {}), there(tmp_path, "7"))
    assert code == ExitCode.ENVIRONMENT
    assert "job 7 is not known to Slurm any more (GONE)" in told


def test_of_a_forgotten_job_that_was_seen_to_end_before_that_is_told(tmp_path: Path) -> None:
    (before,) = there(tmp_path, "7")
    ended = before.with_end(Seen(job="7", state="FAILED", exit_code=1, nodes="n1"))
    assert followed(Fake({}), [ended])[0] == ExitCode.FAILED


def test_the_exit_code_of_a_complete_run_is_its_own_though_its_job_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "completed", lambda run: ExitCode.FAILED)
    code, told, _ = followed(Fake({}), there(tmp_path, "7"))
    assert (code, told) == (ExitCode.FAILED, ["job 7 has ended: its run is complete"])


def test_a_job_that_goes_on_with_the_run_is_kept_when_the_end_of_the_one_before_is_recorded(tmp_path: Path) -> None:
    (made,) = there(tmp_path, "7")

    def resume(count: int) -> None:
        if count == 2:
            made.with_job(Submitted(job="8", profile=None, asked=(), submitted=1.0)).write()

    followed(Fake(job("7", "RUNNING"), job("7", "TIMEOUT"), then=resume), [made])
    assert [(each.job, each.state) for each in records.read(made.run).jobs] == [("7", "TIMEOUT"), ("8", "")]


def test_an_end_that_cannot_be_recorded_is_told_and_others_are_followed(tmp_path: Path) -> None:
    jobs = there(tmp_path, "7", "8")
    jobs[0].run.rmdir()
    slurm = Fake({**job("7", "CANCELLED"), **job("8", "RUNNING")}, job("8", "COMPLETED", exit_code=0))
    code, told, _ = followed(slurm, jobs)
    assert code == ExitCode.INTERRUPTED
    assert told[0].startswith("warning: how job 7 ended cannot be recorded")
    assert "job 8 has ended" in told


def test_what_a_job_printed_is_shown_where_its_run_could_not_be(tmp_path: Path) -> None:
    (made,) = there(tmp_path, "7")
    made.paper.output.parent.mkdir()
    made.paper.output.write_text("a line\nmilabench: no such suite\n")
    code, told, _ = followed(Fake(job("7", "FAILED", exit_code=2)), [made])
    assert code == ExitCode.USAGE
    assert "  milabench: no such suite" in told


@pytest.mark.parametrize(
    ("times", "calls", "last"),
    [
        (1, ["end 7"], "job 7 was cancelled (CANCELLED)"),
        (2, ["end 7", "cancel 7"], "job 7 was cancelled (CANCELLED)"),
        (3, ["end 7", "cancel 7"], "job 7 is being cancelled by Slurm"),
    ],
)
def test_ctrl_c_ends_jobs_gently_then_at_once_then_leaves_them(
    tmp_path: Path, times: int, calls: list[str], last: str
) -> None:
    looks = [job("7", "RUNNING")] * 20
    ends = looks if times == 3 else [*looks, job("7", "CANCELLED")]

    def press(count: int) -> None:
        if count % 5 == 0 and count // 5 <= times:
            os.kill(os.getpid(), signal.SIGINT)

    slurm = Fake(*ends, then=press)
    found, told, _ = followed(slurm, there(tmp_path, "7"))
    assert (found, slurm.calls) == (ExitCode.INTERRUPTED, calls)
    assert last in told


def printing(path: Path, *texts: str) -> Callable[[int], None]:
    """Return what has a job print a text more at each look."""
    path.parent.mkdir(exist_ok=True)
    path.touch()

    def go_on(count: int) -> None:
        with path.open("a") as file:
            file.write("".join(texts[count - 1 : count]))

    return go_on


def test_what_a_job_prints_until_its_run_begins_is_told_as_it_comes(tmp_path: Path) -> None:
    (made,) = there(tmp_path, "7")
    texts = (
        "[1/2] installing x\n",
        "  ok x\nwarning: the ma",
        "chine is busy\n",
        "2 to run, at most 1 min\n[1/2] running",
    )
    runs = [job("7", "RUNNING")] * 5
    slurm = Fake(*runs, job("7", "COMPLETED", exit_code=0), then=printing(made.paper.output, *texts))
    _, told, _ = followed(slurm, [made])
    before = ["[1/2] installing x", "  ok x", "warning: the machine is busy", "2 to run, at most 1 min"]
    assert [line for line in told if line.startswith("job 7: ")] == [f"job 7: {line}" for line in before]


def test_a_job_that_fails_after_its_report_is_told_without_it(tmp_path: Path) -> None:
    (made,) = there(tmp_path, "7")
    report = "2 to run, at most 1 min\nrates\nnotes\nrun directory: /it\nmilabench: no room is left\n"
    slurm = Fake(job("7", "RUNNING"), job("7", "FAILED", exit_code=4), then=printing(made.paper.output, report))
    _, told, _ = followed(slurm, [made])
    assert [line for line in told if line.startswith("  ")] == ["  milabench: no room is left"]


def test_a_job_that_slurm_could_not_begin_says_which_file_it_needs(tmp_path: Path) -> None:
    (made,) = there(tmp_path, "7")
    ended = job("7", "FAILED", reason="JobLaunchFailure", signal=53, nodes="n3")
    code, told, _ = followed(Fake(ended), [made])
    cannot = f"cannot write {made.paper.output} there: is the base there, and writable?"
    assert (code, told[0]) == (
        ExitCode.ENVIRONMENT,
        f"job 7 on n3 could not be started (JobLaunchFailure), most likely as it {cannot}",
    )


def test_of_a_run_that_goes_on_what_had_ended_before_is_summed_up(tmp_path: Path) -> None:
    trials = []
    for name in ("a", "b"):
        command = Command(tag=name, benchmark=name, node="n1", argv=("x",), cwd="/")
        trials.append(Trial(benchmark=name, jobs=(Job(tag=name, commands=(command,), deadline_s=60.0),)))
    (made,) = there(tmp_path, "7")
    record = Record.create(made.run, plan=Plan(phase="run", trials=tuple(trials)), facts={}, suite={})
    record.started(trials[0])
    record.note(trials[0], Outcome(kind="failed", reason="exit code 3"))
    record.finish("interrupted")

    def resume(count: int) -> None:
        if count == 2:
            again = Record.reopen(made.run)
            again.started(trials[1])
            again.note(trials[1], Outcome(kind="failed", reason="exit code 4"))
            again.finish("complete")

    runs = [job("7", "PENDING", reason="Priority"), job("7", "RUNNING")]
    _, told, _ = followed(Fake(*runs, job("7", "FAILED", exit_code=1), then=resume), [made])
    assert told == [
        "7 so far: 1 of 2 done (1 failed), 1 not begun",
        "job 7 waits: Priority: others come before it",
        "job 7 is running",
        "FAIL b (failed): exit code 4",
        "job 7 has ended",
    ]
