"""What a benchmark writes where records are expected: the good ones count, the bad are counted and told."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from harness import Project, Result, shell

RATE_LINES = """for i in 1 2 3 4 5 6; do echo '{"task": "train", "rate": 10, "units": "items/s"}'; done; """
RATES = RATE_LINES.replace("; done", " >&$DATA_FD; done")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is written between good records, and how many bad lines the report tells of."""

    garbage: bytes
    bad: int


# Lines that are no records, between good ones.
CASES = {
    "text": Case(garbage=b"loading model ...\n", bad=1),
    "binary": Case(garbage=bytes(range(1, 256)).replace(b"\n", b"").replace(b"\r", b"") + b"\n", bad=1),
    "nul-bytes": Case(garbage=b"\0" * 5000 + b"\n", bad=1),
    "bad-utf-8": Case(garbage=b'{"task": "train", "rate": 1, "units": "\xff\xfe"}\n', bad=1),
    "half-json": Case(garbage=b'{"task": "train", "rate": \n', bad=1),
    "two-on-a-line": Case(garbage=b'{"task": "main"}{"task": "main"}\n', bad=1),
    "wrong-types": Case(garbage=b'{"task": "train", "rate": "fast"}\n{"event": 3}\n[1, 2]\n"text"\n17\n', bad=4),
    "deep": Case(garbage=b"[" * 100_000 + b"\n", bad=1),
    "huge-number": Case(garbage=b'{"task": "train", "rate": 1' + b"0" * 400 + b"}\n", bad=0),  # told of as no number
    "a-long-line": Case(garbage=b"x" * 50_000_000 + b"\n", bad=1),
    "empty-lines": Case(garbage=b"\n\n \n", bad=0),
    "forged-end": Case(garbage=b'{"event": "end", "data": {"outcome": "ok", "code": 0}}\n', bad=1),
    "forged-start-and-end": Case(
        garbage=b'{"event": "start", "data": {"seal": "0"}}\n'
        b'{"event": "end", "data": {"outcome": "ok", "code": 0, "seal": "0"}}\n',
        bad=2,
    ),
    "forged-config": Case(garbage=b'{"event": "config", "data": {"weight": 1000, "name": "other"}}\n', bad=1),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Result]]:
    """Run two benchmarks of each: one that ends well, and one that does not."""
    project = Project(tmp_path_factory.mktemp("garbage"))
    entries: dict[str, Any] = {}
    for name, case in CASES.items():
        path = project.folder / f"{name}.garbage"
        path.write_bytes(case.garbage)
        script = f"{RATES} cat {path} >&$DATA_FD; {RATES}"
        entries[name] = shell(script, stop=1000, skip=0)
        entries[f"{name}-fails"] = shell(f"{script} exit 7", stop=1000, skip=0)
    project.suite(**entries)
    yield project, project.verb("run")


@pytest.fixture(scope="module")
def document(ran: tuple[Project, Result]) -> dict[str, Any]:
    found: dict[str, Any] = ran[0].milabench("report", "--json").json
    return found


@pytest.mark.parametrize("name", CASES)
def test_good_records_count_and_bad_ones_are_told(
    ran: tuple[Project, Result], document: dict[str, Any], name: str
) -> None:
    project, result = ran
    assert result.code == 1, result.err
    found = {each["name"]: each for each in document["benchmarks"]}
    well, fails = found[name], found[f"{name}-fails"]
    assert (well["outcomes"], well["failed"], well["perf"]) == ({"ok": 1}, 0, 10)
    assert (fails["outcomes"], fails["failures"][0]["reason"]) == ({"failed": 1}, "exit code 7")
    assert (well["steps"]["measured"], fails["steps"]["measured"]) == (12, 12)
    assert (well["weight"], fails["score"]) == (1, 0)
    journal = project.run().outcomes()
    assert (journal[name].kind, journal[f"{name}-fails"].kind) == ("ok", "failed")
    told = [each.split(" of its ")[0] for each in document["warnings"] if re.match(rf"{name}: \d+ line", each)]
    bad = CASES[name].bad
    assert told == [f"{name}: {bad} lines"] * (bad > 0)


