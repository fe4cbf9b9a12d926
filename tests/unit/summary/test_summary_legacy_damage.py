"""Damage in the files of earlier releases: counted, told, and it costs nothing else."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from legacy_lines import around, config, end, line, of, one, rate, start
from summary_fakes import FakeRun, MakeRun

from milabench.summary import summarize


@pytest.mark.parametrize(
    ("content", "rates", "told"),
    [
        (b"garbage\n", [], "1 lines of its .data file are no events and were left out"),
        (b"\x00" * 4096 + b"\n", [], "1 lines of its .data file are no events and were left out"),
        (b"{'#unrepresentable': \"{'event': 'data'}\"}\n", [], "1 lines of its .data file are no events"),
        (b"\xff\xfe\xfd\n", [], "1 lines of its .data file are no events and were left out"),
        (
            rate(3)[:-20] + b"\n",
            [],
            "1 lines of its .data file are no events and were left out (1 rates on them could not be read)",
        ),
        (
            rate(3).rstrip() + rate(4),
            [3, 4],
            "1 lines of its .data file are no events and were left out (2 whole records on them count)",
        ),
        (
            rate(3)[:53] + rate(4),
            [4],
            "1 lines of its .data file are no events and were left out (1 whole records on them count; 1 rates on them",
        ),
        (
            rate(3).rstrip() + rate(4)[:53] + b"\n",
            [3],
            "1 lines of its .data file are no events and were left out (1 whole records on them count; 1 rates on them",
        ),
        (
            rate(3).replace(b"items", b"it\xffms"),
            [3],
            "1 lines of its .data file are no events and were left out (1 whole",
        ),
        (b"\n\n  \n", [], None),
        (rate(3).replace(b"\n", b"\r\n"), [3], None),
        (
            line("format_error", {"line": '{"task": "train", "rate": 1.5}{"loss": 1}\n', "type": "x"}, "data"),
            [],
            "1 lines were torn when they were written (format_error): 1 rates in them do not count, as in milabench",
        ),
        (line("format_error", {"line": "\n", "type": "JSONDecodeError"}, "data"), [], None),
    ],
)
def test_damage_is_counted_and_costs_nothing_else(
    make_run: MakeRun, content: bytes, rates: list[float], told: str | None
) -> None:
    process, warnings = one(make_run(), around(rate(1), content, rate(2)))
    assert (process.outcome, list(process.rates)) == ("ok", [1, *rates, 2])
    assert len(warnings) == (told is not None)
    assert told is None or warnings[0].startswith(f"net.D0: {told}")


@pytest.mark.parametrize(("cut", "kind", "rates"), [(1, "ok", 8), (2, "lost", 8), (40, "lost", 8), (200, "lost", 6)])
def test_a_file_that_is_cut_off_is_a_failure_with_what_it_measured(
    make_run: MakeRun, cut: int, kind: str, rates: int
) -> None:
    whole = around(*[rate(number) for number in range(1, 9)])
    process, _ = one(make_run(), whole[:-cut])
    assert (process.outcome, len(process.rates)) == (kind, rates)


def test_empty_files_are_told_together(make_run: MakeRun) -> None:
    summary = of(make_run(), net=around(rate(1)), rnn=b"", gan=b"")
    assert [found.name for found in summary.benchmarks] == ["net"]
    assert summary.warnings == ("gan, rnn: nothing stands in the .data file: it was never started",)


def test_a_file_of_an_error_alone_says_it(make_run: MakeRun) -> None:
    content = line("error", {"type": "KeyError", "message": "'plan'", "trace": ""})
    assert of(make_run(), net=content).warnings == (
        "net: its .data file holds nothing of a process and was left out (KeyError: 'plan')",
    )


DAMAGE = {
    "cut": lambda text: text[: len(text) // 2] + b"\n",
    "garbage": lambda text: b"%PDF\n",
    "nul": lambda text: b"\0" * len(text) + b"\n",
    "not UTF-8": lambda text: b"\xff" + text,
    "no newline": lambda text: text.rstrip(),
}
kinds = st.sampled_from([None, None, *DAMAGE])


@settings(deadline=None)
@given(st.lists(kinds, min_size=1, max_size=40), st.integers(min_value=0, max_value=200))
def test_whatever_lines_are_damaged_what_is_left_counts_and_the_rest_is_told(
    damage: list[str | None], cut: int
) -> None:
    lines = [config("net.D0", device=0), start(), *(rate(number) for number in range(len(damage))), end()]
    hurt = [*damage, None][: len(damage)]
    body = [DAMAGE[kind](text) if kind else text for kind, text in zip(hurt, lines[2:-1], strict=True)]
    with TemporaryDirectory() as folder:
        run = FakeRun(path=Path(folder))
        content = b"".join([*lines[:2], *body, lines[-1]])
        run.files("net.D0").events.write_bytes(content)
        (found,) = summarize(run).benchmarks
        run.files("net.D0").events.write_bytes(content[: len(content) - cut])
        summarize(run)
    (process,) = found.processes
    readable = [float(number) for number, kind in enumerate(hurt) if kind in (None, "no newline", "not UTF-8")]
    assert list(process.rates) == readable
    if any(hurt):
        assert any("no events" in warning for warning in process.warnings)
