"""Options: where they may be set, which layer has the say, and what is wrong with a value, a name or a variable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milabench.document import Node
from milabench.errors import ConfigurationError, Problem
from milabench.options import OPTIONS, Options, Unfit, place_of, read_value, rows, variable
from milabench.problems import Problems
from milabench.system import Operator, System, asked_arch, layers, resolve, values

FACTS: Mapping[str, Any] = {"hostname": "here", "ips": [], "arch": "cpu", "cpus": 4, "devices": [], "environ": {}}


def resolved(folder: Path, text: str | None, environ: Mapping[str, str], *changes: str) -> System:
    file = None
    if text is not None:
        file = folder / "system.yaml"
        file.write_text(text)
    return resolve(file, FACTS, {}, Operator(environ=environ, changes=changes))


def problems_of(folder: Path, text: str | None, environ: Mapping[str, str], *changes: str) -> Sequence[Problem]:
    with pytest.raises(ConfigurationError) as raised:
        resolved(folder, text, environ, *changes)
    return raised.value.problems


SAMPLES: Mapping[str, tuple[str, str, str, Any, Any, Any]] = {
    "sizer.auto": ("true", "no", "1", True, False, True),
    "sizer.mult": ("0.5", "2", "1.5", 0.5, 2.0, 1.5),
    "sizer.capacity": ("64Go", "1GiB", "All", 64 * 10**9, 2**30, "All"),
    "sizer.save": ("a.yaml", "b.yaml", "c.yaml", "a.yaml", "b.yaml", "c.yaml"),
    "cpu.n_workers": ("3", "4", "5", 3, 4, 5),
    "torchrun.port": ("1", "2", "3", 1, 2, 3),
    "gpu.count": ("1", "2", "3", 1, 2, 3),
    "docker.args": ("[-v, 'a b']", "-v 'c d'", "[e]", ["-v", "a b"], ["-v", "c d"], ["e"]),
    "sshkey": ("~/a", "~/b", "~/c", "~/a", "~/b", "~/c"),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("layers", range(8))
def test_the_command_line_wins_over_variables_these_over_the_file_and_that_over_the_default(
    tmp_path: Path, name: str, layers: int
) -> None:
    file, environ, change, from_file, from_environ, from_change = SAMPLES[name]
    *parts, last = place_of(name).split(".")
    text = "{".join(f"{part}: " for part in parts) + f"{{{last}: {file}}}" + "}" * (len(parts) - 1) + "\n"
    system = resolved(
        tmp_path,
        text if layers & 1 else None,
        {variable(name): environ} if layers & 2 else {},
        *([f"{place_of(name)}={change}"] if layers & 4 else []),
    )
    wanted = OPTIONS[name].default
    for bit, candidate in ((1, from_file), (2, from_environ), (4, from_change)):
        wanted = candidate if layers & bit else wanted
    assert system.options[name] == wanted


@pytest.mark.parametrize(
    "text",
    [
        "sizer: {auto: 1, mult: 2}",
        "sizer.auto: 1, sizer.mult: 2",
        "sizer: {auto: 1}, sizer.mult: '2'",
        "sizer.auto: on, sizer: {mult: 2.0}",
    ],
)
def test_an_option_is_written_nested_or_dotted(tmp_path: Path, text: str) -> None:
    system = resolved(tmp_path, f"system: {{options: {{{text}}}}}\n", {})
    assert system.options.given == {"sizer.auto": True, "sizer.mult": 2.0}
    assert values(system)["options"]["sizer"]["mult"] == 2.0


def test_what_has_a_place_of_its_own_may_stand_among_the_options(tmp_path: Path) -> None:
    system = resolved(tmp_path, "system: {options: {gpu: {count: 3}, gpu.arch: rocm, dirs.data: /d}}\n", {})
    assert (system.arch, len(system.main.devices), system.options["dirs.data"]) == ("rocm", 3, "/d")


@pytest.mark.parametrize("called", ["MILABENCH_ARCH", "MILABENCH_GPU_ARCH"])
def test_the_architecture_has_milabenchs_variable_too(tmp_path: Path, called: str) -> None:
    assert resolved(tmp_path, "system: {arch: rocm}\n", {called: "cuda"}).arch == "cuda"
    assert resolved(tmp_path, None, {called: "cuda"}, "system.arch=hpu").arch == "hpu"
    assert asked_arch({called: "cuda"}, ()) == "cuda"
    assert asked_arch({called: "cuda"}, ("x.argv.--a=1", "system.arch=hpu")) == "hpu"
    assert asked_arch({}, ("x.argv.--a=1",)) is None


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    assert resolved(tmp_path, "system: {options: {sizer.auto: 1}}\n", {"MILABENCH_SIZER_AUTO": ""}).options.sizer.auto


def test_null_on_the_command_line_takes_an_option_away(tmp_path: Path) -> None:
    text = "system: {options: {sizer.batch_size: 8}}\n"
    assert resolved(tmp_path, text, {}, "system.options.sizer.batch_size=null").options.sizer.batch_size is None


def test_references_see_what_lies_over_the_file(tmp_path: Path) -> None:
    text = "system: {docker: {base: /a, args: ['${system.docker.base}/data']}}\n"
    assert resolved(tmp_path, text, {"MILABENCH_DOCKER_BASE": "/b"}).options["docker.args"] == ["/b/data"]


def test_a_value_knows_the_layers_below_it(tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text("system: {options: {sizer.auto: 1}}\n")
    found = Problems()
    node = layers.read(file, {"MILABENCH_SIZER_AUTO": "no"}, ["x.a=1", "system.options.sizer.auto=1"], found)
    for key in ("options", "sizer", "auto"):
        assert node is not None
        assert isinstance(node.value, dict)
        node = node.value[key]

    def chain(node: Node | None) -> Iterator[tuple[str, object]]:
        while node is not None:
            yield str(node.mark), node.value
            node = node.before

    assert list(chain(node)) == [
        ("--override:2:27", 1),
        ("MILABENCH_SIZER_AUTO:1:1", "no"),
        (f"{file}:1:32", 1),
    ]
    assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize(
    ("text", "code", "place", "suggestion"),
    [
        ("system: {options: {sizer.atuo: 1}}\n", "E201", (1, 20), "sizer.auto"),
        ("system: {options: {sizer: {atuo: 1}}}\n", "E201", (1, 28), "sizer.auto"),
        ("system: {options: {szier: {auto: 1}}}\n", "E201", (1, 28), "sizer.auto"),
        ("system: {options: {sizer: 1}}\n", "E201", (1, 20), None),
        ("system: {options: {sizer.auto: maybe}}\n", "E301", (1, 32), None),
        ("system: {options: {sizer.auto: [1]}}\n", "E301", (1, 32), None),
        ("system: {options: {sizer.batch_size: 2.5}}\n", "E301", (1, 38), None),
        ("system: {options: {sizer.batch_size: true}}\n", "E301", (1, 38), None),
        ("system: {options: {sizer.batch_size: 0}}\n", "E302", (1, 38), None),
        ("system: {options: {sizer.mult: two}}\n", "E301", (1, 32), None),
        ("system: {options: {sizer.mult: -1}}\n", "E302", (1, 32), None),
        ("system: {options: {sizer.capacity: 10 apples}}\n", "E303", (1, 36), None),
        ("system: {options: {sizer.save: ''}}\n", "E301", (1, 32), None),
        ("system: {options: {torchrun: {port: 70000}}}\n", "E302", (1, 37), None),
        ("system: {options: {monitor.interval: 60s}}\n", "E302", (1, 38), None),
        ("system: {docker: {args: {a: b}}}\n", "E301", (1, 25), None),
        ('system: {docker: {args: "\'"}}\n', "E301", (1, 25), None),
        ("system: {dirs: {date: /d}}\n", "E201", (1, 17), "data"),
    ],
)
def test_a_mistake_in_an_option_is_told_with_its_place(
    tmp_path: Path, text: str, code: str, place: tuple[int, int], suggestion: str | None
) -> None:
    (problem,) = problems_of(tmp_path, text, {})
    assert problem.mark is not None
    assert problem.mark.file == str(tmp_path / "system.yaml")
    assert (problem.code, (problem.mark.line, problem.mark.column), problem.suggestion) == (code, place, suggestion)


def test_a_mistake_in_a_variable_names_it(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, None, {"MILABENCH_SIZER_AUTO": "maybe"})
    assert str(problem) == "MILABENCH_SIZER_AUTO:1:1: system.options.sizer.auto needs true or false, not 'maybe'"
    (problem,) = problems_of(tmp_path, None, {"MILABENCH_SIZER_ATUO": "1", "MILABENCH_HF_TOKEN": "x"})
    assert (problem.code, problem.suggestion) == ("E201", "MILABENCH_SIZER_AUTO")


@pytest.mark.parametrize("interval", ["-1", "0.05", "50ms", "15.1", "1m"])
def test_an_interval_that_no_samples_can_have_is_told_with_those_they_can(tmp_path: Path, interval: str) -> None:
    (problem,) = problems_of(tmp_path, None, {"MILABENCH_MONITOR_INTERVAL": interval})
    expected = f"system.options.monitor.interval needs 0, or a number from 0.1 to 15, not '{interval}'"
    assert str(problem) == f"MILABENCH_MONITOR_INTERVAL:1:1: {expected}"


@pytest.mark.parametrize(("interval", "seconds"), [("0", 0), ("0s", 0), ("100ms", 0.1), ("0.1", 0.1), ("15s", 15)])
def test_samples_are_taken_at_intervals_within_bounds_or_not_at_all(
    tmp_path: Path, interval: str, seconds: float
) -> None:
    found = resolved(tmp_path, None, {"MILABENCH_MONITOR_INTERVAL": interval})
    assert found.options["monitor.interval"] == pytest.approx(seconds)


def test_a_mistake_on_the_command_line_names_it(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, None, {}, "system.options.sizer.atuo=1")
    assert str(problem) == "--override:1:1: 'sizer.atuo' is no option (did you mean 'sizer.auto'?)"
    (problem,) = problems_of(tmp_path, None, {}, "x.enabled=no", "system.nodes=3")
    assert str(problem) == "--override:2:14: system.nodes needs a list of nodes, not a number"


@pytest.mark.parametrize("called", ["MILABENCH_CPU_MAX", "MILABENCH_SIZER_ADD", "MILABENCH_GPU_COUNT"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_of_four_hundred_digits_is_out_of_range(tmp_path: Path, called: str, sign: str) -> None:
    (problem,) = problems_of(tmp_path, None, {called: f"{sign}{'9' * 400}"})
    assert (problem.code, str(problem.mark), "…" in problem.message) == ("E302", f"{called}:1:1", True)
    (problem,) = problems_of(tmp_path, None, {called: f"{sign}inf"})
    assert problem.code == "E301"


def test_an_option_without_effect_is_a_warning_that_says_why(tmp_path: Path) -> None:
    system = resolved(tmp_path, None, {"MILABENCH_USE_UV": "1"})
    assert [(each.code, each.message) for each in system.warnings] == [
        ("W111", "system.options.use_uv does nothing: --installer chooses")
    ]


def test_every_option_has_a_row_and_a_variable_of_its_own() -> None:
    assert len({row[3] for row in rows()}) == len(OPTIONS) == len(list(rows()))
    assert ("sizer.auto", "switch", "off", "MILABENCH_SIZER_AUTO") in [row[:4] for row in rows()]
    assert {row[0]: row[2] for row in rows()}["cpu.reserved_cores"] == "0"


def test_defaults_are_values_their_options_can_have() -> None:
    for name, option in OPTIONS.items():
        if option.default is not None:
            assert read_value(option, Node(option.default, "", 1, 1)) == option.default, name


def test_sections_have_all_their_options() -> None:
    assert (Options().sizer.multiple, Options({"sizer.multiple": 0}).sizer.multiple) == (8, 0)
    assert (Options().cpu.min, Options().cpu.max, Options().cpu.enabled) == (2, 16, False)


@given(st.sampled_from(sorted(OPTIONS)), st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_a_value_is_read_or_refused(name: str, written: Any) -> None:
    try:
        read_value(OPTIONS[name], Node(written, "", 1, 1))
    except Unfit as error:
        assert str(error)


def test_a_variable_wins_over_what_the_file_says_of_one_node(tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text("system: {arch: cuda, gpu: {count: 8}, nodes: [{name: a, main: true, gpu: {count: 4}}, {name: b}]}")

    def counts(environ: dict[str, str], *changes: str) -> list[int]:
        system = resolve(file, {}, {}, Operator(environ=environ, changes=changes))
        return [len(node.devices) for node in system.nodes]

    assert counts({}) == [4, 8]
    assert counts({"MILABENCH_GPU_COUNT": "2"}) == [2, 2]
    assert counts({"MILABENCH_GPU_COUNT": "2"}, "system.gpu.count=3") == [3, 3]
