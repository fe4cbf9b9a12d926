"""Runs of every release of milabench before this one: names, events, values and damage, in the shapes they have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from legacy_lines import around, config, data, end, line, of, one, rate, start
from summary_fakes import MakeRun

from milabench.summary import Memory

MIB = 2**20


# Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "told", "expected"),
    [
        ("benchio", {}, ("benchio", 0, None, "")),
        ("benchio.0", {}, ("benchio", 0, None, "0")),
        ("benchio.1.R2", {}, ("benchio", 2, None, "1")),  # 2023-03: the repeat at the end
        ("benchio.R2.1", {}, ("benchio", 2, None, "1")),  # since 2023-06: before the job
        ("net.D3", {"device": 3, "devices": [3]}, ("net", 0, "D3", "D3")),
        ("net.D3", {"device": "3", "devices": ["3"]}, ("net", 0, "D3", "D3")),
        ("net.R1.D3", {"device": 3}, ("net", 1, "D3", "D3")),
        ("net.node1", {}, ("net", 0, None, "node1")),
        ("net.node1.nolog", {}, ("net", 0, None, "node1.nolog")),
        ("net.0.node1.nolog", {}, ("net", 0, None, "0.node1.nolog")),
        (
            "net.D0.worker",
            {"device": 0},
            ("net", 0, "D0", "D0.worker"),
        ),  # devices 0 of two nodes are one, as in milabench
        ("net.server.10-0-0-1", {"tag": ["net", "server", "10-0-0-1"]}, ("net", 0, None, "server.10-0-0-1")),
        ("net.a.example.org", {"tag": ["net", "a.example.org"]}, ("net", 0, None, "a.example.org")),
        ("v1.5-net.D0", {"name": "v1.5-net", "tag": ["v1.5-net", "D0"], "device": 0}, ("v1.5-net", 0, "D0", "D0")),
    ],
)
def test_names_of_every_form_are_read(
    make_run: MakeRun, tag: str, told: dict[str, Any], expected: tuple[str, int, str | None, str]
) -> None:
    process, _ = one(make_run(), config(tag, **told) + start() + rate(5) + end(), tag)
    assert (process.benchmark, process.repeat[1], process.slot, process.place) == expected
    assert (process.tag, list(process.rates), process.started, process.seconds) == (tag, [5.0], 100.0, 30.0)


@pytest.mark.parametrize(("tag", "benchmark", "repeat"), [("net.D3.R1", "net", 1), ("net.R1.0", "net", 1)])
def test_a_name_stands_in_for_a_config_that_is_lost(make_run: MakeRun, tag: str, benchmark: str, repeat: int) -> None:
    process, warnings = one(make_run(), b'{"event": "config", "data": {"na\n' + rate(5) + end(), tag)
    assert (process.benchmark, process.repeat, list(process.rates)) == (benchmark, (0, repeat), [5.0])
    assert warnings[0] == f"{tag}: 1 lines of its .data file are no events and were left out"


def test_repeats_of_one_run_are_told_apart_whatever_their_names_order(make_run: MakeRun) -> None:
    tags = [f"net.{job}.R{repeat}" for job in range(2) for repeat in range(2)]
    summary = of(make_run(), **{tag: config(tag) + start() + rate(7) + end() for tag in tags})
    (found,) = summary.benchmarks
    assert (found.n, {process.repeat for process in found.processes}) == (4, {(0, 0), (0, 1)})


def test_a_run_begins_with_the_first_of_its_processes(make_run: MakeRun) -> None:
    several = {
        f"net__D{number}": around(rate(1)).replace(b"100.0", b"%d" % time) for number, time in ((0, 90), (1, 80))
    }
    assert of(make_run(), **several).runs[0].started == "1970-01-01 00:01:20 UTC"


def test_what_milabench_ran_for_itself_is_no_benchmark(make_run: MakeRun) -> None:
    setup = {"name": "remote", "tag": ["remote"], "definition": "."}
    commands = (line("config", setup) + start() + line("line", "sending", "stdout") + end()) * 3
    summary = of(make_run(), remote=commands, net=around(rate(1)))
    assert ([found.name for found in summary.benchmarks], summary.warnings) == (["net"], ())
    failed = of(make_run("2"), remote=line("config", setup) + start() + end(255), net=around(rate(1)))
    assert failed.warnings == ("remote: a command of milabench itself ended with exit code 255",)


# Events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([rate(1), rate(2)], {"rates": [1, 2], "unit": "items/s"}),
        ([rate(1, time=5.0, elapsed=0.5, batch_id=3, schedule_time=None)], {"rates": [1]}),  # 2025-12
        ([data(task="train", rate=9.5, units="Tflops", t=17.5)], {"rates": [9.5], "unit": "Tflops"}),  # 2024-05
        ([data(rate=68.5, units="items/s", task="train")], {"rates": [68.5]}),
        ([b'{"task": "train", "rate": 3.5, "units": "Tok/s"}\n'], {"rates": [3.5], "unit": "Tok/s"}),  # by the script
        ([rate(1), data(task="train", rate=None)], {"rates": [1], "told": "1 rates are no finite numbers"}),
        ([rate(1), data(task="val", rate=4.0)], {"rates": [1], "told": "1 rates are of other tasks than train (val)"}),
        ([rate(1), data(rate=4.0)], {"rates": [1], "told": "1 rates are of other tasks than train (none)"}),
        ([rate(1), data(loss=3.0, task="train"), data(loss=1.0)], {"losses": (3.0, 1.0, 2)}),
        ([rate(1), data(task="main", gpudata={"0": {"memory": [9.5, 80.0], "load": 0}})], {"memory": 9.5 * MIB}),
        (
            [rate(1), data(task="main", gpudata={"0": {"memory": [9, 80]}, "1": {"memory": [70, 80]}}, time=1.0)],
            {"memory": 9 * MIB},  # of the process's own device
        ),
        ([rate(1), data(memory_peak=128.5, units="MiB")], {"memory": 128.5 * MIB}),  # of jax
        ([rate(1), data(task="main", process={"pid": 1, "memory": [5000.0, 9e9]})], {"host": 5000}),
        ([rate(1), data(task="main", cpudata={"memory": [5000, 9000], "load": 0.5}, time=1.0)], {}),
        ([rate(1), data(task="main", iodata={"read_bytes": 0}), data(task="main", netdata={"errin": 0})], {}),
        ([rate(1), data(task="early_stop", progress=[1, 60]), data(task="train", progress=[3, 9])], {}),
        ([rate(1), data(overhead=0.1, units="s", task="train"), data(total_elapsed=9.0, units="s")], {}),
        ([rate(1), line("meta", {"cpu": {"count": 8}}), line("phase", {"name": "init"}, "data")], {}),
        ([rate(1), line("line", "Traceback\n", "stderr"), line("binary", "?", "stdout")], {}),
        ([rate(1), line("start-task", {"task": "x", "token": 1}), line("end-task", {"task": "x"})], {}),
        ([rate(1), line("novel", {"x": 1})], {"told": "1 events are of kinds unknown here (novel) and were left out"}),
        ([rate(1), line("stop", None, "data")], {"kind": "early_stop"}),
        (
            [rate(1), line("overseer_error", {"type": "KeyError", "message": "'loader'"}, "data")],
            {"told": "an instrument failed: KeyError: 'loader'"},
        ),
    ],
)
def test_events_of_every_kind_are_read(make_run: MakeRun, content: list[bytes], expected: dict[str, Any]) -> None:
    process, warnings = one(make_run(), around(*content))
    losses, memory = process.losses, process.memory
    assert (process.outcome, process.reason) == (expected.get("kind", "ok"), "")
    assert list(process.rates) == expected.get("rates", [1.0])
    assert process.unit == expected.get("unit", process.unit)
    assert (losses and (losses.first, losses.last, losses.n)) == expected.get("losses")
    if "host" in expected:
        assert memory == Memory(peak_bytes=expected["host"], source="host")
    else:
        assert (memory and memory.peak_bytes) == expected.get("memory")
    assert [warning for warning in warnings if not warning.startswith(f"net.D0: {expected.get('told', '—')}")] == []
    assert len(warnings) == ("told" in expected)


@pytest.mark.parametrize(
    ("content", "code", "kind", "reason"),
    [
        ([line("error", {"type": "OSError", "message": "full"}, "data")], 1, "failed", "exit code 1: OSError: full"),
        (
            [line("error", {"type": "OSError", "message": "full", "trace": "…"})],
            1,
            "failed",
            "exit code 1: OSError: full",
        ),
        ([line("line", "ValueError: bad batch\n", "stderr")], 1, "failed", "exit code 1: ValueError: bad batch"),
        (
            [line("line", "[rank3]: torch.OutOfMemoryError: CUDA out of memory.\n", "stderr")],
            1,
            "failed",
            "exit code 1: torch.OutOfMemoryError: CUDA out of memory.",
        ),
        (
            [line("line", "KeyError: 'a'\n", "stderr"), line("line", "IndexError: later\n", "stderr")],
            1,
            "failed",
            "exit code 1: KeyError: 'a'",
        ),
        ([line("line", "ValueError: in a test of it\n", "stdout")], 1, "failed", "exit code 1"),
        ([line("line", "FutureWarning: it goes\n", "stderr")], 1, "failed", "exit code 1"),
        ([rate(1)], -9, "killed", "signal 9"),
        (
            [rate(1), line("message", {"message": "Terminating process because it ran for longer than 600 seconds."})],
            -15,
            "timeout",
            "Terminating process because it ran for longer than 600 seconds.",
        ),
        (
            [line("error", {"type": "KeyboardInterrupt", "message": ""})],
            "ERROR",
            "interrupted",
            "the run was ended before it: KeyboardInterrupt",
        ),
        (
            [line("error", {"type": "TypeError", "message": "of the runner"})],
            "ERROR",
            "failed",
            "the run was ended before it: TypeError: of the runner",
        ),
        ([rate(1), data(task="train", loss=float("nan"))], 0, "failed", "a loss is NaN"),
        ([], 0, "failed", "exit code 0, but no rate was measured"),
        (
            [line("overseer_error", {"type": "KeyError", "message": "'loader'"}, "data")],
            0,
            "failed",
            "exit code 0, but no rate was measured: KeyError: 'loader'",
        ),
        ([line("stop", None, "data"), line("error", {"type": "OSError", "message": "after"})], 1, "early_stop", ""),
    ],
)
def test_failures_have_the_reason_that_the_file_tells(
    make_run: MakeRun, content: list[bytes], code: object, kind: str, reason: str
) -> None:
    process, _ = one(make_run(), around(*content, code=code))
    assert (process.outcome, process.reason) == (kind, reason)


def test_an_attempt_appended_to_the_file_of_another_replaces_it_and_is_told(make_run: MakeRun) -> None:
    died = around(rate(1), rate(2), line("error", {"type": "OSError", "message": "full"}), code=1)
    process, warnings = one(make_run(), died + around(rate(7)))
    assert (process.outcome, list(process.rates)) == ("ok", [7.0])
    assert warnings == ("net.D0: 2 attempts wrote its file: the last one counts, 2 rates of the others were left out",)


# The first releases ----------------------------------------------------------------------------------------------


def hashed(*lines: dict[str, object], first: dict[str, object] | None = None) -> bytes:
    told: dict[str, object] = {"name": "net", "tag": ["net", "D1", "R1"], "device": 1, "devices": [1], **(first or {})}
    return b"".join(
        json.dumps(each).encode() + b"\n" for each in ({"#start": 100.0}, {"#config": told, "use_cuda": True}, *lines)
    )


DONE = {"#end": 130.0, "#return_code": 0}


def test_a_run_of_the_first_releases_is_read(make_run: MakeRun) -> None:
    content = hashed(
        {"#stdout": "hello\n"},
        {"train_rate": 10.5, "units": "items/s"},
        {"loading_rate": 99.0, "units": "items/s"},
        {"loss": 2.0},
        {"gpudata": {"0": {"memory": [70, 80]}, "1": {"memory": [9, 80], "load": 0.5, "temperature": 30}}},
        {"train_rate": 11.5, "units": "items/s"},
        {"#binout": "?"},
        DONE,
        first={"weight": 3.0},
    )
    summary = of(make_run(), net__D1__R1=content)
    (found,) = summary.benchmarks
    (process,) = found.processes
    assert (process.outcome, list(process.rates), process.repeat, process.slot) == ("ok", [10.5, 11.5], (0, 1), "D1")
    assert (process.seconds, process.started, process.devices) == (30.0, 100.0, (1,))
    assert (process.memory, found.weight) == (Memory(peak_bytes=9 * MIB, source="device"), 3.0)
    assert (found.perf, found.score, found.unit) == (11.0, 11.0, "items/s")
    assert summary.warnings == ("net.D1.R1: 1 events are of kinds unknown here (#binout) and were left out",)


@pytest.mark.parametrize(
    ("lines", "kind", "reason"),
    [
        ([{"train_rate": 1.0}, DONE], "ok", ""),
        ([DONE], "failed", "exit code 0, but no rate was measured"),
        ([{"#stderr": "ValueError: bad\n"}, {**DONE, "#return_code": 1}], "failed", "exit code 1: ValueError: bad"),
        (
            [{"#end": 130.0, "#completed": False, "#error": "KeyboardInterrupt: "}],
            "interrupted",
            "the run was ended before it: KeyboardInterrupt",
        ),
        ([{"train_rate": 1.0}], "lost", "its end was not recorded: the run was cut off, or is still going"),
    ],
)
def test_processes_of_the_first_releases_are_judged(
    make_run: MakeRun, lines: list[dict[str, object]], kind: str, reason: str
) -> None:
    process, _ = one(make_run(), hashed(*lines))
    assert (process.outcome, process.reason) == (kind, reason)
