"""Batch sizes: which of the options has the say, the line through what was seen, and what is kept without enough."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import linear_regression
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from plans import FACTS, planned, workspace

from milabench import plan
from milabench.document import Node
from milabench.options import OPTIONS, Options, read_value
from milabench.plan import Plan, codec, decode
from milabench.plan.scaling import Entry, Observation, Scaling
from milabench.plan.sizing import Sizing, choose, fit, rounded
from milabench.render.plan import render

GIB, MIB = 2**30, 2**20


def seen(*rows: tuple[int, int] | tuple[int, int, float]) -> tuple[Observation, ...]:
    """Return observations of (batch size, memory in MiB, rate)."""
    return tuple(Observation(batch_size=size, memory_bytes=mib * MIB, perf=sum(perf)) for size, mib, *perf in rows)


SCALING = Scaling(
    file="/config/H100.yaml",
    entries={
        "line": Entry(observations=seen((10, 2000, 5), (20, 3000, 9), (30, 4000, 7))),  # size = MiB / 100 - 10
        "scattered": Entry(observations=seen((1, 0), (2, 2), (6, 4))),  # slope 2.5 / 2, through (2, 3)
        "best": Entry(observations=seen((8, 1000), (16, 2000)), optimized=138),
        "once": Entry(observations=seen((8, 1000, 2))),
        "flat": Entry(observations=seen((8, 1000), (16, 1000))),
        "same": Entry(observations=seen((8, 1000), (8, 1100), (8, 900))),
        "falling": Entry(observations=seen((8, 2000), (16, 1000))),
        "empty": Entry(observations=()),
    },
)


def chosen(benchmark: str, mib: int | None, scaling: Scaling | None = SCALING, **options: Any) -> tuple[int, str]:
    typed = {
        f"sizer.{name}": read_value(OPTIONS[f"sizer.{name}"], Node(given, "", 1, 1)) for name, given in options.items()
    }
    memory = None if mib is None else mib * MIB
    return choose(benchmark, 32, Options(typed).sizer, Sizing(scaling=scaling, memory_bytes=memory))


@pytest.mark.parametrize(
    ("options", "mib", "wanted"),
    [
        ({}, 8000, 32),
        ({"auto": 1}, 8000, 64),  # 70
        ({"auto": 1, "multiple": 0}, 8000, 70),
        ({"auto": 1, "multiple": 0}, 8049, 70),
        ({"auto": 1, "multiple": 0}, 8050, 70),  # 70.5
        ({"auto": 1, "multiple": 0}, 8051, 71),
        ({"auto": 1, "multiple": 10}, 8999, 80),
        ({"auto": 1}, 1700, 1),  # 7, and no multiple of 8 below
        ({"auto": 1}, 900, 32),  # -1
        ({"auto": 1, "multiple": 0}, 1090, 32),  # 0.9
        ({"auto": 1, "multiple": 0}, 1100, 1),
        ({"auto": 1, "power": 2}, 8000, 64),
        ({"auto": 1, "power": 2}, 7400, 64),
        ({"auto": 1, "power": 2}, 7300, 32),
        ({"auto": 1, "power": 3}, 8000, 27),
        ({"auto": 1, "power": 2}, 1100, 1),
        ({"auto": 1, "multiple": 0, "capacity": "4000MiB"}, 8000, 30),
        ({"auto": 1, "multiple": 0, "capacity": "4194304000"}, None, 30),
        ({"auto": 1, "multiple": 0, "capacity": "All"}, 8000, 70),
        ({"auto": 1, "optimized": 1}, 8000, 20),
        ({"auto": 1, "optimized": 1}, 2999, 10),
        ({"optimized": 1}, 8000, 32),
        ({"batch_size": 24}, 8000, 24),
        ({"auto": 1, "batch_size": 24}, 8000, 24),
        ({"auto": 1, "batch_size": 24, "add": 0}, 8000, 32),
        ({"auto": 1, "mult": 1.5}, 8000, 48),
        ({"auto": 1, "mult": 0.33}, 8000, 10),
        ({"auto": 1, "add": 8}, None, 40),
        ({"auto": 1, "add": -40}, None, 1),
        ({"auto": 1, "mult": 2, "add": -4}, None, 60),
        ({"auto": 1, "mult": 0}, None, 32),
        ({"mult": 2, "add": 8}, 8000, 32),
    ],
)
def test_a_batch_size_follows_the_options(options: dict[str, Any], mib: int | None, wanted: int) -> None:
    size, reason = chosen("line", mib, **options)
    assert size == wanted
    assert bool(reason) == (bool(options.get("auto")) or "batch_size" in options)


@pytest.mark.parametrize(
    ("benchmark", "mib", "options", "size", "reason"),
    [
        ("line", 3600, {"multiple": 0}, 26, "fills 3.5 GiB by 3 points of H100.yaml"),
        ("line", 8192, {}, 72, "fills 8.0 GiB by 3 points of H100.yaml, beyond the 30 seen at most"),
        ("line", 3600, {}, 24, "26 fills 3.5 GiB by 3 points of H100.yaml; rounded down to a multiple of 8"),
        ("line", 3600, {"power": 2}, 16, "26 fills 3.5 GiB by 3 points of H100.yaml; rounded down to a power of 2"),
        ("line", 1700, {}, 1, "7 fills 1.7 GiB by 3 points of H100.yaml; 1, since no multiple of 8 is below"),
        (
            *("line", 2048, {"capacity": "3600MiB", "multiple": 0}, 26),
            "fills 3.5 GiB (the device has 2.0 GiB) by 3 points of H100.yaml",
        ),
        (
            *("line", 2048, {"capacity": "3600MiB", "optimized": 1}, 20),
            "the fastest in H100.yaml that fits into 3.5 GiB (the device has 2.0 GiB)",
        ),
        ("line", 1024, {}, 32, "its own, since nothing fits into 1.0 GiB by 3 points of H100.yaml"),
        (
            *("falling", 8192, {}, 32),
            "its own, since larger batch sizes did not take more memory: "
            "the line through its observations does not rise",
        ),
        ("same", 8192, {}, 32, "its own, since a line needs observations at two batch sizes"),
        ("line", 8192, {"optimized": 1}, 20, "the fastest in H100.yaml that fits into 8.0 GiB"),
        ("line", 1024, {"optimized": 1}, 32, "its own, since H100.yaml has seen no batch size that fits into 1.0 GiB"),
        ("best", 8192, {"optimized": 1}, 138, "optimized in H100.yaml"),
        ("best", None, {"optimized": 1}, 138, "optimized in H100.yaml"),
        ("once", 8192, {}, 32, "its own, since a line needs observations at two batch sizes"),
        ("empty", 8192, {}, 32, "its own, since a line needs observations at two batch sizes"),
        ("flat", 8192, {}, 32, "its own, since all its observations took the same memory"),
        ("other", 8192, {}, 32, "its own, since H100.yaml says nothing of it"),
        ("line", None, {}, 32, "its own, since the memory of the device is not known (sizer.capacity says it)"),
        ("line", 8192, {"mult": 1.5, "add": 8}, 56, "sizer.mult 1.5 and sizer.add 8"),
        ("line", 8192, {"batch_size": 4}, 4, "sizer.batch_size"),
    ],
)
def test_the_reason_says_where_a_size_comes_from(
    benchmark: str, mib: int | None, options: dict[str, Any], size: int, reason: str
) -> None:
    assert chosen(benchmark, mib, **{"auto": 1, **options}) == (size, reason)


def test_without_a_scaling_file_sizes_are_kept() -> None:
    size, reason = chosen("line", 8192, scaling=None, auto=1)
    assert (size, reason) == (
        32,
        "its own, since there is no scaling file for this device (sizer.config names one)",
    )


# The line --------------------------------------------------------------------------------------------------------


def test_a_line_is_that_of_least_squares() -> None:
    assert fit([0, 2, 4], [1, 2, 6]) == (1.25, 0.5)
    assert fit([1, 1], [1, 2]) is None


POINTS = st.lists(st.tuples(st.integers(1, 10**12), st.integers(1, 10**5)), min_size=2, max_size=30)


@given(POINTS)
def test_a_line_is_that_of_the_standard_library(points: list[tuple[int, int]]) -> None:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    assume(len(set(xs)) > 1)
    line, wanted = fit(xs, ys), linear_regression(xs, ys)
    assert line is not None
    for x in xs:
        assert line[0] * x + line[1] == pytest.approx(wanted.slope * x + wanted.intercept, rel=1e-6, abs=1e-3)


@given(st.floats(-1e6, 1e6), st.integers(0, 64), st.integers(0, 8))
def test_a_size_is_at_least_one_and_as_it_is_asked_for(size: float, multiple: int, power: int) -> None:
    found = rounded(size, multiple, power)
    assert 1 <= found <= max(size + 0.5, 1)
    if power > 1:
        while found % power == 0:
            found //= power
        assert found == 1
    elif multiple:
        assert found % multiple == 0 or found == 1


# In a plan -------------------------------------------------------------------------------------------------------

SUITE = (
    "line: {definition: bench, plan: {method: per_gpu}, argv: {--batch: auto_batch(32), --w: 'auto({n_worker}, 8)'}}\n"
)
FILES = {"suite.yaml": SUITE, "bench/main.py": "", "bench/prepare.py": ""}
SHAPE: dict[str, Any] = {"arch": "cuda", "gpus": 2, "gpu_memory": 8000 * MIB}


def sized(folder: Path, phase: plan.Phase = "run", **environ: str) -> Plan:
    variables = {f"MILABENCH_{name}": text for name, text in environ.items()}
    ready = workspace(folder, FILES, environ=variables, **SHAPE)
    values = {name: getattr(ready, name) for name in ("suite", "system", "packages", "site", "environ")}
    return plan.plan(plan.Workspace(**values, scaling=SCALING), phase)


def batches(made: Plan) -> list[str]:
    commands = [command for trial in made.trials for job in trial.jobs for command in job.commands]
    return [command.argv[command.argv.index("--batch") + 1] for command in commands]


def test_a_plan_has_the_batch_size_and_says_why(tmp_path: Path) -> None:
    made = sized(tmp_path, SIZER_AUTO="1", CPU_ENABLED="1")
    assert batches(made) == ["64", "64"]
    (size,) = made.sizes
    assert (size.batch_size, size.default, size.workers) == (64, 32, 8)
    text = "batch size of line: 64 instead of 32 (70 fills 7.8 GiB by 3 points of H100.yaml; rounded down"
    assert text in render(made)
    assert made.configs["line"]["argv"]["--batch"] == "64"


def test_a_plan_without_sizing_says_nothing_of_it(tmp_path: Path) -> None:
    made = sized(tmp_path)
    assert batches(made) == ["32", "32"]
    assert "batch size" not in render(made)
    assert [(size.batch_size, size.workers, size.reason) for size in made.sizes] == [(32, 8, "")]


def test_sizes_are_read_back(tmp_path: Path) -> None:
    made = sized(tmp_path, SIZER_AUTO="1")
    document = json.loads("".join(codec.lines(made)))
    assert codec.from_json(document).sizes == made.sizes
    del document["sizes"]
    assert codec.from_json(document).sizes == ()
    with pytest.raises(decode.Wrong):
        decode.read(Plan, {**document, "sizes": [{}]})


@pytest.mark.parametrize("second", [3600, 8000])
def test_a_size_is_told_of_each_node_where_they_differ(tmp_path: Path, second: int) -> None:
    nodes = (
        f"{{name: a, ip: 10.0.0.1, main: true, gpu: {{capacity: 8000 MiB}}}}, "
        f"{{name: b, gpu: {{capacity: {second} MiB}}}}"
    )
    files = {**FILES, "suite.yaml": SUITE.replace("per_gpu", "per_node")}
    files["system.yaml"] = f"system: {{arch: cuda, gpu: {{count: 1}}, nodes: [{nodes}], options: {{sizer.auto: 1}}}}"
    ready = workspace(tmp_path, files, facts={**FACTS, "ips": ["10.0.0.1"]})
    made = plan.plan(replace(ready, scaling=SCALING), "run")
    found = [(size.node, size.batch_size, size.reason.partition(" by ")[0]) for size in made.sizes]
    if second == 8000:
        assert found == [("", 64, "70 fills 7.8 GiB")]
    else:
        assert found == [("a", 64, "70 fills 7.8 GiB"), ("b", 24, "26 fills 3.5 GiB")]
        assert "batch size of line on b: 24 instead of 32 (26 fills 3.5 GiB by" in render(made)
    assert batches(made) == [str(size) for _, size, _ in found * 2][:2]


def test_what_is_prepared_does_not_depend_on_sizing(tmp_path: Path) -> None:
    plain, by_options = sized(tmp_path, "prepare"), sized(tmp_path, "prepare", SIZER_AUTO="1")
    assert batches(by_options) == ["32"]
    assert plain.trials == by_options.trials


def test_nothing_is_sized_by_the_memory_of_a_host(tmp_path: Path) -> None:
    made = planned(tmp_path, FILES, environ={"MILABENCH_SIZER_AUTO": "1"})
    assert batches(made) == ["32"]
    assert "there is no scaling file" in made.sizes[0].reason
