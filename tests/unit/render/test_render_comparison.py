"""A comparison as people and programs read it."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmate.verdict import Noise
from milabench.compare import (
    Absent,
    BenchmarkComparison,
    Change,
    Comparison,
    Overall,
    Side,
    Verdict,
)
from milabench.render.comparison import FORMATS, text
from milabench.render.comparison.csv import COLUMNS
from milabench.summary import RunFacts

FORMATS_OF_FILES = (Path(__file__).parents[3] / "docs/reference/formats.md").read_text()
SIDE = Side(throughput=100.0, low=98.0, high=102.0, unit="items/s", repeats=(99.0, 101.0), processes=2, failed=0)
LR = Change(area="work", name="argv.--lr", before="0.1", after=None)


def row(name: str, verdict: Verdict, **fields: object) -> BenchmarkComparison:
    known: dict[str, object] = {
        "reason": "more than repeats differ by themselves",
        "before": SIDE,
        "after": replace(SIDE, throughput=90.0, low=89.0, high=91.0),
        "ratio": 0.9,
        "low": 0.882,
        "high": 0.918,
        "needed": 3,
        "changed": (),
        "weight": 1.0,
    }
    return BenchmarkComparison(name=name, verdict=verdict, **{**known, **fields})  # type: ignore[arg-type]


def nothing(name: str, reason: str) -> BenchmarkComparison:
    failed = Side(processes=1, failed=1)
    return row(
        name, "not comparable", reason=reason, before=failed, after=Side(), ratio=None, low=None, high=None, needed=None
    )


FEW = "one repeat a side: how much repeats differ is not known; run both with --repeat 5"
SAMPLE = Comparison(
    before=(RunFacts(name="old", started="2030-01-01 00:00:00 UTC", path="/runs/old"),),
    after=tuple(RunFacts(name=name, started="", path=f"/runs/{name}") for name in ("new", "newer")),
    benchmarks=(
        row("slow|one", "worse", changed=(LR,)),
        row("fast", "better", ratio=2.0, low=1.9, high=2.1, changed=(LR,)),
        row("alike", "same", before=replace(SIDE, noise=Noise(verdict="noisy", reasons=("the clock fell",)))),
        *(row(f"few{number}", "undecided", reason=FEW, low=None, high=None, needed=None) for number in range(4)),
        nothing("broken", "failed in both (exit\ncode 1)"),
    ),
    absent=(Absent(benchmark="gone", reason="only in A"), Absent(benchmark="away", reason="only in A")),
    overall=Overall(
        verdict="worse", reason="more than repeats differ by themselves", ratio=0.95, low=0.94, high=0.96, n=(2, 2),
        benchmarks=("slow|one", "fast", "alike"), left_out=("broken",),
    ),
    changed=(
        Change(area="software", name="driver", before="550", after="560"),
        *(Change(area="environment torch", name=f"p{number}", before="1", after="2") for number in range(20)),
    ),
    same=("machine",),
    unknown=("code",),
    comparisons=4,
    target=0.03,
    same_within=0.02,
    warnings=tuple(f"A: odd {number}" for number in range(14)),
)  # fmt: skip
TEXT = """\
A  old · 2030-01-01 00:00:00 UTC
B  2 runs pooled as repeats: new, newer
changed: software, environment torch; the same: machine; unknown of A or B: code

benchmark              A              B    B/A   ±95 %     n  verdict
────────────────────────────────────────────────────────────────────────────
slow|one   100.0 items/s  90.00 items/s  0.900  ±2.0 %  2, 2  worse*
fast       100.0 items/s  90.00 items/s  2.000  ±5.0 %  2, 2  better*
alike      100.0 items/s  90.00 items/s  0.900  ±2.0 %  2, 2  same
few0       100.0 items/s  90.00 items/s  0.900       –  2, 2  undecided
few1       100.0 items/s  90.00 items/s  0.900       –  2, 2  undecided
few2       100.0 items/s  90.00 items/s  0.900       –  2, 2  undecided
few3       100.0 items/s  90.00 items/s  0.900       –  2, 2  undecided
broken            failed              –      –       –  0, 0  not comparable

score B/A  0.950 [0.940, 0.960]   worse: more than repeats differ by themselves;
geometric mean of 3 benchmarks, by weight
1 worse, 1 better, 4 undecided, 1 not comparable, 1 same

worse
  slow|one  0.900 [0.882, 0.918]  more than repeats differ by themselves

better
  fast  2.000 [1.900, 2.100]  more than repeats differ by themselves

undecided
  4 benchmarks: one repeat a side: how much repeats differ is not known; run
  both with --repeat 5

not comparable
  broken: failed in both (exit code 1)

* asked to do something else
  slow|one, fast  argv.--lr  0.1 → –

what changed
  software           driver  550 → 560
  environment torch  p0      1 → 2
  environment torch  p1      1 → 2
  environment torch  p2      1 → 2
  environment torch  p3      1 → 2
  environment torch  p4      1 → 2
  environment torch  p5      1 → 2
  environment torch  p6      1 → 2
  environment torch  p7      1 → 2
  environment torch  p8      1 → 2
  environment torch  p9      1 → 2
  environment torch  p10     1 → 2
  environment torch  p11     1 → 2
  and 8 more                 --json has all

