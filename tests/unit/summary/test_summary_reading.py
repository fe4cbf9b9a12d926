"""Lines of a .data file, good and bad, and what is kept of them."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmate.wire import encode_event
from milabench.summary.reading import read


def lines(*events: tuple[str, object]) -> list[bytes]:
    """Return event lines as they are cut from a file."""
    several = [encode_event(event, data, time_ns=0, seq=seq) for seq, (event, data) in enumerate(events)]
    return [line.removesuffix(b"\n") for line in several]


def test_only_train_rates_are_kept_and_warm_up_is_counted() -> None:
    found = read(
        lines(
            ("data", {"task": "warmup", "rate": 1.0, "units": "items/s", "steps": 3}),
            ("data", {"task": "train", "rate": 10.0, "units": "items/s"}),
            ("data", {"task": "train", "rate": 20.0, "units": "items/s", "steps": 2}),
            ("data", {"task": "validation", "rate": 99.0, "units": "items/s"}),
        )
    )
    assert (list(found.rates), found.warmup, found.unit) == ([10.0, 20.0, 20.0], 3, "items/s")


def test_rates_in_other_units_than_the_first_are_left_out_and_counted() -> None:
    found = read(
        [
            *lines(
                ("data", {"task": "warmup", "rate": 2.0, "units": "images/s"}),
                ("data", {"task": "train", "rate": 3000.0, "units": "bytes/s", "steps": 2}),
                ("data", {"task": "train", "rate": 3.0, "units": "images/s"}),
                ("data", {"task": "warmup", "rate": 3000.0, "units": "bytes/s"}),
                ("data", {"task": "train", "rate": 4.0}),
            ),
            b'{"event": "data", "data": {"task": "train", "rate": 9, "units": "words/s"}, "pipe": "data"}',
            b'{"event": "data", "data": {"task": "train", "rate": 5, "units": "images/s"}, "pipe": "data"}',
        ]
    )
    assert (list(found.rates), found.warmup, found.unit) == ([3.0, 4.0, 5.0], 1, "images/s")
    assert found.units == {"bytes/s": 3, "words/s": 1}


def test_of_lines_that_are_refused_the_first_says_why() -> None:
    refused = [("line", {"line": "{", "why": why}) for why in ("rate is no number", "no JSON")]
    found = read(lines(*refused, ("line", {"line": "text"})))
    assert (found.refused, found.why_refused) == (2, "rate is no number")


def test_rates_are_passed_over_where_steps_say_them_but_losses_are_not() -> None:
    several = lines(
        ("data", {"task": "train", "rate": 10.0, "units": "items/s"}),
        ("data", {"task": "train", "rate": 10.0, "loss": 2.0}),
        ("data", {"task": "train", "loss": 1.0}),
    )
    found = read(several[:1] + several[2:], rates=False)
    assert (len(found.rates), found.losses, found.last_loss) == (0, 1, 1.0)
    assert read(several, rates=False).losses == 2


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        (b"garbage\n", 1),
        (b'{"event": "da', 1),
        (b"[1, 2]\n", 1),
        (b'{"task": "train", "rate": 5.0} and more\n', 1),
        (b'  {"task": "train", "rate": 5.0} \r\n', 0),
        (b"\xff\xfe\n", 1),
        (b'{"event": "line", "data": "cut o', 1),
        (b'{"event": "line", "data": "whole", "pipe": "stdout"}\n', 0),
        (b"\n", 0),
        (b'{"task": "train", "rate": 5.0}\n', 0),
        (b'{"event": null, "data": 1}\n', 0),
        (b'{"event": "data", "data": [1]}\n', 1),
        (b'{"event": "config", "data": "x"}\n', 1),
        (b'{"event": "error"}\n', 1),
        (b'{"task": "train", "rate": "fast"}\n', 1),
        (b'{"task": "train", "rate": true}\n', 1),
        (b'{"event": "data", "data": {"task": "train", "rate": {}}}\n', 1),
        (b'{"event": "stop", "seq": "x"}\n', 1),
        (b'{"event": "data", "data": {"loss": 1}, "nonfinite": 3}\n', 1),
        (b'{"a":' * 100_000 + b"\n", 1),
    ],
)
def test_lines_that_are_no_events_are_counted(line: bytes, bad: int) -> None:
    found = read([line, *lines(("data", {"task": "train", "rate": 10.0}))])
    assert (found.bad, found.rates[-1]) == (bad, 10.0)


def test_losses_say_first_last_and_whether_any_was_nan() -> None:
    nan = float("nan")
    found = read(lines(*(("data", {"task": "train", "loss": loss}) for loss in (3.0, nan, 1.0))))
    assert (found.first_loss, found.last_loss, found.losses, found.nan_loss) == (3.0, 1.0, 3, True)


def test_a_rate_that_is_no_finite_number_is_counted_and_left_out() -> None:
    huge = b"1" + b"0" * 400
    found = read([b'{"task": "train", "rate": NaN}\n', b'{"task": "train", "rate": ' + huge + b"}\n"])
    assert (found.nonfinite, found.bad, len(found.rates)) == (2, 0, 0)


def test_no_line_stands_for_more_steps_than_memory_holds() -> None:
    assert len(read([b'{"task": "train", "rate": 1.0, "steps": 1000000000000}\n']).rates) == 1


def test_lines_that_got_lost_show_in_the_sequence() -> None:
    several = lines(*[("note", {})] * 6)
    assert read(several).lost == 0
    assert read(several[:2] + several[4:]).lost == 2


def test_memory_is_the_largest_value_of_the_device() -> None:
    gpu = {"0": {"memory": [3.0, 80.0], "load": 0}, "1": {"memory": [7.0, 80.0], "load": 1}}
    sampled = ("data", {"task": "main", "gpudata": gpu})
    assert read(lines(sampled)).device_bytes == 7 * 2**20
    assert read(lines(("config", {"device": 0}), sampled)).device_bytes == 3 * 2**20
    assert (
        read(lines(("data", {"task": "main", "memory_peak_bytes": 5}), ("data", {"memory_peak_bytes": 4}))).device_bytes
        == 5
    )


def test_the_first_error_is_kept_and_leaving_is_none() -> None:
    found = read(
        lines(
            ("error", {"type": "SystemExit", "message": "0"}),
            ("error", {"type": "ValueError", "message": "bad batch"}),
            ("error", {"type": "KeyError", "message": "later"}),
        )
    )
    assert found.error == "ValueError: bad batch"


numbers = st.floats() | st.integers(-(10**30), 10**30) | st.sampled_from([1e100, 1e101, -0.0, 10**400, None])
words = st.sampled_from(["items/s", "Tok/s", 'a "b"', "µ/s", "\\", ""])
values = {
    "task": st.sampled_from(["train", "main", "early_stop", "warmup"]),
    "rate": numbers,
    "loss": numbers,
    "units": words,
    "time": numbers,
    "progress": st.lists(st.integers(-5, 99), min_size=2, max_size=2),
    "elapsed": numbers,
    "schedule_time": numbers,
}
some = st.permutations(list(values)).flatmap(
    lambda names: st.integers(1, 4).flatmap(lambda n: st.fixed_dictionaries({name: values[name] for name in names[:n]}))
)
sample = st.fixed_dictionaries(
    {"memory": st.lists(numbers, min_size=1, max_size=3)}, optional={"load": numbers, "power": numbers, "name": words}
)
devices = st.dictionaries(st.sampled_from(["0", "1", "MIG-1a", "a b"]), sample, max_size=3)
sampled = st.fixed_dictionaries({"task": st.just("main"), "gpudata": devices}, optional={"time": numbers, "t": numbers})
timed = st.tuples(numbers, devices).map(lambda each: {"task": "main", "time": each[0], "gpudata": each[1]})
usual = st.fixed_dictionaries({name: values[name] for name in ("task", "rate", "units", "time")})


@settings(deadline=None)
@given(st.lists(some | usual | sampled | timed, max_size=8), st.booleans())
def test_lines_of_known_words_say_what_they_say_decoded(data: list[dict[str, object]], rates: bool) -> None:
    written = [json.dumps({"event": "data", "data": each, "pipe": "data"}).encode() for each in data]
    at_once, decoded = read(written, rates=rates), read([b" " + line for line in written], rates=rates)
    assert repr(asdict(at_once)) == repr(asdict(decoded))
