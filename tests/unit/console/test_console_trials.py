"""Which trials run, and how long what is left can take."""

from __future__ import annotations

from milabench.console.trials import Trials
from milabench.outcome import Outcome
from milabench.plan.types import Command, Job, Plan, Trial


def trial(name: str, *deadlines_s: float | None) -> Trial:
    commands = [
        Command(tag=f"{name}.{n}", benchmark=name, node="n", argv=("x",), cwd="/") for n in range(len(deadlines_s))
    ]
    pairs = zip(commands, deadlines_s, strict=True)
    return Trial(benchmark=name, jobs=tuple(Job(tag=c.tag, commands=(c,), deadline_s=s) for c, s in pairs))


def test_what_is_left_is_what_waits_and_the_rest_of_what_runs() -> None:
    now = 0.0
    trials = (trial("a", 100.0, 50.0), trial("b", 200.0), trial("c", 400.0))
    seen = Trials(Plan(phase="run", trials=trials), lambda: now)
    assert seen.overview("running", [], {}).left_s == 700.0
    seen.begin("a", "[1/3]")
    seen.begin("c", "[3/3]")  # side by side
    now = 30.0
    assert seen.overview("running", [], {}).left_s == 200.0 + 70.0 + 370.0
    now = 130.0
    assert seen.overview("running", [], {}).left_s == 200.0 + 0.0 + 270.0
    assert seen.end("a", Outcome(kind="failed")) == 130.0
    found = seen.overview("running", [], {})
    assert (found.left_s, found.ended, found.failed, found.total, found.elapsed_s) == (470.0, 1, 1, 3, 130.0)


def test_how_long_is_unknown_where_a_trial_has_no_limit() -> None:
    seen = Trials(Plan(phase="run", trials=(trial("a", 100.0), trial("b", None, 5.0))), lambda: 0.0)
    assert seen.overview("running", [], {}).left_s is None


def test_only_what_runs_is_asked_about() -> None:
    only = trial("a", 100.0, 100.0)
    seen = Trials(Plan(phase="run", trials=(only,)))
    assert seen.commands == []
    seen.begin("a", "[1/1]")
    for job in only.jobs:
        seen.add(job.commands[0], job)
    seen.remove("a.0")
    assert [command.tag for command in seen.commands] == ["a.1"]
    seen.end("a", Outcome(kind="ok"))
    assert seen.commands == []


def test_a_trial_is_told_of_when_it_has_run_for_long_since_the_last_line() -> None:
    now = 0.0
    only = trial("a", 100.0)
    seen = Trials(Plan(phase="run", trials=(only,)), lambda: now)
    assert seen.untold(60.0) == (60.0, [])
    now = 1.0
    seen.begin("a", "[1/1]")
    seen.add(only.jobs[0].commands[0], only.jobs[0])
    now = 60.0
    assert seen.untold(60.0) == (1.0, [])
    now = 61.0
    assert seen.untold(60.0) == (60.0, [("[1/1]", "a", 60.0, ["a.0"])])
    assert seen.untold(60.0) == (60.0, [])
