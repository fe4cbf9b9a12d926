"""Print, as JSON, what milabench's own code makes of run directories: run by the interpreter of its environment.

    PYTHONPATH=CHECKOUT:CHECKOUT/benchmate PEER_PYTHON peer_runs.py RUN...

``check_runs.py`` runs this. All runs given are pooled, as ``milabench report`` pools them there. Its summary of today
fails on samples of a GPU without a power (runs before 2024 have none) and its report then dies: they are given a power
of 0, which goes into nothing but its energy.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from typing import Any

COLUMNS = ("n", "fail", "ngpu", "perf", "score", "weight", "enabled")


def answer(runs: list[str]) -> dict[str, Any]:
    from milabench.common import _read_reports  # type: ignore[attr-defined]
    from milabench.report import make_dataframe, make_report  # type: ignore[import-not-found]

    from milabench.summary import make_summary  # type: ignore[attr-defined]

    reports = _read_reports(*runs)
    powered = sum(map(powerless, (line for lines in reports.values() for line in lines)))
    summary = make_summary(reports)
    frame = make_dataframe(summary)
    text = io.StringIO()
    make_report(summary, weights={}, stream=text)
    rows = {}
    for name, found in summary.items():
        row = {column: number(frame.loc[name][column]) for column in COLUMNS}
        rows[name] = {**row, "std": number(found["train_rate"]["std"]), "sem": number(found["train_rate"]["sem"])}
    return {"benchmarks": rows, "printed": printed_score(text.getvalue()), "powered": powered}


def powerless(line: Any) -> int:
    """Give the samples of a line a power where they have none; return how many had none."""
    data = line.get("data") if isinstance(line, dict) else None
    samples = data.get("gpudata", {}).values() if isinstance(data, dict) else ()
    lacking = [sample for sample in samples if "power" not in sample]
    for sample in lacking:
        sample["power"] = 0.0
    return len(lacking)


def number(value: Any) -> float | None:
    return None if math.isnan(float(value)) else float(value)


def printed_score(text: str) -> float | None:
    """Return the score as its report prints it, with two decimals."""
    for line in text.splitlines():
        if line.startswith("Score:"):
            return number(line.split()[1])
    return None


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it makes of bad files
        found = answer(sys.argv[1:])
    print(json.dumps(found))
