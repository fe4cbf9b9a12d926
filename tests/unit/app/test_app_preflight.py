"""What is asked of a node before runs, and what follows from what it tells."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fleets import alone
from milabench import plan as planning
from milabench.app import preflight
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.app.preflight import Subject
from milabench.console import Console
from milabench.errors import PreflightError
from milabench.execute import Interrupt
from milabench.execute.hosts.fake import FakeHost
from milabench.plan import Command, Job, Once, Plan, Trial, Workspace
from milabench.preflight import Finding, Wanted
from milabench.system.types import Device, Node, System

SYSTEM = System(arch="cuda", nodes=(Node(name="local", devices=(Device(id=0, name="GPU"),)),))
LOW = {"limits": {"nofile": [100, 200]}}
ABSENT = {"made": False, "base": {}, "parts": [], "changed": None}
MADE = {**ABSENT, "made": True}


def work(conditions: dict[str, Any], folder: Path, *, quiet: bool = True, **options: Any) -> tuple[Operation, FakeHost]:
    host = FakeHost(replies={"conditions": {"conditions": conditions}})
    asked = Options(config="s.yaml", base=folder, environ=options.pop("environ", {}), **options)
    console = Console(quiet=quiet)
    return Operation(options=asked, console=console, fleet=alone(host), interrupt=Interrupt()), host


def wanted(record: str = "r", **changes: Any) -> Subject:
    once = Once(record=record, folder="/base/venv/torch", base={}, parts={})
    return SYSTEM, replace(Wanted(plan=Plan(phase="run", trials=()), environments={"torch": once}), **changes)


def check(operation: Operation, *subjects: Subject, **how: Any) -> tuple[Finding, ...]:
    return asyncio.run(preflight.check(operation, subjects, **how))


def test_each_of_several_runs_is_judged_by_its_own_environments(tmp_path: Path) -> None:
    operation, host = work({"environments": {"0 torch": MADE, "1 torch": ABSENT}}, tmp_path)
    with pytest.raises(PreflightError, match="^not installed: torch. Type: milabench install"):
        check(operation, wanted("a"), wanted("b"))
    ((op, fields),) = host.requests  # all of it in one request
    assert (op, fields["arch"]) == ("conditions", "cuda")
    assert {name: once["record"] for name, once in fields["environments"].items()} == {"0 torch": "a", "1 torch": "b"}


def test_what_several_runs_share_is_found_once(tmp_path: Path) -> None:
    operation, _ = work({"environments": {"0 torch": ABSENT, "1 torch": ABSENT}, **LOW}, tmp_path)
    found = check(operation, wanted("a"), wanted("b"), force=True)
    assert [each.code for each in found] == ["not-installed", "few-open-files"]


def test_of_a_node_that_tells_nothing_nothing_is_found(tmp_path: Path) -> None:
    operation = replace(work({}, tmp_path)[0], fleet=alone(FakeHost()))
    assert check(operation, wanted()) == ()


def test_what_is_told_before_is_not_told_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    operation, _ = work(LOW, tmp_path, quiet=False)
    found = check(operation, wanted())
    assert capsys.readouterr().err.startswith("warning: a process may have 100 files open. Type: ulimit -n 200")
    fewer, _ = work({"limits": {"nofile": [90, 200]}}, tmp_path, quiet=False)
    assert [each.what for each in check(fewer, wanted(), known=found)] == ["a process may have 90 files open"]
    assert capsys.readouterr().err == ""


def test_notes_are_a_line_that_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {"cpu": {"governors": {"powersave": 4}}, "kernel": {"clock_is_kept_right": False}}
    operation, _ = work(told, tmp_path, quiet=False)
    assert len(check(operation, wanted())) == 2
    command = f"milabench doctor --config s.yaml --base {tmp_path}"
    assert capsys.readouterr().err == f"2 notes on this machine: {command}\n"


def test_all_that_is_blocking_is_told_with_its_consequence_and_the_way_past_it(tmp_path: Path) -> None:
    few = {"limits": {"nofile": [20, 20]}, "environments": {"0 torch": ABSENT}}
    with pytest.raises(PreflightError) as raised:
        check(work(few, tmp_path)[0], wanted())
    lines = str(raised.value).splitlines()
    assert lines[0] == "2 things stand in the way:"
    assert lines[1].startswith("not installed: torch. Type: ")
    assert lines[2] == "  (benchmarks of these environments cannot start)"
    assert lines[-1].startswith("go on all the same: --force; all that was found: milabench doctor --config s.yaml")


def test_what_ends_as_a_sentence_has_no_full_stop_after_it() -> None:
    asks = Finding(
        code="c", severity="blocking", subject="s", what="no answer: is it running?", consequence="none", remedy="look"
    )
    with pytest.raises(PreflightError, match=r"^no answer: is it running\? Look\n"):
        preflight.stop([asks])


def test_secrets_stand_in_findings_by_name(tmp_path: Path) -> None:
    environ = {"MY_TOKEN": "hf_0123456789"}
    operation, _ = work({"environments": {"0 torch": ABSENT}}, tmp_path, environ=environ)
    typed = wanted(commands={"install": "milabench install --override a.env.X=hf_0123456789"})
    (finding,) = check(operation, typed, force=True)
    assert "milabench install --override a.env.X=${secret:MY_TOKEN}" in finding.remedy


def test_the_run_is_looked_for_where_its_name_leads(tmp_path: Path) -> None:
    for name, path in (("mine", tmp_path / "runs"), (f"{tmp_path}/else/mine", tmp_path / "else" / "mine")):
        operation, host = work({}, tmp_path, run_name=name, environ={"TMPDIR": "/fast"})
        check(operation, wanted())
        folders = host.requests[0][1]["folders"]
        assert (folders["runs"], folders["tmp"]) == (str(path), "/fast")


def test_folders_that_commands_start_in_are_asked_for_on_other_nodes(tmp_path: Path) -> None:
    def command(cwd: str) -> Command:
        return Command(tag="a", benchmark="a", node="local", argv=("x",), cwd=cwd)

    job = Job(tag="a", commands=(command("/srv/b"), command("/srv/a"), command(f"{tmp_path}/code/a")), deadline_s=1)
    runs = wanted(plan=Plan(phase="run", trials=(Trial(benchmark="a", jobs=(job,)),)), environments={})
    operation, host = work({"absent": ["/srv/a"]}, tmp_path)
    there = replace(SYSTEM, nodes=(replace(SYSTEM.main, local=False),))
    with pytest.raises(PreflightError, match="^the folder that a runs in is not there: /srv/a"):
        check(operation, (there, runs[1]))
    assert host.requests[0][1]["needed"] == ["/srv/a", "/srv/b"]
    check(operation, runs, force=True)
    assert host.requests[-1][1]["needed"] == []


def test_a_token_is_looked_for_where_benchmarks_look_and_where_a_login_leaves_it(tmp_path: Path) -> None:
    def tokens(**environ: str) -> tuple[str, ...]:
        return tuple(preflight._tokens(Options(config=None, base=tmp_path, environ=environ)))

    assert tokens(HF_HOME="/hub") == (f"{tmp_path}/data/token", "/hub/token")
    assert tokens(XDG_CACHE_HOME="/cache") == (f"{tmp_path}/data/token", "/cache/huggingface/token")
    assert tokens(HF_TOKEN_PATH="/my/token", HF_HOME="/hub") == ("/my/token", "/hub/token")


def test_a_run_that_is_gone_on_with_records_what_was_found_after_what_it_has() -> None:
    first = Finding(code="a", severity="note", subject="s", what="w", consequence="c", remedy="r")
    second = replace(first, code="b")
    before = preflight.recorded([first])
    assert [each["code"] for each in preflight.recorded([second, first], before)] == ["a", "b"]


def test_a_node_on_which_nothing_that_is_prepared_can_run_need_not_have_the_data_of_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Once(record="r", folder=None, base={}, parts={})
    needs = {name: ({}, {"own": once, planning.DELIVERY: once}) for name in ("local", "far")}
    needs["far"] = ({}, {"other": once, planning.DELIVERY: once})
    monkeypatch.setattr(planning, "needs_of_all", lambda _: dict(needs))
    suite = SimpleNamespace(benchmarks=())
    ready = cast("Workspace", SimpleNamespace(suite=suite, system=SYSTEM, scaling=None))
    asked = preflight.wanted(Options(config="s.yaml", base=tmp_path), ready, wanted()[1].plan, without=("other",))
    assert list(asked.data) == ["own", planning.DELIVERY]
    assert asked.elsewhere == {"far": ({}, {})}
