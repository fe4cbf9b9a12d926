from __future__ import annotations

from typing import Any

import pytest

from milabench.problems import Code
from milabench.suite import Limit, Placement


@pytest.mark.parametrize(
    ("written", "field", "value"),
    [
        ("plan: {method: njobs, n: 3, share: true}", "placement", Placement(method="njobs", n=3, share=True)),
        ("plan: {method: per-gpu}", "placement", Placement(method="per_gpu")),
        ("plan: {method: per_node}", "placement", Placement(method="per_node")),
        ("max_duration: 10m", "max_duration_s", 600.0),
        ("max_duration: 90", "max_duration_s", 90.0),
        ("max_duration: 1.5", "max_duration_s", 1.5),
        ("max_duration: null", "max_duration_s", 600.0),
        ("num_machines: 2", "nodes", 2),
        ("weight: 2.5", "weight", 2.5),
        ("weight: 1e-1", "weight", 0.1),
        ("env: {A: 1, B: 0.10, C: true, D: null, E: x}", "env", {"A": "1", "B": "0.10", "C": "true", "E": "x"}),
        ("tags: [b, a, b]", "tags", ("a", "b")),
        ("install_variant: unpinned", "variant", "unpinned"),
        ("install_variant: ${system.arch}-ci", "variant", "${system.arch}-ci"),
        ("requires_capabilities: \"'${system.arch}' == 'cuda'\"", "requires", ("arch == 'cuda'",)),
        ("requires_capabilities: gpu.count > 1", "requires", ("gpu.count > 1",)),
        ("voir: {options: {stop: 7, skip: 0}}", "limit", Limit(skip=0, observations=7)),
        ("voir: {options: {stop: {seconds: 30s}}}", "limit", Limit(observations=None, seconds=30.0)),
        ("voir: {options: {stop: {observations: 9, seconds: 3}}}", "limit", Limit(observations=9, seconds=3.0)),
        ("voir: {options: {stop: {precision: 2%}}}", "limit", Limit(observations=None, precision=0.02)),
        (
            "voir: {options: {stop: {precision: 0.5, seconds: 1m}}}",
            "limit",
            Limit(observations=None, seconds=60.0, precision=0.5),
        ),
        ("voir: {options: {stop: null}}", "limit", Limit(observations=None)),
        ("voir: null", "limit", Limit()),
        ("enabled: false", "enabled", False),
        ("group: g", "install_group", "g"),
        ("validation: {usage: {gpu_load_threshold: 50%}}", "validation", {"usage": {"gpu_load_threshold": "50%"}}),
    ],
)
def test_an_entry_is_read_into_typed_values(suites: Any, written: str, field: str, value: object) -> None:
    assert getattr(suites.one(f"x:\n  inherits: _base\n  {written}\n"), field) == value


def test_what_is_not_written_has_a_default(suites: Any) -> None:
    one = suites.one("x: {inherits: _base}\n")
    assert (one.group, one.install_group, one.weight, one.nodes, one.variant) == ("x", "x", 1.0, 1, None)
    assert one.definition == str(suites.folder / "bench")
    assert (one.mark.line, one.mark.column) == (2, 1)


def test_one_job_over_nodes_and_one_on_each_contradict_each_other(suites: Any) -> None:
    (problem,) = suites.problems("x: {inherits: _base, plan: {method: per_node}, num_machines: 2}\n")
    assert (problem.code, problem.path, problem.mark.line, problem.mark.column) == ("E217", "x.num_machines", 2, 62)


def test_a_config_is_the_merged_entry_with_all_that_milabench_adds(suites: Any) -> None:
    one = suites.one(
        "x:\n  inherits: _base\n  argv: {--a: 1, --b: null, --c: [x, y]}\n  env: {N: 3}\n  max_duration: 10m\n"
        "  server: {argv: {m: true}}\n  x-note: mine\n  url: null\n  gradient_accumulation_steps: 4\n"
    )
    assert one.config == {
        "name": "x",
        "group": "x",
        "install_group": "x",
        "tags": [],
        "enabled": True,
        "weight": 1.0,
        "definition": str(suites.folder / "bench"),
        "plan": {"method": "per_gpu", "n": 1},
        "argv": {"--a": 1, "--c": ["x", "y"]},
        "env": {"N": "3"},
        "max_duration": 600,
        "server": {"argv": {"m": True}},
        "x-note": "mine",
        "gradient_accumulation_steps": 4,
        "voir": {"options": {"stop": 60, "skip": 5, "interval": "1s"}},
    }