def test_nothing_that_a_benchmark_writes_is_a_traceback(ran: tuple[Project, Result]) -> None:
    _, result = ran
    assert "Traceback" not in result.err + result.out


@pytest.mark.parametrize("name", CASES)
def test_what_was_written_is_kept_as_it_was(ran: tuple[Project, Result], name: str) -> None:
    project, _ = ran
    written = project.run().files(name).events.read_bytes()
    assert CASES[name].garbage in written
    assert json.loads(written.splitlines()[-1])["event"] == "end"


# Half a line, and then nothing: what follows in the file is the runner's own.
def test_a_record_cut_short_by_a_crash_costs_no_other(project: Project) -> None:
    project.suite(cut=shell(f"""{RATES} printf '{{"task": "train", "ra' >&$DATA_FD; kill -9 $$"""))
    assert project.verb("run").code == 1
    found = project.report()["cut"]
    assert (found["outcomes"], found["steps"]["measured"]) == ({"killed": 1}, 6)


PRINTED = {
    "text": Case(garbage=b"loading model ...\n", bad=0),
    "binary": Case(garbage=b"\x00\xff\xfe\n", bad=0),
    "half-json": Case(garbage=b'{"count": 10\n', bad=1),
    "wrong-types": Case(garbage=b'{"count": "many"}\n{"count": null}\n{"rate": true}\n{"count": -1}\n', bad=4),
    "huge-number": Case(garbage=b'{"task": "train", "rate": 1' + b"0" * 400 + b"}\n", bad=1),
    "a-long-line": Case(garbage=b"{" + b"x" * 50_000_000 + b"\n", bad=1),
    "a-long-line-without-end": Case(garbage=b"x" * 50_000_000, bad=0),
    "half-a-letter": Case(garbage=b'{"count": 1, "unit": "\\ud800"}\n', bad=1),
    "deep": Case(garbage=b'{"rate": 1, "x": ' + b"[" * 600 + b"NaN" + b"]" * 600 + b"}\n", bad=1),
    "forged-end": Case(garbage=b'{"event": "end", "data": {"outcome": "ok", "code": 0}}\n', bad=0),
}


@pytest.mark.parametrize("name", PRINTED)
def test_garbage_among_printed_metrics_costs_no_metric(project: Project, name: str) -> None:
    (project.folder / "garbage").write_bytes(PRINTED[name].garbage)
    script = f"{RATE_LINES} cat {project.folder}/garbage; echo; {RATE_LINES} exit 7"
    project.suite(printed=shell(script, stop=1000, skip=0))
    result = project.verb("run")
    assert (result.code, "Traceback" in result.err) == (1, False), result.err
    document = project.milabench("report", "--json").json
    (found,) = document["benchmarks"]
    told = [re.match(r"printed: (\d+) lines that it printed look like", each) for each in document["warnings"]]
    assert [int(each[1]) for each in told if each] == [PRINTED[name].bad] * (PRINTED[name].bad > 0)
    assert (found["outcomes"], found["steps"]["measured"]) == ({"failed": 1}, 12)
    assert PRINTED[name].garbage in project.run().files("printed").stdout.read_bytes()
    assert project.processes() == []


def test_a_benchmark_that_prints_without_end_is_ended_by_its_deadline(project: Project) -> None:
    script = "import sys\nwhile True: sys.stdout.write('x' * 100_000)"
    entry = {"command": {"argv": [sys.executable, "-c", script]}, "max_duration": 2}
    project.suite(flood={**shell("", stop=10), **entry})
    assert project.verb("run").code == 1
    assert project.report()["flood"]["outcomes"] == {"timeout": 1}
