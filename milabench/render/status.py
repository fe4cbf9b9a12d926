"""How a run is → JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from milabench.follow import Progress
from milabench.follow.run import Status
from milabench.outcome import GOOD
from milabench.slurm.states import Seen


def document(status: Status, job: Seen | None = None) -> dict[str, Any]:
    """Return a run as ``milabench status --json`` prints it: version 1, times in s since 1970; ``job`` is Slurm's."""
    outcomes = status.outcomes
    return {
        "version": 1,
        "run": {"name": status.path.name, "path": str(status.path), "started": status.began, "ended": status.ended},
        "state": status.state,
        "runner": None if status.pid is None else {"pid": status.pid, "host": status.host, "since": status.since},
        "job": _job(job),
        "trials": {
            "total": len(status.trials),
            "done": status.done,
            "undecided": sum(status.undecided.values()),
            "running": [{"trial": trial, "started": began} for trial, began in status.running.items()],
            "waiting": status.waiting,
        },
        "outcomes": dict(Counter(each.kind for each in outcomes.values())),
        "failures": [
            {"trial": trial, "tag": each.tag, "outcome": each.kind, "reason": each.reason}
            for trial, each in outcomes.items()
            if each.kind not in GOOD
        ],
        "time_left_at_most_s": status.left_s,
        "processes": [_process(each, status) for each in status.processes],
    }


def unbegun(path: Path, job: Seen | None) -> dict[str, Any]:
    """Return the same of a run that its Slurm job has not begun."""
    run = {"name": path.name, "path": str(path), "started": None, "ended": None}
    return {"version": 1, "run": run, "state": "not begun", "job": _job(job)}


def _job(seen: Seen | None) -> dict[str, Any] | None:
    return None if seen is None else {name: getattr(seen, name) or None for name in ("job", "state", "reason", "nodes")}


def _process(found: Progress, status: Status) -> dict[str, Any]:
    usage = status.usage.get(found.tag)
    return {
        "tag": found.tag,
        "stage": found.stage,
        "steps": found.steps,
        "measured": found.measured,
        "wanted": found.wanted,
        "rate": found.rate,
        "rate_now": found.rate_now,
        "unit": found.unit,
        "loss": found.loss,
        "memory_peak_bytes": found.memory_peak_bytes,
        "rss_bytes": None if usage is None else int(usage["rss_bytes"]),
        "cpu_s": None if usage is None else usage["cpu_s"],
        "started": found.started,
        "last_step": found.last_step,
        "deadline_s": status.deadlines.get(found.tag),
        "outcome": None if found.outcome is None else asdict(found.outcome),
        "events": found.events,
        "bad_lines": found.bad_lines,
    }