def test_stop_null_reaches_the_benchmark(suites: Any) -> None:
    one = suites.one("x: {inherits: _base, voir: {options: {stop: null}}}\n")
    assert one.config["voir"]["options"] == {"stop": None, "skip": 5, "interval": "1s"}


def test_an_argv_list_is_taken_word_for_word_and_replaces_a_map(suites: Any) -> None:
    one = suites.one("_p: {inherits: _base, argv: {--a: 1}}\nx: {inherits: _p, argv: [--lr, 0.10, true, '']}\n")
    assert one.config["argv"] == ["--lr", "0.10", "true", ""]


@pytest.mark.parametrize(
    ("weights", "result"), [(("", ""), [1.0, 1.0]), (("weight: 2", ""), [2.0, 0.0]), (("weight: 0", ""), [0.0, 0.0])]
)
def test_weights_are_one_where_none_is_given_and_else_zero(
    suites: Any, weights: tuple[str, str], result: list[float]
) -> None:
    text = "".join(f"b{index}:\n  inherits: _base\n  {weight}\n" for index, weight in enumerate(weights))
    assert [one.weight for one in suites.all(text).values()] == result


def test_a_command_needs_no_folder_and_no_plan(suites: Any) -> None:
    suites.write("_c: {command: {argv: [sh, copy.sh, 64], cwd: .}}\n", "sub/low.yaml")
    one = suites.one("include: sub/low.yaml\nx: {inherits: _c, command: {env: {N: 1}}}\n")
    assert one.program is not None
    assert (one.program.argv, one.program.cwd) == (("sh", "copy.sh", "64"), str(suites.folder / "sub"))
    assert one.program.env == {"N": "1"}
    assert (one.definition, one.placement) == (None, Placement(method="njobs"))
    assert one.config["command"] == {
        "argv": ["sh", "copy.sh", "64"],
        "cwd": str(suites.folder / "sub"),
        "env": {"N": "1"},
    }


def test_a_definition_is_relative_to_the_file_that_writes_it(suites: Any) -> None:
    (suites.folder / "sub" / "own").mkdir(parents=True)
    suites.write("x: {inherits: _base, definition: own}\n", "sub/low.yaml")
    assert suites.one("include: sub/low.yaml\nx: {weight: 1}\n").definition == str(suites.folder / "sub" / "own")


@pytest.mark.parametrize(
    ("written", "code", "suggestion"),
    [
        ("wieght: 2", "E201", "weight"),
        ("plan: {method: per_gpu, number: 2}", "E201", None),
        ("plan: {method: per_node, n: 2}", "E217", None),
        ("plan: {method: per_node, share: true}", "E217", None),
        ("voir: {options: {stopp: 3}}", "E201", "stop"),
        ("voir: {option: {stop: 3}}", "E201", "options"),
        ("validation: {usage: {gpu_load_treshold: 0.5}}", "E201", "gpu_load_threshold"),
        ("plan: {method: n_jobs}", "E306", "njobs"),
        ("plan: {method: njobs, n: 0}", "E302", None),
        ("plan: njobs", "E301", None),
        ("plan: {n: 2, method: null}", "E210", None),
        ("plan: null", "E210", None),
        ("definition: null", "E211", None),
        ("command: {argv: [ls]}", "E211", None),
        ("definition: nowhere", "E212", None),
        ("definition: {git: 'https://example.org/x', commit: main}", "E213", None),
        ("definition: [bench]", "E301", None),
        ("weight: -1", "E302", None),
        ("weight: heavy", "E301", None),
        ("weight: .nan", "E301", None),
        ("enabled: yes", "E301", None),
        ("enabled: 1", "E301", None),
        ("num_machines: 0", "E302", None),
        ("num_machines: 1.5", "E301", None),
        ("max_duration: 10 GiB", "E303", None),
        ("max_duration: 0", "E302", None),
        ("max_duration: [1]", "E301", None),
        ("voir: {options: {interval: soon}}", "E303", None),
        ("voir: {options: {skip: -1}}", "E302", None),
        ("voir: {options: {stop: many}}", "E301", None),
        ("voir: {options: {stop: {precision: 0%}}}", "E302", None),
        ("voir: {options: {stop: {precision: 1}}}", "E302", None),
        ("voir: {options: {stop: {precision: 101%}}}", "E302", None),
        ("voir: {options: {stop: {precision: tight}}}", "E301", None),
        ("voir: {options: {stop: {precision: tight%}}}", "E303", None),
        ("voir: {options: {stop: {precision: ٥%}}}", "E303", None),
        ("validation: {usage: {gpu_mem_threshold: 50}}", "E302", None),
        ("argv: {--a: false}", "E304", None),
        ("argv: {--: word}", "E301", None),
        ("argv: {--a: {b: 1}}", "E301", None),
        ("argv: [a, null]", "E301", None),
        ("argv: --a", "E301", None),
        ("server: {argv: {--a: false}}", "E304", None),
        ("env: {A: [1]}", "E301", None),
        ("env: [A=1]", "E301", None),
        ("tags: [[a]]", "E301", None),
        ("group: a/b", "E209", None),
        ("requires_capabilities: ['gpu.count >']", "E305", None),
        ("requires_capabilities: ['__import__(1)']", "E305", None),
        ("install_group: ''", "E301", None),
        ("use_deepspeed: 3", "E301", None),
    ],
)
def test_what_is_wrong_in_an_entry_is_one_mistake_with_its_place(
    suites: Any, written: str, code: str, suggestion: str | None
) -> None:
    (problem,) = suites.problems(f"x:\n  inherits: _base\n  {written}\n")
    assert (problem.code, problem.suggestion) == (code, suggestion)
    assert problem.mark is not None
    assert problem.mark.file.endswith("suite.yaml")
    assert problem.mark.line == (2 if code in ("E210", "E211") else 4)
    assert problem.path.startswith("x")


