"""What words and functions come to on a node, as milabench counts cores and workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plans import FACTS, planned, workspace, write

from milabench import plan, suite, system
from milabench.errors import ConfigurationError
from milabench.plan import Plan
from milabench.plan.placeholders import values
from milabench.plan.site import Dirs
from milabench.system.types import Device, Node, System

DIRS = Dirs(**{name: f"/{name}" for name in ("base", "venv", "code", "data", "runs", "extra", "cache")})


def argv(plan: Plan) -> tuple[str, ...]:
    ((command,),) = [job.commands for trial in plan.trials for job in trial.jobs]
    return command.argv


def of_program(folder: Path, *tokens: str, **given: Any) -> tuple[str, ...]:
    words = ", ".join(f"'{token}'" for token in tokens)
    return argv(planned(folder, {"suite.yaml": f"x: {{command: {{argv: [{words}]}}}}\n"}, **given))


@pytest.mark.parametrize(
    ("cpus", "gpus", "options", "wanted"),
    [
        (64, 8, {}, (64, 8, 8, 8)),
        (64, 2, {}, (64, 2, 32, 16)),
        (4, 8, {}, (4, 8, 1, 2)),
        (4, 8, {"cpu.min": "0"}, (4, 8, 1, 0)),
        (64, 8, {"cpu.max": "4"}, (64, 8, 8, 4)),
        (64, 8, {"cpu.reserved_cores": "16"}, (48, 8, 6, 6)),
        (64, 8, {"cpu.total_count": "32", "cpu.reserved_cores": "8"}, (24, 8, 3, 3)),
        (4, 1, {"cpu.reserved_cores": "9"}, (1, 1, 1, 2)),
        (64, 8, {"cpu.n_workers": "99"}, (64, 8, 8, 99)),
        (64, 8, {"cpu.n_workers": "0"}, (64, 8, 8, 0)),
        (6, 0, {}, (6, 1, 6, 6)),
    ],
)
def test_cores_are_counted_as_milabench_does(
    cpus: int, gpus: int, options: dict[str, str], wanted: tuple[int, ...]
) -> None:
    changes = [f"system.options.{name}={value}" for name, value in options.items()]
    given = system.resolve(None, {**FACTS, "cpus": cpus}, {}, system.Operator(changes=changes)).options
    devices = tuple(Device(id=number, name="GPU") for number in range(gpus))
    node = Node(name="local", cpus=cpus, devices=devices)
    found = values(System(arch="cuda", nodes=(node,), options=given), node, DIRS, "x")
    assert (found["cpu_count"], found["gpu_count"], found["cpu_per_gpu"], found["n_worker"]) == wanted


def test_functions_are_computed_when_the_plan_is_made(tmp_path: Path) -> None:
    tokens = ("auto({n_worker}, 8)", "b=auto_batch(32)", "expr({gpu_count} * 2)")
    assert of_program(tmp_path, *tokens, cpus=4) == ("8", "b=32", "2")
    assert of_program(tmp_path, *tokens, cpus=4, environ={"MILABENCH_CPU_ENABLED": "1"}) == ("4", "b=32", "2")


def test_a_system_has_values_for_tokens(tmp_path: Path) -> None:
    tokens = ("{options.cpu.max}", "{options.torchrun.port}", "{gpu.count}", "{nodes[0].name}", "${system.arch}")
    environ = {"MILABENCH_CPU_MAX": "3"}
    assert of_program(tmp_path, *tokens, environ=environ) == ("3", "29400", "0", "local", "cpu")


def test_options_and_positionals_of_a_benchmark_are_computed(tmp_path: Path) -> None:
    text = (
        "x:\n  definition: bench\n  plan: {method: njobs}\n"
        "  argv: {'batch_size=auto_batch(2)': true, --workers: 'auto({n_worker}, 8)', --n: 'expr(2 * 3)'}\n"
    )
    plan = planned(tmp_path, {"suite.yaml": text, "bench/main.py": ""})
    assert argv(plan)[-5:] == ("batch_size=2", "--workers", "8", "--n", "6")
    assert plan.configs["x"]["argv"]["--workers"] == "8"


@pytest.mark.parametrize(
    ("token", "code", "message"),
    [
        ("{nodes[7].ip}", "E410", "x.command.argv[0]: {nodes[7].ip} is nothing that this system has"),
        ("{sshkey}", "E410", "x.command.argv[0]: {sshkey} has no value on this system"),
        ("expr(1 // ({gpu_count} - 1))", "E412", "x.command.argv[0]: expr(1 // (1 - 1)): division by zero"),
    ],
)
def test_what_this_system_cannot_be_asked_is_a_mistake(tmp_path: Path, token: str, code: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        of_program(tmp_path, token)
    assert [(each.code, each.message) for each in raised.value.problems] == [(code, message)]


NOWHERE = """\
_base:
  definition: bench
  plan: {method: njobs}
  env: {A: '%s'}
