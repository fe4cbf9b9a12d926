"""Which runs a report is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from milabench.app.report import find_run, report
from milabench.cli.shared import show_run
from milabench.errors import RunDirError
from milabench.plan import Plan
from milabench.record import Record
from milabench.rundir import RunDir

TIME, LATER = "2025-03-01_10-00-00", "2025-03-02_10-00-00"


def made(base: Path, folder: str, lr: float = 0.1, **facts: object) -> RunDir:
    plan = Plan(phase="run", trials=(), configs={"a": {"name": "a", "argv": {"--lr": lr}}})
    run = Record.create(base / "runs" / folder, plan=plan, facts={"started": 1.0, **facts}, suite={})
    run.finish("complete")
    return run


def test_a_run_is_not_pooled_with_itself(tmp_path: Path) -> None:
    run = made(tmp_path, f"mine.{TIME}")
    with pytest.raises(RunDirError, match="the same run is given twice"):
        report(["mine", str(run.path)], tmp_path)


def test_a_name_of_several_runs_is_refused_with_all_of_them(tmp_path: Path) -> None:
    made(tmp_path, f"mine.{TIME}")
    made(tmp_path, f"mine.{LATER}")
    with pytest.raises(RunDirError, match=rf"give one of mine\.{TIME}, mine\.{LATER}"):
        report(["mine"], tmp_path)


@pytest.mark.parametrize("folder", [f"m0.5-w2.{TIME}", f"m0.5-w2.{TIME}.{LATER}", "m0.5-w2"])
def test_a_short_name_is_all_but_the_time(tmp_path: Path, folder: str) -> None:
    run = made(tmp_path, folder)
    made(tmp_path, f"m0.{TIME}")
    made(tmp_path, f"m0.5-w3.{TIME}")
    assert find_run("m0.5-w2", tmp_path).path == run.path


@pytest.mark.parametrize(("lr", "warnings"), [(0.1, 0), (0.2, 1)])
def test_runs_of_different_work_are_pooled_with_a_warning(tmp_path: Path, lr: float, warnings: int) -> None:
    made(tmp_path, f"mine.{TIME}")
    made(tmp_path, f"yours.{TIME}", lr=lr)
    found = report(["mine", "yours"], tmp_path).warnings
    assert [warning for warning in found if "other arguments" in warning][:1] == [
        "a: the pooled runs gave it other arguments: its rate mixes different work"
    ][:warnings]


def of_multirun(mult: float) -> dict[str, object]:
    return {"name": f"x{mult}", "options": {"sizer.auto": 1, "sizer.mult": mult}}


@pytest.mark.parametrize(
    ("other", "warnings"),
    [
        (of_multirun(2), ["the pooled runs differ in sizer.mult, which a multirun varied: they are no repeats"]),
        (of_multirun(1), []),
        (None, []),
    ],
)
def test_runs_of_a_multirun_that_differ_are_pooled_with_a_warning(
    tmp_path: Path, other: object, warnings: list[str]
) -> None:
    made(tmp_path, "mine.2025-03-01_10-00-00", multirun=of_multirun(1))
    made(tmp_path, "yours.2025-03-01_10-00-00", multirun=other)
    found = report(["mine", "yours"], tmp_path).warnings
    assert [warning for warning in found if "multirun" in warning] == warnings


@pytest.mark.parametrize("name", ["nowhere", "~nobody-there/x", "x" * 300])
def test_what_is_no_run_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunDirError, match="it is no folder, and no run below .* has that name"):
        report([name], tmp_path)


@pytest.mark.parametrize("given", [".", "../mine", "../../runs/mine", "sub/.."])
def test_a_run_given_by_a_relative_path_knows_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    run = made(tmp_path, "mine")
    (run.path / "sub").mkdir()
    monkeypatch.chdir(run.path)
    assert find_run(given, tmp_path / "elsewhere").path == run.path.resolve()


def test_a_run_given_by_its_name_in_the_folder_of_runs_knows_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path, "mine")
    monkeypatch.chdir(tmp_path / "runs")
    assert find_run("mine", tmp_path / "elsewhere").path == run.path


@pytest.mark.parametrize(
    ("state", "told"),
    [(None, True), ("interrupted", True), ("incomplete", True), ("complete", False), ("failed", False)],
)
def test_a_run_that_was_cut_off_is_reported_with_how_to_go_on(tmp_path: Path, state: str | None, told: bool) -> None:
    folder = tmp_path / "runs" / f"my run.{TIME}"
    run = Record.create(folder, plan=Plan(phase="run", trials=(), configs={}), facts={"started": 1.0}, suite={})
    if state is not None:
        run.finish(state)
    run.release()
    line = f"{folder.name} is not complete: milabench resume '{folder}' goes on with it"
    assert (line in report([str(folder)], tmp_path).warnings) == told


def test_the_report_at_the_end_of_a_run_says_itself_that_the_run_is_not_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / f"mine.{TIME}"
    run = Record.create(folder, plan=Plan(phase="run", trials=(), configs={}), facts={"started": 1.0}, suite={})
    run.finish("incomplete")
    show_run(run)
    assert f"mine.{TIME} is not complete: milabench resume" in " ".join(capsys.readouterr().out.split())
