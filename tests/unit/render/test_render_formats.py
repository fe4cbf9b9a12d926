"""The same summary as text, markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from render_samples import PROCESS, benchmark, empty, estimate, of, sample
from rich.console import Console

from milabench.render import FORMATS, text
from milabench.summary import BenchmarkSummary, Failure, RunFacts, Summary

KEYS = (
    *("name", "n", "failed", "outcomes", "perf", "unit", "std", "sem", "ngpu", "devices"),
    *("peak_memory_bytes", "score", "weight", "enabled", "labels", "failures"),
)


def test_every_format_renders_full_and_empty_summaries() -> None:
    assert list(FORMATS) == ["text", "markdown", "csv", "json"]
    for render in FORMATS.values():
        for summary in (sample(), empty()):
            written = render(summary)
            assert written.endswith("\n")
            assert not any(line != line.rstrip() for line in written.splitlines())


@pytest.mark.parametrize(
    ("width", "columns"),
    [(200, 13), (97, 13), (96, 12), (89, 11), (80, 10), (71, 9), (60, 7), (44, 4), (31, 2), (24, 2)],
)
def test_text_fits_its_width_and_shows_the_columns_that_do(width: int, columns: int) -> None:
    *lines, _ = text.render(sample(), width).splitlines()  # but for the path of the run
    assert all(len(line) <= width for line in lines)
    header = next(line for line in lines if line.startswith("bench"))
    assert len(header.replace("±95 %", "spread").replace("peak GiB", "memory").split()) == columns


@pytest.mark.parametrize("width", [120, 80, 60, 39, 30, 24])
def test_no_number_of_the_table_is_cut(width: int) -> None:
    lines = text.render(sample(), width).splitlines()
    for rate in ("188.0 GFLOP/s", "23.45 items/s", "3.000 items/s"):
        assert any(rate in line for line in lines)


def test_text_shows_each_benchmark_with_rate_spread_memory_and_score() -> None:
    lines = text.render(sample(), 80).splitlines()
    assert lines[0] == "quick.2030-01-01 · 2030-01-01 00:00:00 UTC · milabench 1.0"
    assert lines[1] == "cuda · 4 × H200 · 16 CPUs"
    assert " ".join(lines[3].split()) == "benchmark n fail dev rate ±95 % steps verdict peak GiB score"
    cells = [" ".join(line.split()) for line in lines[5:10]]
    assert cells == [
        "flops-fp32 4 0 0-3 188.0 GFLOP/s ±0.4 % 60 ok 1.50 752.0 G",
        "resnet50 2 1 0 23.45 items/s ±12 % 60 noisy 1.00 host 11.70",
        "short|one 1 0 0 3.000 items/s too few 60 too few – 100.0",
        "big 0 0 – skipped – – – – –",
        "gone 0 0 – missing – – – – 0",
    ]


def test_text_says_below_the_table_what_failed_what_is_not_there_and_where_the_run_is() -> None:
    written = text.render(sample(), 120)
    for line in (
        "score  1 234.57   exp(mean ln(score+1)) of 3 benchmarks, weights 3",
        "1 of 7 processes failed, 30 s",
        "  resnet50.D1  timeout  reached max_duration after 600 s",
        "  gone  failed: no environment",
        "  big  needs 2 nodes",
        "  resnet50: a loss was NaN or infinite",
        "all the time that its measured steps took; warm-up steps are not in it",
        "steps without times (resnet50, short|one): the rate is the mean of their rates",
        "too few: no interval can be told",
        "  resnet50             noisy: another took the CPU; steal; and 1 more, in --json",
        "  resnet50             warm-up: the first 12 measured steps were not steady yet",
        "  short|one            too few: 4 samples are too few for an interval",
        "  1 other              ok: nothing that was looked at speaks against the numbers",
        "  resnet50, short|one  whether the machine was busy with other things is not known",
        "docs/explanation/numbers.md",
        "  flops-fp32  2.50 nJ per FLOP, 350.0 W: by the devices' own counters",
        "host: the largest resident memory",
        "run directory: /runs/quick.2030-01-01",
    ):
        assert line in written


def test_a_wide_text_also_shows_deviation_and_steps() -> None:
    row = next(line for line in text.render(sample(), 120).splitlines() if line.startswith("flops-fp32"))
    assert row.split()[6:10] == ["±0.4", "%", "0.53", "%"]
    assert row.split()[10:13] == ["5", "60", "ok"]


def test_a_long_reason_is_told_whole_and_a_long_name_folds() -> None:
    failure = sample().benchmarks[1].failures[0]
    long = benchmark(
        "a-name-" * 8, failed=1, failures=(type(failure)(tag="a.D0", outcome="failed", reason="why " * 200),)
    )
    summary = Summary(
        runs=(RunFacts(name="run", started="", path="/r"),), benchmarks=(long,), missing=(), skipped=(), score={}
    )
    written = text.render(summary, 80)
    assert "…" not in written
    assert written.count("why") == 200
    assert "100.0 items/s" in written
    assert all(len(line) <= 80 for line in written.splitlines())
    assert len(written.splitlines()) < 45


def test_markup_in_names_is_text() -> None:
    marked = Summary(
        runs=(RunFacts(name="[red]run[/red]", started="", path="/[bold]"),),
        benchmarks=(benchmark("[b]x[/b]"),),
        missing=(),
        skipped=(),
        score={"milabench": 1.0},
        warnings=("[link] broken [/nothing]",),
    )
    written = text.render(marked, 120)
    assert all(part in written for part in ("[red]run[/red]", "[b]x[/b]", "[link] broken [/nothing]", "/[bold]"))


def test_a_terminal_gets_colours_unless_it_wants_none() -> None:
    coloured, plain = io.StringIO(), io.StringIO()
    text.show(sample(), Console(file=coloured, width=80, force_terminal=True, color_system="standard", no_color=False))
    text.show(sample(), Console(file=plain, width=80, force_terminal=True, color_system="standard", no_color=True))
    assert "\x1b[31m" in coloured.getvalue()
    assert "\x1b[31m" not in plain.getvalue()


def test_an_ascii_terminal_gets_ascii() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii"), width=100, color_system=None)
    text.show(sample(), console)
    console.file.flush()
    written = raw.getvalue().decode("ascii")
    assert "+/-0.4 %" in written
    assert "4 x H200" in written


def test_pooled_runs_are_named_and_each_place_is_given() -> None:
    one = sample()
    runs = tuple(RunFacts(name=name, started="", path=f"/runs/{name}") for name in ("a", "b"))
    pooled = Summary(runs=runs, benchmarks=one.benchmarks, missing=(), skipped=(), score=one.score)
    written = text.render(pooled)
    assert "2 runs pooled as repeats: a, b" in written
    assert "run directory: /runs/a\nrun directory: /runs/b\n" in written


def test_runs_of_other_benchmarks_each_are_not_called_repeats() -> None:
    runs = tuple(RunFacts(name=name, started="", path=f"/{name}") for name in ("a", "b"))
    each = tuple(benchmark(name, processes=(replace(PROCESS, repeat=(run, 0)),)) for run, name in enumerate("xy"))
    apart = Summary(runs=runs, benchmarks=each, missing=(), skipped=(), score={"milabench": 1.0})
    assert "2 runs, each of other benchmarks: a, b" in text.render(apart)


def test_an_empty_run_says_so() -> None:
    written = text.render(empty())
    assert "nothing ran" in written
    assert "score  –   no benchmark has a weight above 0" in written


def test_json_is_the_documented_document() -> None:
    document = json.loads(FORMATS["json"](sample()))
    assert document["version"] == 1
    assert document["score"] == {"milabench": 1234.5678}
    assert document["runs"][0]["path"] == "/runs/quick.2030-01-01"
    assert document["missing"] == [
        {"benchmark": "gone", "reason": "failed: no environment", "weight": 1.0, "enabled": True}
    ]
    assert document["skipped"] == [{"benchmark": "big", "reason": "needs 2 nodes"}]
    flops, failing, _, skipped = document["benchmarks"]
    assert set(KEYS) <= set(flops)
    assert {key: flops[key] for key in KEYS} == {
        "name": "flops-fp32",
        "n": 4,
        "failed": 0,
        "outcomes": {"ok": 1},
        "perf": 1.88e11,
        "unit": "FLOP/s",
        "std": 1e9,
        "sem": 1e8,
        "ngpu": 1,
        "devices": [0, 1, 2, 3],
        "peak_memory_bytes": 3 * 2**29,
        "score": 7.52e11,
        "weight": 1.0,
        "enabled": True,
        "labels": {"dtype": "fp32"},
        "failures": [],
    }
    assert failing["failures"] == [
        {"tag": "resnet50.D1", "outcome": "timeout", "reason": "reached max_duration\nafter 600 s", "node": None}
    ]
    assert (failing["peak_memory_source"], failing["losses"]["nan"]) == ("host", True)
    assert (skipped["n"], skipped["perf"], skipped["score"], skipped["skipped"]) == (0, None, None, "needs 2 nodes")
    assert flops["processes"][0]["perf"] == 1.89e11


def test_csv_has_a_row_a_benchmark_and_plain_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](sample()))))
    assert [(row["name"], row["status"]) for row in rows] == [
        ("flops-fp32", "ok"),
        ("resnet50", "failed"),
        ("short|one", "ok"),
        ("big", "skipped"),
        ("gone", "missing"),
    ]
    assert (rows[0]["perf"], rows[0]["devices"], rows[0]["labels"]) == ("188000000000.0", "0 1 2 3", "dtype=fp32")
    assert rows[1]["reasons"] == "resnet50.D1: timeout: reached max_duration\nafter 600 s"
    assert (rows[3]["perf"], rows[4]["reasons"], rows[4]["enabled"]) == ("", "failed: no environment", "true")


def test_markdown_is_a_table_that_names_cannot_break() -> None:
    lines = FORMATS["markdown"](sample()).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 7
    assert all(line.replace("\\|", "").count("|") == 14 for line in table)
    assert "| short\\|one | 1 | 0 |" in table[4]
    assert "### failed" in lines
    assert "- **resnet50.D1** timeout: reached max\\_duration after 600 s" in lines


def test_an_estimate_without_interval_is_told_with_what_to_do() -> None:
    written = text.render(of(benchmark("x", interval=estimate(1.0, None, "too few", 3))), 120)
    assert "items/s  too few" in written
    assert "too few: no interval can be told; raise voir.options.stop" in written


def test_json_has_interval_verdict_and_n_with_each_number() -> None:
    found = json.loads(FORMATS["json"](sample()))["benchmarks"][0]
    assert found["throughput"] == {
        "n": 60,
        "value": 1.88e11,
        "low": 1.88e11 - 7.5e8,
        "high": 1.88e11 + 7.5e8,
        "method": "batch means",
        "interval_verdict": "ok",
    }
    assert found["rate"] == found["throughput"]
    assert found["throughput_by_device"]["D0"]["value"] == 1.88e11
    assert [each["value"] for each in found["repeats"]] == [7.52e11]
    assert (found["first_step_s"], found["step_s"]["min"], found["step_s"]["max"]) == (1.5, 0.01, 0.05)
    assert (found["step_s"]["p50"]["value"], found["step_s"]["p50"]["n"]) == (0.012, 60)
    assert (found["step_s"]["p99"]["value"], found["step_s"]["p99"]["interval_verdict"]) == (None, "too few")
    assert (found["steps"], found["unsteady_steps"]) == ({"warmup": 5, "measured": 60}, 0)
    assert (found["verdict"], found["steadiness"]) == ({"word": "ok", "reasons": []}, {"steady": 4})
    assert (found["noise"], found["overhead_share"]) == ({"verdict": "quiet", "reasons": []}, 0.0002)
    assert (found["energy"]["watts"], found["energy"]["source"]) == (350.0, "device counter")
    assert (found["energy_per_unit_j"], found["throttled"], found["ecc"]) == (2.5e-9, [], None)
    (process,) = found["processes"]
    assert (process["verdict"]["word"], process["steadiness"]["kind"]) == ("ok", "steady")
    assert process["evidence"]["pressure_share"] == 0.001
    assert process["window_ns"] == [10**18, 10**18 + 12 * 10**9]
    assert process["overhead_share"] == pytest.approx(0.0002)


def test_csv_has_columns_for_speed_trust_and_energy() -> None:
    first, second, *_ = csv.DictReader(io.StringIO(FORMATS["csv"](sample())))
    assert (first["throughput"], first["step_p50_s"], first["step_p99_s"]) == ("188000000000.0", "0.012", "")
    assert (first["verdict"], first["noise"], first["steadiness"]) == ("ok", "quiet", "steady=4")
    assert (first["watts"], first["energy_source"]) == ("350.0", "device counter")
    assert (second["verdict"], second["verdict_reasons"]) == (
        "noisy",
        "another took the CPU; steal; the interval is wide",
    )


@pytest.mark.parametrize(
    ("system", "line"),
    [
        ({"arch": "cpu", "cpus": 2, "cpu_name": "Xeon", "devices": []}, "cpu · Xeon · 2 CPUs"),
        ({"arch": "cpu", "nodes": [{"cpus": 4, "devices": [{"name": "Epyc"}]}]}, "cpu · Epyc · 4 CPUs"),
        ({"arch": "cuda", "cpus": 8, "cpu_name": "Xeon", "devices": [{"name": "H200"}]}, "cuda · H200 · 8 CPUs"),
        ({"arch": "rocm", "nodes": [{"devices": [{"name": "MI300X"}] * 8}] * 2}, "rocm · 2 nodes · 16 × MI300X"),
    ],
)
def test_the_heading_says_what_the_run_was_on(system: dict[str, object], line: str) -> None:
    runs = (RunFacts(name="r", started="", path="/r"),)
    facts = {"system": system}
    summary = Summary(runs=runs, benchmarks=(), missing=(), skipped=(), score={}, facts=facts)
    assert text.render(summary).splitlines()[1] == line


def test_nodes_that_took_the_place_of_others_are_no_more_nodes_at_once() -> None:
    nodes = {name: {"cpus": 8, "devices": [{"name": "H200"}] * 4} for name in ("n1", "n2", "n4")}
    facts = {"system": {"arch": "cuda"}, "nodes": nodes, "replaced": [{"node": "n2", "by": "n4", "time": 1.0}]}
    runs = (RunFacts(name="r", started="", path="/r"),)
    summary = Summary(runs=runs, benchmarks=(), missing=(), skipped=(), score={}, facts=facts)
    assert text.render(summary).splitlines()[1] == "cuda · 2 nodes · 8 × H200 · 16 CPUs"


def test_the_heading_and_json_name_the_image_of_containers() -> None:
    runs, machine = (RunFacts(name="r", started="", path="/r"),), {"arch": "cpu", "cpus": 2}
    image = {"digest": "sha256:0123456789abcdef", "id": "sha256:ff", "root": None}
    inside = {"executable": "podman", "image": "e.org/i:1", "args": ["--cpus=2"], "images": {"n1": image}}
    empty = Summary(runs=runs, benchmarks=(), missing=(), skipped=(), score={}, facts={"system": machine})
    assert json.loads(FORMATS["json"](empty))["container"] is None
    summary = replace(empty, facts={"system": machine, "container": inside})
    line = "cpu · 2 CPUs · in e.org/i:1 sha256:0123456789ab"
    assert text.render(summary).splitlines()[1] == line
    assert line in FORMATS["markdown"](summary)
    assert json.loads(FORMATS["json"](summary))["container"] == {
        "image": "e.org/i:1 sha256:0123456789ab",
        "program": "podman",
        "arguments": "--cpus=2",
    }


def slow_now_and_then(**fields: object) -> BenchmarkSummary:
    """Return a benchmark whose steps are mostly fast, and a few so slow that they take most of the time."""
    return benchmark("x", perf=230.8e9, unit="FLOP/s", interval=estimate(230.8e9, 9e9), speed=PROCESS.speed, **fields)


def test_the_rate_shown_is_work_over_time_and_what_the_score_counts_is_told_where_it_is_another() -> None:
    found = replace(slow_now_and_then(), rate=estimate(8.054e9, 1e9, "wide"))
    for render in (lambda summary: text.render(summary, 200), FORMATS["markdown"]):
        written = render(of(found))
        assert "8.054 GFLOP/s" in written
        assert "±12 %" in written
        assert "score: it counts the mean of its steps' rates, 230.8 GFLOP/s, as milabench does" in written
        assert "; over the whole time it was 8.054 GFLOP/s" in written
    document = json.loads(FORMATS["json"](of(found)))["benchmarks"][0]
    assert (document["perf"], document["rate"]["value"]) == (230.8e9, 8.054e9)
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"](of(found))))
    assert (float(row["perf"]), float(row["rate"])) == (230.8e9, 8.054e9)
    assert (row["verdict"], row["interval_verdict"], row["rate_interval_verdict"]) == ("ok", "ok", "wide")


@pytest.mark.parametrize(("value", "half"), [(230e9, 0.1e9), (200e9, 50e9)], ids=["within 1 %", "within its interval"])
def test_the_mean_of_rates_is_not_told_where_it_is_the_rate(value: float, half: float) -> None:
    assert "score: it counts" not in text.render(of(replace(slow_now_and_then(), rate=estimate(value, half))), 200)


def test_an_interval_down_to_nothing_is_too_wide_to_tell() -> None:
    found = replace(slow_now_and_then(), rate=estimate(1e9, 1.9e9, "wide"))
    written = text.render(of(found), 200)
    assert "1.000 GFLOP/s  too wide" in written
    assert "190 %" not in written
    assert "too wide: the interval reaches down to 0" in written


def test_a_name_that_has_to_fold_is_broken_between_its_parts() -> None:
    written = text.render(of(benchmark("a-benchmark-of-some-name_that-is.long", weight=1.0)), 60)
    table = written.partition("─")[2].partition("score")[0].splitlines()[1:]
    names = [line.split(" ")[0] for line in table if line]
    assert "".join(names) == "a-benchmark-of-some-name_that-is.long"
    assert len(names) > 1
    assert all(name[-1] in "-_." for name in names[:-1])


@pytest.mark.parametrize(
    ("tag", "nodes", "told"),
    [
        ("x.D0", ("a", "b"), "x.D0 lost it went away (on b)"),
        ("x.b.D0", ("a", "b"), "x.b.D0 lost it went away"),
        ("x.D0", ("b",), "x.D0 lost it went away"),
    ],
)
def test_a_failure_is_told_with_its_node_where_that_is_not_plain(tag: str, nodes: tuple[str, ...], told: str) -> None:
    failure = Failure(tag=tag, outcome="lost", reason="it went away", node="b")
    found = of(benchmark("x", failed=1, failures=(failure,)))
    summary = replace(found, facts={"nodes": {name: {"name": name} for name in nodes}})
    assert told in [" ".join(line.split()) for line in text.render(summary, 120).splitlines()]
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"](summary)))
    assert row["reasons"].replace(":", "") == told
    (document,) = json.loads(FORMATS["json"](summary))["benchmarks"]
    assert document["failures"] == [{"tag": tag, "outcome": "lost", "reason": "it went away", "node": "b"}]
