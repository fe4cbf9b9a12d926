"""Lines as earlier releases of milabench wrote them, and what is read of files that hold them."""

from __future__ import annotations

import json

from summary_fakes import FakeRun

from milabench.summary import ProcessSummary, Summary, summarize


def line(event: str, data: object, pipe: str | None = None) -> bytes:
    return json.dumps({"event": event, "data": data, "pipe": pipe}).encode() + b"\n"


def data(**values: object) -> bytes:
    return line("data", values, "data")


def rate(value: float, **more: object) -> bytes:
    return data(task="train", rate=value, units="items/s", **more)


def config(of: str, **more: object) -> bytes:
    name, *rest = of.split(".")
    return line("config", {"name": name, "tag": [name, *rest], "weight": 1.0, "enabled": True, "group": name, **more})


def start(time: float = 100.0) -> bytes:
    return line("start", {"command": ["voir", "main.py"], "time": time})


def end(code: object = 0, time: float = 130.0) -> bytes:
    return line("end", {"command": ["voir", "main.py"], "time": time, "return_code": code})


def of(run: FakeRun, **files: bytes) -> Summary:
    """Return the summary of a run of these files; ``__`` in a name is a dot."""
    for tag, content in files.items():
        run.files(tag.replace("__", ".")).events.write_bytes(content)
    return summarize(run)


def one(run: FakeRun, content: bytes, tag: str = "net.D0") -> tuple[ProcessSummary, tuple[str, ...]]:
    summary = of(run, **{tag: content})
    ((process,),) = (found.processes for found in summary.benchmarks)
    return process, summary.warnings[:]


def around(*lines: bytes, code: object = 0, **more: object) -> bytes:
    return b"".join([config("net.D0", device=0, devices=[0], **more), start(), *lines, end(code)])