x:
  inherits: _base
  argv:
    --lr: %s
    b={sshkey}: true
y:
  command:
    argv: [x]
    env:
      A: a
      B: "-{sshkey}"
"""


@pytest.mark.parametrize(
    ("env", "lr", "wanted"),
    [
        ("{sshkey}", "'{sshkey}'", [("x.env.A", 4, 12), ("x.argv.--lr", 8, 11), ("y.command.env.B", 15, 10)]),
        ("{sshkey}", "[1, 'k={sshkey}']", [("x.argv.--lr[1]", 8, 15), ("y.command.env.B", 15, 10)]),
        ("a", "1", [("x.argv.b={sshkey}", 9, 5), ("y.command.env.B", 15, 10)]),
    ],
)
def test_what_this_system_lacks_is_told_where_it_is_written(
    tmp_path: Path, env: str, lr: str, wanted: list[tuple[str, int, int]]
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        planned(tmp_path, {"suite.yaml": NOWHERE % (env, lr), "bench/main.py": ""})
    places = [(each.path, each.mark.line, each.mark.column) for each in raised.value.problems if each.mark]
    assert sorted(places) == sorted(wanted)


def test_what_a_benchfile_asks_for_in_vain_is_told_of_its_benchmark(tmp_path: Path) -> None:
    benchfile = """
    from milabench.pack import Package

    class Mine(Package):
        @property
        def argv(self):
            return ["{sshkey}"]

    __pack__ = Mine
    """
    text = "x: {definition: bench, plan: {method: njobs}}\n"
    with pytest.raises(ConfigurationError) as raised:
        planned(tmp_path, {"suite.yaml": text, "bench/main.py": "", "bench/benchfile.py": benchfile})
    assert [str(each) for each in raised.value.problems] == [
        f"{tmp_path}/suite.yaml:1:1: x: {{sshkey}} has no value on this system"
    ]


def test_with_legacy_what_stands_for_nothing_is_passed_on_as_it_is_written(tmp_path: Path) -> None:
    write(tmp_path, {"suite.yaml": "x: {command: {argv: ['{ncpu}/{arch}', '{arch}']}}\n"})
    found = suite.resolve(tmp_path / "suite.yaml", lenient=True)
    assert [(each.code, each.mark and each.mark.column) for each in found.warnings] == [("W113", 22)]
    whole = workspace(tmp_path, {"suite.yaml": "x: {command: {argv: [a]}}\n"})
    lenient = replace(whole, suite=found)
    assert argv(plan.plan(lenient, "run")) == ("{ncpu}/{arch}", "cpu")


@pytest.mark.parametrize("token", ["{nodes.ip}", "{nodes.name.x}", "{cpu.count.x}", "{nodes[0][1]}"])
def test_a_word_that_leads_nowhere_is_passed_on_with_legacy(tmp_path: Path, token: str) -> None:
    write(tmp_path, {"suite.yaml": f"x: {{command: {{argv: ['{token}']}}}}\n"})
    whole = workspace(tmp_path / "other", {"suite.yaml": "x: {command: {argv: [a]}}\n"})
    lenient = replace(whole, suite=suite.resolve(tmp_path / "suite.yaml", lenient=True))
    assert argv(plan.plan(lenient, "run")) == (token,)


def test_with_legacy_a_function_that_cannot_be_read_is_still_a_mistake(tmp_path: Path) -> None:
    write(tmp_path, {"suite.yaml": "x: {command: {argv: ['auto(1)']}}\n"})
    with pytest.raises(ConfigurationError, match="auto needs an expression and a default"):
        suite.resolve(tmp_path / "suite.yaml", lenient=True)


def test_the_system_stands_in_what_is_handed_on_in_the_variant_and_in_conditions(tmp_path: Path) -> None:
    text = """
    x:
      definition: x
      plan: {method: njobs}
      install_variant: ${system.arch}-ci
      pip: {args: ['--index=${system.arch}', '{word}']}
      x-note: on ${system.gpu.count}
      requires_capabilities: ["arch == '${system.arch}'", '${system.gpu.count} == 2']
    y: {command: {argv: [a]}, requires_capabilities: ['${system.gpu.count} > 2']}
    """
    files = {"suite.yaml": text, "x/main.py": "", "x/requirements.in": "a\n", "x/requirements.cuda-ci.txt": "a==1\n"}
    found = planned(tmp_path, files, arch="cuda", gpus=2)
    assert [(each.benchmark, each.reason) for each in found.skipped] == [("y", "requires gpu.count > 2")]
    config = found.configs["x"]
    assert (config["pip"], config["x-note"]) == ({"args": ["--index=cuda", "{word}"]}, "on 2")
    (trial,) = planned(tmp_path, files, "install", arch="cuda", gpus=2).trials
    assert any("requirements.cuda-ci.txt" in word for each in trial.jobs[0].commands for word in each.argv)
