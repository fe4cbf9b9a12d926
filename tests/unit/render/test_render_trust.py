"""What a report says below its table: how far to trust the numbers, and latencies."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from render_samples import PROCESS, TIMES, benchmark, estimate, of, trust

from benchmate.verdict import Grade, Noise, Word, evenness
from milabench.render import FORMATS, text
from milabench.summary import Ecc, Energy, Summary, Trust


def test_what_measuring_cost_is_told_where_it_is_more_than_a_hundredth() -> None:
    costly = replace(PROCESS, surroundings=replace(PROCESS.surroundings, overhead_ns=360_000.0))
    found = benchmark("x", processes=(PROCESS, costly), trust=trust("ok", overhead=costly.overhead))
    written = text.render(of(found), 140)
    assert "overhead: measuring itself took 3.0 % of a step's time (360 µs of 12.0 ms)" in written
    assert "overhead" not in text.render(of(replace(found, trust=trust("ok", overhead=0.01))), 140)


def test_when_all_is_well_it_is_said_in_a_line() -> None:
    quiet = trust("ok", noise=Noise(verdict="quiet"))
    lines = text.render(of(benchmark("x", trust=quiet), benchmark("y", trust=quiet)), 120).splitlines()
    at = lines.index("how far to trust these numbers")
    assert " ".join(lines[at + 1].split()) == "all of them ok: nothing that was looked at speaks against the numbers"
    assert lines[at + 2].split()[0] == "more"


def test_energy_without_known_work_is_told_as_a_whole() -> None:
    energy = Energy(joules=1500.0, seconds=10.0, source="RAPL of the whole machine", parts={"package-0": 1500.0})
    written = text.render(of(benchmark("x", energy=energy)), 120)
    assert "x  1.50 kJ in all, 150.0 W: processors and memory of the whole machine, by RAPL" in written


def test_corrected_memory_errors_are_told() -> None:
    found = benchmark("x", trust=trust("ok", ecc=Ecc(corrected=3, uncorrected=0)))
    assert "memory: the devices corrected 3 errors (ECC) while measuring" in text.render(of(found), 120)


@pytest.mark.parametrize(("errors", "told"), [(1, "1 memory error"), (7, "7 memory errors")])
def test_uncorrected_memory_errors_are_told_first_whatever_else_there_is(errors: int, told: str) -> None:
    """Of a server's device no reason of the grade speaks, and of many reasons two are shown."""
    found = benchmark("x", trust=trust("noisy", "a", "b", "c", ecc=Ecc(corrected=0, uncorrected=errors)))
    first, second = _trusted(of(found))[:2]
    assert first == f"x memory: the devices could not correct {told} (ECC) while measuring: results may be wrong"
    assert second.startswith("x noisy: a; b; and 1 more")


def _trusted(summary: Summary) -> list[str]:
    lines = text.render(summary, 200).splitlines()
    at = lines.index("how far to trust these numbers")
    return [" ".join(line.split()) for line in lines[at + 1 :]]


@pytest.mark.parametrize("word", ["ok", "too few"])
def test_of_a_short_window_is_said_once_why_its_noise_is_not_known(word: Word) -> None:
    short = "measured for 0.05 s, too short for the kernel's counters to show what disturbs"
    noise = Noise(verdict="unknown", reasons=(short,), about=("window",))
    silent = benchmark("y", trust=trust("ok"))
    told = [line for line in _trusted(of(benchmark("x", trust=trust(word, noise=noise)), silent)) if "busy" in line]
    unknown = "whether the machine was busy with other things is not known"
    assert told == [f"x {unknown}: {short}", f"y {unknown}: the run does not say"]


def test_of_each_kind_of_reason_one_is_shown() -> None:
    words: tuple[Word, ...] = ("noisy", "noisy", "noisy", "drifting", "bimodal")
    grade = Grade(word="noisy", reasons=("a", "b", "c", "d", "e"), words=words)
    (told, *_) = _trusted(of(benchmark("x", trust=Trust(grade=grade))))
    assert told == "x noisy: a; d; e; and 2 more, in --json"