def test_false_in_argv_says_what_to_write_instead(suites: Any) -> None:
    assert "use null" in suites.problems("x: {inherits: _base, argv: {--a: false}}\n")[0].message


def test_all_mistakes_are_told_at_once_in_the_order_of_their_places(suites: Any) -> None:
    text = "x: {definition: nope, enabled: 3}\ny: {inherits: _base,\n  wieght: 1,\n  argv: {--a: false}}\n"
    assert suites.places(text) == [("E210", 1), ("E212", 1), ("E301", 1), ("E201", 3), ("E304", 4)]


def test_a_mistake_in_a_template_is_told_once_also_when_nobody_inherits_it(suites: Any) -> None:
    text = "_p: {inherits: _base, env: 3}\n_q: {num_machines: 0}\nx: {inherits: _p}\ny: {inherits: _p}\n"
    assert suites.places(text) == [("E301", 1), ("E302", 2)]


def test_a_template_may_leave_out_what_others_add(suites: Any) -> None:
    text = (
        "_p: {plan: {n: 2}, requires_capabilities: ['len(nodes) >= ${..num_machines}'], command: {cwd: .}}\n"
        "x: {inherits: _p, num_machines: 1, command: {argv: [ls]}}\n"
    )
    assert suites.one(text).placement == Placement(method="njobs", n=2)


@pytest.mark.parametrize(
    ("text", "code", "count"),
    [
        ("x: {inherits: _base, capabilities: {n: 1}}\n", "W101", 1),
        ("x: {inherits: _base}\nresnet152: {enabled: false}\n", "W102", 1),
        ("defaults: {a: 1}\nbenchmarks: {y: {definition: nope}}\nx: {inherits: _base}\n", "W103", 1),
        ("x: {inherits: _base, <<<: {a: 1}}\n", "W104", 1),
        ("x: {inherits: _base, docker_image: i}\n", "W105", 1),
        ("x: {inherits: _base, config_base: /}\n", "W106", 1),
        ("x: {command: {argv: [ls]}, argv: {--a: 1}}\n", "W107", 1),
    ],
)
def test_what_old_suites_hold_and_does_nothing_is_a_warning(suites: Any, text: str, code: str, count: int) -> None:
    suite = suites.resolve(text)
    assert [warning.code for warning in suite.warnings] == [code]
    assert [one.name for one in suite.benchmarks] == ["x"]
    assert suite.warnings[0].mark is not None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x: 3\n", "E301"),
        ("system: {arch: cuda}\n", "E108"),
        ("'a b': {inherits: _base}\n", "E209"),
        ("gone: {enabled: true, definition: bench}\n", "E210"),
    ],
)
def test_an_entry_that_is_no_benchmark_is_told(suites: Any, text: str, code: str) -> None:
    assert [one.code for one in suites.problems(text)] == [code]


def test_every_code_is_used_once_and_says_what_it_means() -> None:
    assert len({code.code for code in Code}) == len(Code)
    assert all(code.meaning and code.code[0] in "EW" for code in Code)
