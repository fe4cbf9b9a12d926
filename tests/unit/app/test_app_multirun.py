"""A multirun: the options of each of its runs, and what is done once, each time, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleets import alone
from milabench.app import prepare as prepare_module
from milabench.app import run as run_module
from milabench.app.multirun import asked
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.console import Console
from milabench.errors import ConfigurationError, ExitCode, Mark, PreflightError, Problem, UsageError
from milabench.execute import Interrupt
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import HANGS, FakeHost, Script, Story, exits
from milabench.rundir import RunDir, runs

FACTS = {"hostname": "here", "cpus": 4, "memory_bytes": 2**34, "arch": "cpu", "devices": [], "environ": {}, "ips": []}
REPLIES = {"probe": {"facts": FACTS}, "missing": {"names": []}, "freeze": {"packages": {}}}
SUITE = "one: {command: {argv: [x]}, plan: {method: njobs}}\n"
SYSTEM = """\
system: {arch: cpu}
multirun:
  runs:
    - name: "bs{sizer.mult}.{time}"
      matrix:
        sizer.auto: 1
        sizer.mult: [0.5, 2]
"""


def options(folder: Path, **fields: Any) -> Options:
    (folder / "suite.yaml").write_text(SUITE)
    (folder / "system.yaml").write_text(SYSTEM)
    files = {"config": str(folder / "suite.yaml"), "system": folder / "system.yaml", "base": folder / "base"}
    return Options(**{**files, **fields})


def test_each_run_has_its_values_below_the_operators_own(tmp_path: Path) -> None:
    found = asked(options(tmp_path, override=("system.options.cpu.max=3",), run_name="night"))
    assert [(each.options.run_name, each.options.override) for each in found] == [
        (
            f"night-bs{mult}",
            ("system.options.sizer.auto=1", f"system.options.sizer.mult={mult}", "system.options.cpu.max=3"),
        )
        for mult in ("0.5", "2")
    ]
    assert [each.values for each in found] == [{"sizer.auto": 1, "sizer.mult": mult} for mult in (0.5, 2)]
    assert found[0].title == "bs0.5: sizer.auto=1, sizer.mult=0.5"


@pytest.mark.parametrize(
    "override",
    [
        "system.options.sizer.mult=9",
        "system.options[sizer.mult]=9",
        "system.options.sizer={mult: 9}",
        "system.options={sizer.mult: 9}",
    ],
)
def test_what_the_multirun_varies_cannot_be_set_by_the_command_line(tmp_path: Path, override: str) -> None:
    told = "the command line sets sizer.mult, which the multirun varies: take one of them out"
    with pytest.raises(UsageError, match=told):
        asked(options(tmp_path, override=("system.options.cpu.max=3", override)))


def test_options_of_their_own_set_what_a_multirun_may_vary(tmp_path: Path) -> None:
    given = options(tmp_path, shape={"gpus": 2, "gpu_memory": None})
    file = tmp_path / "system.yaml"
    for option, refused in [("gpu.count", True), ("gpu.capacity", False)]:
        file.write_text(f"multirun: {{runs: [{{name: 'g{{{option}}}', matrix: {{{option}: [1, 2]}}}}]}}\n")
        if refused:
            with pytest.raises(UsageError, match=f"sets {option}, which"):
                asked(given)
        else:
            assert len(asked(given)) == 2


def test_without_a_multirun_there_is_one_run_with_the_options_as_they_are(tmp_path: Path) -> None:
    given = options(tmp_path)
    (tmp_path / "system.yaml").write_text("system: {arch: cpu}\n")
    assert [(each.options, each.variation) for each in asked(given)] == [(given, None)]
    assert asked(replace(given, system=None))[0].variation is None


@pytest.mark.parametrize(
    ("line", "column", "place"),
    [(1, 29, (6, 21)), (1, 1, (6, 9)), (2, 29, (7, 22)), (3, 5, ("--override", 1, 5))],
)
def test_a_mistake_in_a_value_is_told_where_the_file_has_it(
    tmp_path: Path, line: int, column: int, place: tuple[Any, ...]
) -> None:
    each = asked(options(tmp_path))[0]
    problem = Problem(code="E301", message="wrong", mark=Mark(file="--override", line=line, column=column))
    with pytest.raises(ConfigurationError) as raised, each.told_at_its_place():
        raise ConfigurationError([problem])
    mark = raised.value.problems[0].mark
    assert mark is not None
    wanted = place if len(place) == 3 else (str(tmp_path / "system.yaml"), *place)
    assert (mark.file, mark.line, mark.column) == wanted


# Runs ------------------------------------------------------------------------------------------------------------


def operation(given: Options, script: Script | None = None) -> Operation:
    host = FakeHost(script, REPLIES)
    return Operation(options=given, console=Console(quiet=True), fleet=alone(host), interrupt=Interrupt())


def run(work: Operation, monkeypatch: pytest.MonkeyPatch) -> tuple[ExitCode, list[RunDir]]:
    @asynccontextmanager
    async def at_work(*_: object) -> AsyncIterator[Operation]:
        yield work

    monkeypatch.setattr(run_module, "operation", at_work)
    ended: list[RunDir] = []
    return asyncio.run(run_module.run(work.options, work.console, ended.append)), ended


def test_every_run_has_a_directory_of_its_own_that_says_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, ended = run(operation(options(tmp_path)), monkeypatch)
    assert code == ExitCode.OK
    assert [record.path.name.rpartition(".")[0] for record in ended] == ["bs0.5", "bs2"]
    assert [record.facts()["multirun"] for record in ended] == [
        {"name": "bs0.5", "options": {"sizer.auto": 1, "sizer.mult": 0.5}},
        {"name": "bs2", "options": {"sizer.auto": 1, "sizer.mult": 2}},
    ]
    assert sorted(record.path for record in ended) == sorted(runs(tmp_path / "base"))


def test_a_failure_of_one_run_is_the_exit_code_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def script(launch: Launch) -> Story:
        started.append(launch.command.tag)
        return exits(3) if len(started) == 1 else Story()

    code, ended = run(operation(options(tmp_path), script), monkeypatch)
    assert (code, len(ended)) == (ExitCode.FAILED, 2)


def test_an_interrupted_run_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    works: list[Operation] = []

    def script(_: Launch) -> Story:
        works[0].interrupt.set()
        return HANGS

    works.append(operation(options(tmp_path), script))
    code, ended = run(works[0], monkeypatch)
    assert (code, [record.facts()["state"] for record in ended]) == (ExitCode.INTERRUPTED, ["interrupted"])


def test_a_run_is_sized_by_what_those_before_it_have_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, sizes, seen = options(tmp_path), tmp_path / "sizes.yaml", list[str]()
    (tmp_path / "suite.yaml").write_text("one: {command: {argv: [x, auto_batch(32)]}, plan: {method: njobs}}\n")
    matrix = f"{{sizer.auto: 1, sizer.optimized: 1, sizer.multiple: [1, 2], sizer.config: {sizes}}}"
    (tmp_path / "system.yaml").write_text(f"multirun: {{runs: [{{name: 'm{{sizer.multiple}}', matrix: {matrix}}}]}}\n")
    sizes.write_text("one: {optimized: 4}\n")

    def script(launch: Launch) -> Story:
        seen.append(launch.command.argv[-1])
        sizes.write_text("one: {optimized: 16}\n")
        return Story()

    assert run(operation(given, script), monkeypatch)[0] == ExitCode.OK
    assert seen == ["4", "16"]


def test_the_names_of_several_runs_are_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="a multirun makes several"):
        run(operation(options(tmp_path, run_name="./here")), monkeypatch)


def test_nothing_begins_when_one_of_the_runs_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = options(tmp_path)
    (tmp_path / "suite.yaml").write_text(SUITE.replace("plan:", "requires_capabilities: ['gpu.count > 1'], plan:"))
    with pytest.raises(PreflightError, match="nothing of run bs0.5 can run on this system: one: requires"):
        run(operation(given), monkeypatch)
    assert runs(tmp_path / "base") == []


def test_what_runs_share_is_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = options(tmp_path)
    (tmp_path / "bench").mkdir()
    for name in ("main.py", "prepare.py"):
        (tmp_path / "bench" / name).touch()
    (tmp_path / "suite.yaml").write_text("one: {definition: bench, plan: {method: njobs}}\n")
    host = FakeHost(None, REPLIES)
    work = replace(operation(given), fleet=alone(host))

    @asynccontextmanager
    async def at_work(*_: object) -> AsyncIterator[Operation]:
        yield work

    monkeypatch.setattr(prepare_module, "operation", at_work)
    assert asyncio.run(prepare_module.prepare(given, work.console)) == ExitCode.OK
    assert host.launched == ["one.prepare"]