def test_where_measuring_takes_longer_than_what_is_measured_it_is_said_what_the_rate_is() -> None:
    costly = replace(PROCESS, surroundings=replace(PROCESS.surroundings, overhead_ns=12_120_000.0))
    written = text.render(of(benchmark("x", processes=(costly,), trust=trust("ok", overhead=costly.overhead))), 250)
    assert (
        "overhead: measuring a step costs 12.1 ms by itself, and a step took 12.0 ms: the rate is more that of"
        in written
    )
    assert "101 %" not in written


def test_names_below_the_table_are_not_cut_to_make_room_for_what_can_be_wrapped() -> None:
    grade = Grade(word="noisy", reasons=("why " * 60,), words=("noisy",))
    written = text.render(of(benchmark("a-benchmark-of-some-name", trust=Trust(grade=grade))), 80)
    below = written.partition("how far to trust")[2]
    assert "  a-benchmark-of-some-name  noisy: why why" in below


INFERENCES = replace(PROCESS, task="infer")


def test_a_benchmark_of_inferences_tells_its_latency_with_tails() -> None:
    found = benchmark("bert", processes=(INFERENCES,), speed=INFERENCES.speed)
    trained = benchmark("resnet", processes=(PROCESS,), speed=PROCESS.speed)
    written = text.render(of(found, trained), 250)
    assert "latency of an inference" in written
    told = [" ".join(line.split()) for line in written.splitlines()]
    assert [line for line in told if line.startswith("bert p50")] == [
        (
            "bert p50 12.0 ms ±0.83 %, p90 15.0 ms ±6.7 %, 60 are too few for p99: it takes 368, longest 50.0 ms,"
            " first 1.50 s"
        )
    ]
    assert "latency" not in text.render(of(trained), 250)
    assert json.loads(FORMATS["json"](of(found)))["benchmarks"][0]["processes"][0]["task"] == "infer"


def test_parts_of_inferences_are_told_by_themselves() -> None:
    many = replace(TIMES, quantiles={**TIMES.quantiles, "p99": estimate(0.02, 0.001)})
    speed = replace(INFERENCES.speed, parts={"pre": TIMES, "infer": many}, load_s=2.5)
    found = benchmark("bert", processes=(replace(INFERENCES, speed=speed),), speed=speed)
    (told,) = [line for line in text.render(of(found), 250).splitlines() if "longest" in line]
    assert " ".join(told.split()).endswith(
        "first 1.50 s, loading 2.50 s, pre p50 12.0 ms ±0.83 %, infer p50 12.0 ms ±0.83 %, p99 20.0 ms ±5.0 %"
    )
    (written,) = json.loads(FORMATS["json"](of(found)))["benchmarks"]
    for each in (written, written["processes"][0]):
        assert each["load_s"] == 2.5
        assert {name: (part["n"], part["max"]) for name, part in each["part_s"].items()} == {
            "pre": (60, 0.05),
            "infer": (60, 0.05),
        }
    assert json.loads(FORMATS["json"](of(benchmark("x"))))["benchmarks"][0]["part_s"] is None


def test_what_is_said_of_inferences_calls_them_so() -> None:
    costly = replace(INFERENCES, surroundings=replace(PROCESS.surroundings, overhead_ns=360_000.0))
    found = benchmark("bert", processes=(costly,), trust=trust("ok", overhead=costly.overhead, unsteady=3))
    written = text.render(of(found), 250)
    assert (
        "the loop that times an inference takes 360 µs beside it, a part of which is in the 12.0 ms that an inference"
        " is said to take: inferences are too short to be timed one by one"
    ) in written
    assert "the first 3 measured inferences were not steady yet" in written


def test_of_many_slow_devices_the_slowest_are_named_and_others_counted() -> None:
    rates = {f"D{each}": estimate(50.0 + each if each < 7 else 100.0, 1.0) for each in range(16)}
    even = evenness(rates)
    grade = Grade(word="noisy", reasons=("busy", "D0 is slower"), words=("noisy", "uneven"))
    told = " ".join(_trusted(of(benchmark("x", trust=Trust(grade=grade, evenness=even)))))
    assert told.startswith("x uneven: D0 at 50.00 items/s (50 % slower), D1 at 51.00 items/s (49 % slower), ")
    last = "D4 at 54.00 items/s (46 % slower) and 2 others, in --json; the median of 16 is 100.0 items/s"
    assert f"{last} x noisy: busy" in told
