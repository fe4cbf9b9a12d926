"""Read the run archives of a checkout of milabench's public repository and compare what is made of them.

    python tests/upstream/check_runs.py CHECKOUT [--peer-python PYTHON] [--also FOLDER]...

Compares ``milabench report --json`` with (1) the formula of milabench's report, worked out here straight from the
event lines, and (2) with an interpreter that has milabench's dependencies, its own reader and report. Everything has
to agree to 10⁻⁹. ``--also`` adds folders that hold runs, at any depth. It prints what ``report`` warns of and how many
lines of each kind there are. Then it makes a run here, with a repeat, a failure and an attempt that was given up, for
the formula and for milabench's reader. Exit code 1 when something differs. Not part of ``make test``: nothing of that
repository stands in this one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOLERANCE = 1e-9
PEER = Path(__file__).with_name("peer_runs.py")
KEYS = ("n", "fail", "ngpu", "perf", "std", "sem", "score", "weight", "enabled")
Row = dict[str, float | None]

# What differs from milabench's own code on purpose, each with where and why.
NO_ENABLED = (
    "enabled: a config that does not have the key (runs before 2023-04) counts here, as it did in the releases that"
    " wrote it; the report of today takes it for disabled, and its score is then no number"
)
UNENDED = (
    "n, fail, score: a process whose file has no end (it was killed, or the file is cut) is a failure here; milabench"
    " leaves it out, and so out of the share that failed"
)


@dataclass
class Process:
    """One file as the formula sees it."""

    config: dict[str, Any] = field(default_factory=dict)
    ended: bool = False
    code: object = None
    stopped: bool = False
    nan: bool = False
    rates: list[float] = field(default_factory=list)

    @property
    def good(self) -> bool:
        nolog = "nolog" in self.config["tag"]
        return self.stopped or nolog or (self.code == 0 and not self.nan and bool(self.rates))


# The formula, from the lines -------------------------------------------------------------------------------------


def process(path: Path, kinds: Counter[str]) -> Process | None:
    """Return what a file says, None for one that is of no process."""
    found, started = Process(), False
    for raw in path.read_bytes().splitlines():
        try:
            line = json.loads(raw)
            kind, data = line["event"], line["data"]
        except (ValueError, KeyError, TypeError):
            kinds["(damaged)"] += 1
            continue
        kinds[kind] += 1
        started |= kind == "start"
        found.stopped |= kind == "stop"
        if kind == "config":
            found.config = data
        elif kind == "end":
            found.ended, found.code = True, data["return_code"]
        elif kind == "data":
            found.nan |= isinstance(data.get("loss"), float) and math.isnan(data["loss"])
            if data.get("task") == "train" and data.get("rate") is not None:
                found.rates.append(data["rate"])
    setup = found.config.get("definition") == "."  # of milabench's own commands, which are no benchmark
    return found if found.config and started and not setup else None


def trimmed(rates: Sequence[float]) -> list[float]:
    return sorted(rates)[1:-1] if len(rates) >= 5 else sorted(rates)


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def row(processes: Sequence[Process]) -> Row:
    """Return what the formula makes of a benchmark."""
    rates = trimmed([rate for each in processes for rate in each.rates])
    perf = mean(rates) if rates else None
    std = math.sqrt(mean([(rate - perf) ** 2 for rate in rates])) if perf is not None else None
    devices: dict[str, list[float]] = {}
    for each in processes:
        if each.config.get("device") is not None:
            devices.setdefault(str(each.config["device"]), []).extend(each.rates)
    machine = math.fsum(mean(trimmed(rates)) for rates in devices.values() if rates)
    failed = sum(not each.good for each in processes)
    config = processes[-1].config
    return {
        "n": len(processes),
        "fail": failed,
        "ngpu": max(ngpu(each.config) for each in processes),
        "perf": perf,
        "std": std,
        "sem": None if std is None else std / math.sqrt(len(rates)),
        "score": (machine or perf or 0.0) * (1 - failed / len(processes)),
        "weight": config.get("weight", 0),
        "enabled": float(config.get("enabled", True)),
    }


def ngpu(config: Mapping[str, Any]) -> int:
    local = len(config.get("devices") or []) if config.get("plan", {}).get("method") == "njobs" else 1
    return int(config.get("num_machines") or 1) * local


def total(rows: Mapping[str, Row]) -> float | None:
    """Return exp(Σ w·ln(score + 1) / Σ w) over enabled benchmarks."""
    pairs = [((each["weight"] or 0) * (each["enabled"] or 0), each["score"] or 0.0) for each in rows.values()]
    weights = sum(weight for weight, _ in pairs)
    return math.exp(sum(weight * math.log(score + 1) for weight, score in pairs) / weights) if weights else None


# What is compared ------------------------------------------------------------------------------------------------


def reported(runs: Sequence[Path]) -> tuple[dict[str, Row], float | None, list[str]]:
    """Return what ``milabench report`` makes of runs: its rows, its score and its warnings."""
    command = [Path(sys.executable).parent / "milabench", "report", *runs, "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rows: dict[str, Row] = {}
    for each in found["benchmarks"]:
        if each["n"]:  # what was skipped is in no report of milabench
            rows[each["name"]] = {**{key: each[key] for key in KEYS if key in each}, "fail": each["failed"]}
            rows[each["name"]]["enabled"] = float(each["enabled"])
    return rows, found["score"]["milabench"], found["warnings"]


def by_hand(runs: Sequence[Path], kinds: Counter[str]) -> tuple[dict[str, Row], set[str], set[str]]:
    """Return the formula's rows, and the benchmarks that have a process without an end, and those without a word on
    whether they are enabled."""
    several: dict[str, list[Process]] = {}
    for path in sorted(path for run in runs for path in run.rglob("*.data")):
        if (found := process(path, kinds)) is not None:
            several.setdefault(found.config["name"], []).append(found)
    unended = {name for name, each in several.items() if not all(one.ended for one in each)}
    untold = {name for name, each in several.items() if "enabled" not in each[-1].config}
    return {name: row(each) for name, each in several.items()}, unended, untold


def by_peer(runs: Sequence[Path], checkout: Path, python: Path) -> tuple[dict[str, Row], float | None, int]:
    """Return what milabench's own code makes of runs: its rows, the score that its report prints, and how many samples
    of a GPU had to be given a power for it."""
    paths = os.pathsep.join(str(path.resolve()) for path in (checkout, checkout / "benchmate"))
    command = [str(python), str(PEER), *map(str, runs)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
    found = json.loads(done.stdout)
    return found["benchmarks"], found["printed"], found["powered"]


class Tally:
    """How many values were compared, which of them differ, and which are let pass with what reason."""

    def __init__(self) -> None:
        self.compared = 0
        self.differing: list[str] = []
        self.passed: Counter[str] = Counter()

    def same(self, what: str, ours: float | None, theirs: float | None, tolerance: float = TOLERANCE) -> bool:
        self.compared += 1
        equal = ours == theirs or (
            ours is not None and theirs is not None and math.isclose(ours, theirs, rel_tol=tolerance)
        )
        if not equal:
            self.differing.append(f"{what}: {ours!r} here, {theirs!r} there")
        return equal

    def rows(self, who: str, ours: Mapping[str, Row], theirs: Mapping[str, Row], excepted: Mapping[str, str]) -> None:
        """Compare the rows of all benchmarks; ``excepted`` names ``benchmark.key`` and why it differs."""
        for name in sorted(ours.keys() | theirs.keys()):
            for key in KEYS:
                if reason := excepted.get(f"{name}.{key}"):
                    self.passed[reason] += 1
                else:
                    mine, other = ours.get(name, {}).get(key, math.nan), theirs.get(name, {}).get(key, math.nan)
                    if key == "score":  # without a rate it is no number there, and counts as 0 in the total
                        other = other or 0.0
                    self.same(f"{name}.{key} ({who})", mine, other)


def compare(name: str, runs: Sequence[Path], asked: argparse.Namespace, tally: Tally) -> None:
    kinds: Counter[str] = Counter()
    rows, score, warnings = reported(runs)
    hand, unended, untold = by_hand(runs, kinds)
    tally.rows("formula", rows, hand, {})
    tally.same(f"{name}: score (formula)", score, total(hand))
    print(f"\n{name}: {len(rows)} benchmarks, score {score!r}, by the formula {total(hand)!r}")
    if asked.peer_python:
        peer, printed, powered = by_peer(runs, asked.checkout, asked.peer_python)
        excepted = {f"{each}.{key}": UNENDED for each in unended for key in ("n", "fail", "score", *KEYS)}
        excepted |= {f"{each}.enabled": NO_ENABLED for each in untold}
        tally.rows("milabench", rows, peer, excepted)
        told = {each: {"enabled": 1.0} for each in untold}
        whole = {each: {**found, **told.get(each, {})} for each, found in peer.items()}
        if not unended:
            tally.same(f"{name}: score (milabench)", score, total(whole))
        if not untold and not unended:  # as printed: two decimals
            tally.same(f"{name}: score printed", -1.0 if score is None else round(score, 2), printed, 1e-12)
        print(f"  milabench: score {total(whole)!r}, printed {printed}; {powered} samples given a power")
    for each, found in rows.items():
        print(f"  {each:<24}" + "".join(f" {key} {_short(found[key])}" for key in KEYS))
    print("  lines: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    print("".join(f"  warning: {warning}\n" for warning in warnings), end="")


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"


# Where runs are --------------------------------------------------------------------------------------------------


def archives(checkout: Path, into: Path, also: Sequence[Path]) -> Iterator[tuple[str, list[Path]]]:
    """Yield each archive and folder of the checkout with the runs in it, unpacked."""
    folder = checkout / "tests" / "runs"
    for path in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as packed:
            packed.extractall(into / path.stem)
        yield path.name, runs_in(into / path.stem)
    for path in sorted(each for root in (folder, *also) for each in runs_in(root)):
        yield path.name, [path]


def runs_in(folder: Path) -> list[Path]:
    return sorted({path.parent for path in folder.rglob("*.data")})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--peer-python", type=Path, help="an interpreter with milabench's dependencies")
    parser.add_argument("--also", type=Path, action="append", default=[], help="a folder of further runs")
    asked = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        for name, runs in archives(asked.checkout, Path(folder), asked.also):
            compare(name, runs, asked, tally)
    print("".join(f"\nlet pass {count} times: {reason}" for reason, count in tally.passed.items()))
    print("".join(f"DIFFERS {what}\n" for what in tally.differing), end="")
    print(f"{tally.compared} values compared, {len(tally.differing)} differ")
    return int(bool(tally.differing))


if __name__ == "__main__":
    sys.exit(main())
