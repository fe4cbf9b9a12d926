"""Where benchmarks are placed, and what their processes are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plans import FACTS, planned, workspace

from milabench import system
from milabench.errors import ConfigurationError, UsageError
from milabench.plan import Command, Plan
from milabench.suite.conditions import NAMES, NODE

CUDA: dict[str, Any] = {"arch": "cuda", "gpus": 2, "cpus": 16}
SUITE = """
one:
  definition: bench
  group: mine
  install_group: torch
  plan: {{method: {method}}}
  argv: {{--workers: "{{cpu_per_gpu}}", --fast: true}}
"""
FILES = {"suite.yaml": SUITE.format(method="per_gpu"), "bench/main.py": ""}


def commands(plan: Plan) -> list[Command]:
    return [command for trial in plan.trials for job in trial.jobs for command in job.commands]


def test_one_process_per_device_sees_only_its_own(tmp_path: Path) -> None:
    found = commands(planned(tmp_path, FILES, **CUDA))
    assert [(each.tag, each.devices, each.env["CUDA_VISIBLE_DEVICES"]) for each in found] == [
        ("one.D0", (0,), "0"),
        ("one.D1", (1,), "1"),
    ]
    assert found[0].argv == ("/base/venv/torch/bin/python", "/base/code/bench/main.py", "--workers", "8", "--fast")
    assert found[0].cwd == "/base/code/bench"
    assert found[0].env["OMP_NUM_THREADS"] == "8"
    assert found[0].env["PATH"].startswith("/base/venv/torch/bin:")
    assert found[0].env["MILABENCH_DIR_EXTRA"] == "/base/extra/mine"


@pytest.mark.parametrize(
    ("entries", "repeats", "refused"), [(1, 5, False), (5, 1, False), (1, 6, True), (6, 1, True), (3, 2, True)]
)
def test_more_jobs_than_a_plan_may_have_are_refused_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: int, repeats: int, *, refused: bool
) -> None:
    monkeypatch.setattr("milabench.plan.MOST_JOBS", 5)
    if not refused:
        assert len(planned(tmp_path, programs(entries), repeats=repeats).trials) == 5
        return
    with pytest.raises(UsageError, match=r"^that would be 6 jobs.* a plan has 5 at most: choose fewer by --select"):
        planned(tmp_path, programs(entries), repeats=repeats)


def test_what_cannot_run_here_is_none_of_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milabench.plan.MOST_JOBS", 5)
    assert planned(tmp_path, programs(6, "requires_capabilities: ['nodes > 9']"), repeats=9).trials == ()


def programs(number: int, more: str = "weight: 1") -> dict[str, str]:
    entry = f"{{{more}, command: {{argv: [x], cwd: .}}, plan: {{method: njobs, n: 1}}}}"
    return {"suite.yaml": "".join(f"b{index}: {entry}\n" for index in range(number))}


@pytest.mark.parametrize(
    ("arch", "variable"),
    [
        ("cuda", "CUDA_VISIBLE_DEVICES"),
        ("rocm", "ROCR_VISIBLE_DEVICES"),
        ("xpu", "ZE_AFFINITY_MASK"),
        ("hpu", "HABANA_VISIBLE_MODULES"),
    ],
)
def test_each_vendor_has_its_selection_variable(tmp_path: Path, arch: str, variable: str) -> None:
    assert [each.env[variable] for each in commands(planned(tmp_path, FILES, arch=arch, gpus=2))] == ["0", "1"]


def test_a_machine_without_accelerators_counts_as_one_device_and_selects_none(tmp_path: Path) -> None:
    (found,) = commands(planned(tmp_path, FILES))
    assert (found.tag, found.devices) == ("one.D0", (0,))
    assert not {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"} & found.env.keys()


@pytest.mark.parametrize(
    ("placement", "places"),
    [
        ("{method: njobs, n: 1}", [("one", (0, 1))]),
        ("{method: njobs, n: 2}", [("one.0", (0, 1)), ("one.1", (0, 1))]),
        ("{method: njobs, n: 2, share: true}", [("one.0", (0,)), ("one.1", (1,))]),
        ("{method: per_node}", [("one", (0, 1))]),
    ],
)
@pytest.mark.parametrize("what", ["definition: bench", "command: {argv: [x], cwd: .}"])
def test_copies_are_placed_alike_for_folders_and_programs(
    tmp_path: Path, placement: str, places: list[tuple[str, tuple[int, ...]]], what: str
) -> None:
    text = f"one: {{{what}, plan: {placement}}}\n"
    found = commands(planned(tmp_path, {"suite.yaml": text, "bench/main.py": ""}, **CUDA))
    assert [(each.tag, each.devices) for each in found] == places


def test_repeats_are_trials_of_their_own(tmp_path: Path) -> None:
    plan = planned(tmp_path, FILES, repeats=2)
    assert [trial.id for trial in plan.trials] == ["one", "one.R1"]
    assert [each.tag for each in commands(plan)] == ["one.D0", "one.R1.D0"]


def test_a_voirfile_puts_the_script_under_voir(tmp_path: Path) -> None:
    (found,) = commands(planned(tmp_path, {**FILES, "bench/voirfile.py": ""}))
    assert found.argv[1:4] == ("-m", "benchmate.overseer", "/base/code/bench/main.py")
    assert found.env["VOIRFILE"] == "/base/code/bench/voirfile.py"


def test_a_benchfile_says_what_to_run_and_with_which_variables(tmp_path: Path) -> None:
    benchfile = """
    import os
    from milabench.pack import Package
    from milabench.commands import PackCommand, WrapperCommand

    class Mine(Package):
        main_script = "train.py"
        def make_env(self):
            return {"MINE": self.config["name"]}
        def build_run_plan(self):
            os.environ["CHANGED"] = "yes"
            os.environ["HF_TOKEN"] = "secret value"
            return WrapperCommand(PackCommand(self, *self.argv, lazy=True), "numactl", "--all").use_stdout()

    __pack__ = Mine
    """
    files = {**FILES, "bench/train.py": "", "bench/benchfile.py": benchfile}
    plan = planned(tmp_path, files, environ={"HF_TOKEN": "secret value"})
    (found,) = commands(plan)
    python = "/base/venv/torch/bin/python"
    assert found.argv[:4] == ("numactl", "--all", python, "/base/code/bench/train.py")
    assert found.metrics == "stdout"
    assert (found.env["MINE"], found.env["CHANGED"]) == ("one", "yes")
    assert plan.trials[0].jobs[0].secrets == ("HF_TOKEN",)
    assert "secret value" not in repr(plan)


def test_an_overridden_run_is_awaited_in_a_child(tmp_path: Path) -> None:
    benchfile = """
    from milabench.pack import Package

    class __pack__(Package):
        async def run(self):
            await self.execute("true")
    """
    (found,) = commands(planned(tmp_path, {**FILES, "bench/benchfile.py": benchfile}))
    assert found.argv[0] == "/usr/bin/python3"
    assert found.argv[-1] == "run"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("requires_capabilities: [\"gpu['count'] > 1\"]", "requires gpu['count'] > 1"),
        ("num_machines: 2", "needs 2 machines, the system has 1"),
    ],
)
def test_what_cannot_run_here_is_skipped_with_its_reason(tmp_path: Path, entry: str, reason: str) -> None:
    plan = planned(tmp_path, {**FILES, "suite.yaml": FILES["suite.yaml"] + f"  {entry}\n"})
    assert [(skip.benchmark, skip.reason) for skip in plan.skipped] == [("one", reason)]
    assert plan.trials == ()


@pytest.mark.parametrize("condition", ["gpu.arch > 1", "nodes[7].ip == ''", "arch > 2", "1 / 0 > 1"])
def test_a_condition_that_cannot_be_computed_of_a_system_is_a_mistake(tmp_path: Path, condition: str) -> None:
    entry = f'  requires_capabilities: ["{condition}"]\n'
    with pytest.raises(ConfigurationError) as caught:
        planned(tmp_path, {**FILES, "suite.yaml": FILES["suite.yaml"] + entry})
    (problem,) = caught.value.problems
    lines = (tmp_path / "suite.yaml").read_text().splitlines()
    assert (problem.code, problem.path) == ("E305", "one.requires_capabilities[0]")
    assert problem.mark is not None
    assert lines[problem.mark.line - 1][problem.mark.column - 1 :] == f'"{condition}"]'
    assert condition in str(caught.value)


def _named(values: Any) -> Any:
    """Return the tree of the names in nested values."""
    return {key: _named(value) for key, value in values.items()} if isinstance(values, dict) else None


def test_conditions_may_ask_for_what_a_system_has() -> None:
    known = system.values(system.resolve(None, FACTS))
    assert _named({**known, "num_machines": 1}) == NAMES
    assert _named(known["nodes"][0]) == NODE


def test_an_unknown_placeholder_is_told_with_the_nearest(tmp_path: Path) -> None:
    files = {**FILES, "suite.yaml": FILES["suite.yaml"].replace("cpu_per_gpu", "cpus_per_gpu")}
    with pytest.raises(ConfigurationError) as caught:
        planned(tmp_path, files)
    (problem,) = caught.value.problems
    assert "unknown placeholder {cpus_per_gpu}" in problem.message
    assert problem.suggestion == "cpu_per_gpu"
    assert problem.mark is not None


def test_json_in_a_token_is_no_placeholder(tmp_path: Path) -> None:
    files = {**FILES, "suite.yaml": FILES["suite.yaml"].replace('"{cpu_per_gpu}"', "'{\"image\": 10}'")}
    (found,) = commands(planned(tmp_path, files))
    assert '{"image": 10}' in found.argv


def test_two_folders_of_one_name_are_staged_apart(tmp_path: Path) -> None:
    text = "a: {definition: x/bench, plan: {method: per_gpu}}\nb: {definition: y/bench, plan: {method: per_gpu}}\n"
    plan = planned(tmp_path, {"suite.yaml": text, "x/bench/main.py": "", "y/bench/main.py": ""})
    assert [each.cwd for each in commands(plan)] == ["/base/code/bench", "/base/code/bench-2"]


def test_a_program_has_its_own_variables_and_place(tmp_path: Path) -> None:
    text = 'p: {command: {argv: [sh, "{arch}"], cwd: sub, env: {A: "1"}}, env: {B: "{cpu_count}"}}\n'
    (tmp_path / "sub").mkdir()
    (found,) = commands(planned(tmp_path, {"suite.yaml": text}))
    assert (found.argv, found.cwd, found.metrics) == (("sh", "cpu"), str(tmp_path / "sub"), "stdout")
    assert (found.env["A"], found.env["B"]) == ("1", "16")


@pytest.mark.parametrize(
    "what",
    ["definition: bench, env: {A: '{milabench_data}/x'}", "command: {argv: [x], env: {A: '{milabench_data}/x'}}"],
)
def test_placeholders_in_variables_are_resolved(tmp_path: Path, what: str) -> None:
    (found,) = commands(planned(tmp_path, {**FILES, "suite.yaml": f"one: {{{what}, plan: {{method: njobs}}}}\n"}))
    assert found.env["A"] == "/base/data/x"


@pytest.mark.parametrize(
    "what", ["definition: bench, env: {A: '{milabench_dta}'}", "command: {argv: [x], env: {A: '{milabench_dta}'}}"]
)
def test_placeholders_in_variables_are_checked_whatever_the_system(tmp_path: Path, what: str) -> None:
    with pytest.raises(ConfigurationError, match="unknown placeholder {milabench_dta}"):
        workspace(tmp_path, {**FILES, "suite.yaml": f"one: {{{what}, plan: {{method: njobs}}}}\n"})


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("{}", {"skip": 5, "stop": 60, "interval": "1s"}),
        ('{stop: "30", skip: "3", interval: 2}', {"skip": 3, "stop": 30, "interval": 2}),
        ("{stop: {seconds: 10s}, interval: 250ms}", {"skip": 5, "stop": {"seconds": 10.0}, "interval": "0.25s"}),
        ("{stop: {observations: 9}, gpu_poll: 500ms}", {"skip": 5, "stop": 9, "interval": "1s", "gpu_poll": 0.5}),
        (
            "{stop: {observations: 9, seconds: 1m}, skip: 0}",
            {"skip": 0, "stop": {"observations": 9, "seconds": 60.0}, "interval": "1s"},
        ),
        (
            "{stop: {precision: 2%, seconds: 60s}}",
            {"skip": 5, "stop": {"seconds": 60.0, "precision": 0.02}, "interval": "1s"},
        ),
        ("{stop: null, dash: x}", {"skip": 5, "stop": None, "interval": "1s", "dash": "x"}),
    ],
)
def test_a_process_is_told_its_limit_in_plain_numbers(tmp_path: Path, options: str, wanted: dict[str, Any]) -> None:
    text = FILES["suite.yaml"] + f"  voir: {{options: {options}}}\n"
    assert planned(tmp_path, {**FILES, "suite.yaml": text}).configs["one"]["voir"] == {"options": wanted}


@pytest.mark.parametrize(
    ("placement", "gpus", "reason"),
    [
        ("{method: njobs, n: 4, share: true}", 2, "n: 4 copies cannot share 2 devices"),
        ("{method: njobs, n: 2, share: true}", 1, "n: 2 copies cannot share 1 device"),
        ("{method: per_gpu}", 0, "per_gpu starts a process per device, and there is no device"),
    ],
)
@pytest.mark.parametrize("what", ["definition: bench", "command: {argv: [x]}"])
def test_copies_without_a_device_are_no_trial(
    tmp_path: Path, placement: str, gpus: int, reason: str, what: str
) -> None:
    text = f"one: {{{what}, plan: {placement}}}\n"
    plan = planned(tmp_path, {"suite.yaml": text, "bench/main.py": ""}, arch="cuda", gpus=gpus)
    assert (plan.trials, [skip.reason for skip in plan.skipped]) == ((), [reason])


@pytest.mark.parametrize("first", ["/tmp", "..", ".", "''", "extra.py"])
def test_a_suites_first_argument_is_never_the_script(tmp_path: Path, first: str) -> None:
    text = f"one: {{definition: bench, plan: {{method: njobs}}, argv: [{first}, --epochs, 3]}}\n"
    (found,) = commands(planned(tmp_path, {"suite.yaml": text, "bench/main.py": "", "bench/extra.py": ""}))
    assert found.argv[1:] == ("/base/code/bench/main.py", first.strip("'"), "--epochs", "3")


def test_what_a_benchfile_does_to_its_configuration_stays_with_it(tmp_path: Path) -> None:
    benchfile = """
    from milabench.pack import Package

    class __pack__(Package):
        def build_run_plan(self):
            self.config["argv"]["--more"] = 1
            self.config["voir"]["options"]["stop"] = 1
            return super().build_run_plan()
    """
    plan = planned(tmp_path, {**FILES, "bench/benchfile.py": benchfile})
    assert "--more" not in plan.configs["one"]["argv"]
    assert plan.configs["one"]["voir"]["options"]["stop"] == 60
    assert "--more" in commands(plan)[0].argv


def test_two_processes_cannot_have_one_tag(tmp_path: Path) -> None:
    text = (
        "a: {command: {argv: [x]}, plan: {method: njobs, n: 2}}\na.1: {command: {argv: [x]}, plan: {method: njobs}}\n"
    )
    with pytest.raises(ConfigurationError) as raised:
        planned(tmp_path, {"suite.yaml": text})
    (problem,) = raised.value.problems
    assert (problem.code, problem.mark and problem.mark.line, "a.1.*" in problem.message) == ("E208", 2, True)
