"""The same summary as text, markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json

import pytest
from render_samples import benchmark, empty, estimate, sample
from rich.console import Console

from milabench.render import FORMATS, text
from milabench.summary import RunFacts, Summary

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


@pytest.mark.parametrize(("width", "columns"), [(200, 11), (98, 11), (97, 9), (80, 9), (71, 9), (70, 4)])
def test_text_fits_its_width_and_shows_the_columns_that_do(width: int, columns: int) -> None:
    lines = text.render(sample(), width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert len(lines[3].replace("±95 %", "spread").replace("peak GiB", "memory").split()) == columns


def test_text_shows_each_benchmark_with_rate_spread_memory_and_score() -> None:
    lines = text.render(sample(), 80).splitlines()
    assert lines[0] == "quick.2030-01-01 · 2030-01-01 00:00:00 UTC · milabench 1.0"
    assert lines[1] == "cuda · 4 × H200 · 16 CPUs"
    assert lines[3].split() == ["benchmark", "n", "fail", "dev", "rate", "±95", "%", "peak", "GiB", "score", "weight"]
    cells = [" ".join(line.split()) for line in lines[5:10]]
    assert cells == [
        "flops-fp32 4 0 0-3 188.0 GFLOP/s ±0.4 % 1.50 752.0 G 1",
        "resnet50 2 1 0 23.45 items/s ±12 %* 1.00 host 11.70 1",
        "short|one 1 0 0 3.000 items/s too few* – 100.0 off",
        "big 0 0 – skipped – – – 1",
        "gone 0 0 – missing – – 0 1",
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
        "15 warm-up steps are not in them",
        "* wider than ±5 %",
        "* too few",
        "host: the largest resident memory",
        "run directory: /runs/quick.2030-01-01",
    ):
        assert line in written


def test_a_wide_text_also_shows_deviation_and_steps() -> None:
    row = next(line for line in text.render(sample(), 120).splitlines() if line.startswith("flops-fp32"))
    assert row.split()[6:10] == ["±0.4", "%", "0.53", "%"]
    assert "5+60" in row


def test_a_long_reason_is_cut_and_a_long_name_folds() -> None:
    failure = sample().benchmarks[1].failures[0]
    long = benchmark(
        "a-name-" * 8, failed=1, failures=(type(failure)(tag="a.D0", outcome="failed", reason="why " * 200),)
    )
    summary = Summary(
        runs=(RunFacts(name="run", started="", path="/r"),), benchmarks=(long,), missing=(), skipped=(), score={}
    )
    written = text.render(summary, 80)
    assert "…" in written
    assert "100.0 items/s" in written
    assert all(len(line) <= 80 for line in written.splitlines())
    assert len(written.splitlines()) < 30


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
        {"tag": "resnet50.D1", "outcome": "timeout", "reason": "reached max_duration\nafter 600 s"}
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
    assert all(line.replace("\\|", "").count("|") == 12 for line in table)
    assert "| short\\|one | 1 | 0 |" in table[4]
    assert "### failed" in lines
    assert "- **resnet50.D1** timeout: reached max\\_duration after 600 s" in lines


def test_an_estimate_without_interval_is_marked_too_few() -> None:
    few = benchmark("x", interval=estimate(1.0, None, "too few", 3))
    summary = Summary(
        runs=(RunFacts(name="r", started="", path="/r"),), benchmarks=(few,), missing=(), skipped=(), score={}
    )
    assert "too few*" in text.render(summary)


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