measured under noise
  alike  A  the clock fell

not compared
  only in A  gone, away

not in the score
  broken

warnings
  A: odd 0
  A: odd 1
  A: odd 2
  A: odd 3
  A: odd 4
  A: odd 5
  A: odd 6
  A: odd 7
  A: odd 8
  A: odd 9
  A: odd 10
  A: odd 11
  and 2 more

notes
  A and B: all work over all time, of one process (of those that ran at the same
  time the mean)
  ±95 % of B/A: half the 95 % interval, by how much runs differ (n: repeats of A
  and of B)
  4 ratios were judged together: where nothing has changed, a ratio is called
  better or worse in less than 5 % of comparisons

A: /runs/old
B: /runs/new
B: /runs/newer
"""


def test_the_text_says_verdicts_reasons_and_what_changed() -> None:
    assert text.render(SAMPLE) == TEXT


def test_that_one_run_a_side_does_not_tell_how_runs_differ_is_noted() -> None:
    told = " ".join(text.render(replace(SAMPLE, after=SAMPLE.before)).split())
    assert "by how much repeats differ" in told
    assert "what differs from one run to the next is in no interval of one run a side" in told


def test_the_text_is_no_wider_than_asked_and_says_every_verdict() -> None:
    for width in (60, 80, 100, 140):
        lines = text.render(SAMPLE, width).splitlines()
        assert all(len(line) <= width for line in lines if not line.startswith(("A: ", "B: ")))
        for verdict in ("worse", "better", "undecided", "not comparable", "same"):
            assert any(verdict in line for line in lines)


def test_without_any_benchmark_there_is_no_table() -> None:
    empty = replace(SAMPLE, benchmarks=(), comparisons=0)
    shown = text.render(empty)
    assert "no benchmark is in both" in shown
    assert "───" not in shown


def test_the_json_has_all_of_it() -> None:
    found = json.loads(FORMATS["json"](SAMPLE))
    assert list(found) == [
        *("version", "verdict", "before", "after", "benchmarks", "absent", "score", "counts", "changed", "same"),
        *("unknown", "comparisons", "target", "same_within", "warnings"),
    ]
    assert found["version"] == 1
    assert found["verdict"] == "worse"
    assert found["after"]["runs"][1] == {"name": "newer", "started": None, "path": "/runs/newer"}
    assert found["benchmarks"][0] == {
        "name": "slow|one",
        "verdict": "worse",
        "reason": "more than repeats differ by themselves",
        "ratio": 0.9,
        "low": 0.882,
        "high": 0.918,
        "before": {
            "throughput": 100.0, "low": 98.0, "high": 102.0, "unit": "items/s", "repeats": [99.0, 101.0],
            "processes": 2, "failed": 0, "noise": {"verdict": "unknown", "reasons": []},
        },
        "after": {
            "throughput": 90.0, "low": 89.0, "high": 91.0, "unit": "items/s", "repeats": [99.0, 101.0],
            "processes": 2, "failed": 0, "noise": {"verdict": "unknown", "reasons": []},
        },
        "repeats_needed": 3,
        "changed": [{"name": "argv.--lr", "before": "0.1", "after": None}],
        "weight": 1.0,
    }  # fmt: skip
    assert found["counts"] == {"worse": 1, "better": 1, "undecided": 4, "not comparable": 1, "same": 1}
    assert len(found["changed"]) == 21


def test_the_columns_of_the_csv_are_those_of_the_reference() -> None:
    text = (
        FORMATS_OF_FILES.partition("## `milabench compare --json`")[2]
        .partition("Its columns: ")[2]
        .partition("\n\n")[0]
    )
    named = re.findall(r"`(\w+)`", text)
    after = [name.replace("before_", "after_") for name in named if name.startswith("before_")]
    assert sorted((*named, *after)) == sorted(COLUMNS)


def test_the_csv_has_a_row_for_each_benchmark_those_of_one_run_too() -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](SAMPLE))))
    assert [each["verdict"] for each in rows[-3:]] == ["not comparable", "absent", "absent"]
    assert (rows[0]["before_n"], rows[0]["after_throughput"], rows[0]["changed"]) == ("2", "90.0", "argv.--lr: 0.1 → ")
    assert rows[-3]["ratio"] == rows[-3]["before_throughput"] == ""


def test_the_markdown_escapes_names() -> None:
    lines = FORMATS["markdown"](SAMPLE).splitlines()
    assert lines[0] == "## B/A: worse"
    (found,) = (line for line in lines if line.startswith("| slow"))
    assert (
        found == "| slow\\|one | 100.0 items/s | ±2.0 % | 90.00 items/s | ±1.1 % | 0.900 | ±2.0 % | 2, 2 | worse\\* |"
    )


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_takes_everything(name: str) -> None:
    assert FORMATS[name](SAMPLE)
    assert FORMATS[name](replace(SAMPLE, benchmarks=(), absent=(), changed=(), same=(), unknown=(), warnings=()))
