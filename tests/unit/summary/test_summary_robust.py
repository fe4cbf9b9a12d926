"""Whatever a process wrote into its file, a run is reported."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from summary_fakes import FakeRun

from milabench.render import FORMATS
from milabench.summary import summarize

KEYS = {
    "top": ["event", "data", "seq", "nonfinite", "pipe", "time_ns", "task", "rate", "loss", "train_rate"]
    + ["#config", "#start", "#end", "#return_code", "#error", "#stderr", "#stdout", "#binout"],
    "data": [
        "task",
        "rate",
        "units",
        "steps",
        "loss",
        "memory_peak_bytes",
        "memory_peak",
        "train_rate",
        "gpudata",
        "process",
        "line",
    ]
    + ["type", "message", "memory"],
    "config": ["name", "tag", "device", "devices", "plan", "weight", "enabled", "matrix", "num_machines", "group"],
    "end": ["outcome", "reason", "code", "return_code", "seconds", "time", "max_rss_bytes"],
}
EVENTS = ["data", "config", "start", "end", "stop", "error", "message", "line", "other", "overseer_error"]
EVENTS += ["format_error", "meta", "phase"]
scalars = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 5, 10**15, 10**400, 0.5, 1e308, float("nan"), float("inf")])
    | st.sampled_from(["", "x", "train", "warmup", "ok", "failed", "D0", "R1", "per_gpu", "njobs"])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["memory", "0", "method"]), inner),
    max_leaves=5,
)
data = st.dictionaries(st.sampled_from([*KEYS["data"], *KEYS["config"], *KEYS["end"]]), anything, max_size=8)
lines = st.dictionaries(st.sampled_from(KEYS["top"]), anything, max_size=4) | st.fixed_dictionaries(
    {"event": st.sampled_from(EVENTS), "data": data | anything}, optional={"seq": anything, "nonfinite": anything}
)


def report(values: list[object]) -> None:
    """Report a run of one process that wrote these lines, in every form."""
    values = [{"event": "start", "data": {"time": 1.0}}, *values]
    with TemporaryDirectory() as folder:
        run = FakeRun(path=Path(folder))
        run.files("one.D0").events.write_text("".join(json.dumps(value) + "\n" for value in values))
        summary = summarize([run])
        for render in FORMATS.values():
            render(summary)


@settings(deadline=None)  # the first report of all imports what renders it
@given(st.lists(lines | anything, max_size=12))
@example([{"event": "config", "data": {"task": None, "name": []}}])
def test_no_line_is_a_bug(values: list[object]) -> None:
    report(values)


@pytest.mark.parametrize("number", [10**400, 1e308, float("inf"), float("nan"), -1, True, "x"])
@pytest.mark.parametrize(
    ("event", "key"),
    [
        ("data", "rate"),
        ("data", "loss"),
        ("data", "memory_peak_bytes"),
        ("data", "memory_peak"),
        ("data", "train_rate"),
        ("data", "steps"),
        ("config", "weight"),
        ("config", "num_machines"),
        ("start", "time"),
        ("end", "time"),
        ("end", "seconds"),
        ("end", "code"),
        ("end", "max_rss_bytes"),
    ],
)
def test_no_number_is_a_bug(event: str, key: str, number: object) -> None:
    measured: dict[str, object] = {"task": "train", "rate": 1.0, "units": "items/s"}
    named = {"name": "one", "plan": {"method": "njobs"}, "devices": [0, 1]}
    report([{"event": event, "data": {**measured, **named, key: number}}, *[measured] * 5])
