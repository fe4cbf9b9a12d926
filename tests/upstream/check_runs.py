"""Read the run archives of a checkout of milabench's public repository and compare what is made of them.

    python tests/upstream/check_runs.py CHECKOUT [--peer-python PYTHON] [--also FOLDER]...

Compares ``milabench report --json`` with (1) the formula of milabench's report and what the files hold, worked out
straight from their lines, and (2) with an interpreter that has milabench's dependencies, its own reader and report.
Everything has to agree to 10⁻⁹. ``--also`` adds folders that hold runs, at any depth. It prints what ``report`` warns
of and how many lines of each kind there are. Then it makes a run here, with repeats, failures and an attempt that was
given up, for the formula and for milabench's reader. Exit code 1 when something differs. Not part of ``make test``:
nothing of that repository stands in this one.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_formula import HELD, KEYS, Process, Row, held, processes, row, total

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import PRINTER, Project  # noqa: E402

TOLERANCE = 1e-9
PEER = Path(__file__).with_name("peer_runs.py")
# What differs from milabench's own code on purpose. The values are compared all the same, with what it would say
# without the difference.
NO_ENABLED = (
    "a config without the key `enabled` (before 2023-04) counts in the score, as in the releases that wrote it; the"
    " report of today takes it for disabled, and its score is then no number"
)
UNENDED = (
    "a process whose file has no end (it was killed, or the file is cut) is a failure; milabench leaves it out, and so"
    " out of the share that failed"
)
NEW = {
    "ngpu": "a process on a CPU uses no device; milabench counts one",
    "seconds": "a run of today has them by a clock that nobody sets; they are not compared with its wall clock",
}


class Tally:
    """How many values were compared, which of them differ, and what was found to differ on purpose."""

    def __init__(self) -> None:
        self.compared = 0
        self.differing: list[str] = []
        self.known: Counter[str] = Counter()
        self.left_out: frozenset[str] = frozenset()  # keys

    def same(self, what: str, ours: float | None, theirs: float | None) -> None:
        self.compared += 1
        close = ours is not None and theirs is not None and math.isclose(ours, theirs, rel_tol=TOLERANCE)
        if ours != theirs and not close:
            self.differing.append(f"{what}: {ours!r} here, {theirs!r} there")

    def rows(self, who: str, keys: Sequence[str], ours: Mapping[str, Row], theirs: Mapping[str, Row]) -> None:
        """Compare these values of all benchmarks."""
        for name in sorted(ours.keys() | theirs.keys()):
            for key in (key for key in keys if key not in self.left_out):
                mine, other = (of.get(name, {}).get(key, math.nan) for of in (ours, theirs))
                self.same(f"{name}.{key} ({who})", mine, other)


# Both sides ------------------------------------------------------------------------------------------------------


def reported(runs: Sequence[Path]) -> tuple[dict[str, Row], float | None, list[str]]:
    """Return what ``milabench report`` makes of runs: its rows, its score and its warnings."""
    command = [Path(sys.executable).parent / "milabench", "report", *runs, "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rows = {
        each["name"]: _row(each) for each in found["benchmarks"] if each["n"]
    }  # a skipped one is in no report there
    return rows, found["score"]["milabench"], found["warnings"]


def _row(each: Mapping[str, Any]) -> Row:
    losses = each["losses"] or {"n": 0, "first": None, "last": None}
    on_device = each["peak_memory_source"] == "device"
    told = {
        "fail": each["failed"],
        "enabled": float(each["enabled"]),
        "rates": each["steps"]["measured"],
        "losses": losses["n"],
        "first_loss": losses["first"],
        "last_loss": losses["last"],
        "memory": each["peak_memory_bytes"] if on_device else 0,
    }
    return {key: told.get(key, each.get(key)) for key in (*KEYS, *HELD)}


def by_peer(runs: Sequence[Path], checkout: Path, python: Path) -> tuple[dict[str, Row], float | None, int]:
    """Return what milabench's own code makes of runs: its rows, the score that its report prints, and how many samples
    of a GPU had to be given a power for it."""
    paths = os.pathsep.join(str(path.resolve()) for path in (checkout, checkout / "benchmate"))
    command = [str(python.absolute()), str(PEER.resolve()), *map(str, runs)]
    environ = {**os.environ, "PYTHONPATH": paths}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, env=environ)
    found = json.loads(done.stdout)
    rows = {name: {**each, "score": each["score"] or 0.0} for name, each in found["benchmarks"].items()}
    return rows, found["printed"], found["powered"]  # without a rate a score is no number there, and counts as 0


# What is compared ------------------------------------------------------------------------------------------------


def compare(name: str, runs: Sequence[Path], asked: argparse.Namespace, tally: Tally) -> None:
    kinds: Counter[str] = Counter()
    rows, score, warnings = reported(runs)
    several = processes(runs, kinds)
    formula = {each: row(found) for each, found in several.items()}
    tally.rows("formula", KEYS, rows, formula)
    tally.rows("held", HELD, rows, {each: held(found) for each, found in several.items()})
    tally.same(f"{name}: score (formula)", score, total(formula))
    print(f"\n{name}: {len(rows)} benchmarks, score {score!r}, by the formula {total(formula)!r}")
    if asked.peer_python:
        _compare_peer(_Compared(name=name, runs=runs, processes=several, rows=rows), asked, tally)
    for each, found in rows.items():
        print(f"  {each:<24}" + "".join(f" {key} {_short(found[key])}" for key in (*KEYS, "rates", "losses", "memory")))
    print("  lines: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    print("".join(f"  warning: {warning}\n" for warning in warnings), end="")


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Runs that are pooled, their processes by benchmark as their files have them, and our rows of them."""

    name: str
    runs: Sequence[Path]
    processes: Mapping[str, Sequence[Process]]
    rows: Mapping[str, Row]


def _compare_peer(ours: _Compared, asked: argparse.Namespace, tally: Tally) -> None:
    """Compare with milabench's own code: ours, but for benchmarks that are known to differ what it would say there."""
    peer, printed, powered = by_peer(ours.runs, asked.checkout, asked.peer_python)
    expected: dict[str, Row] = {}
    for each, found in ours.processes.items():
        ended = [process for process in found if process.ended is not None]
        untold = "enabled" not in found[-1].config
        tally.known.update({UNENDED: len(found) - len(ended), NO_ENABLED: int(untold)})
        if ended:
            told = row(ended) if len(ended) < len(found) else dict(ours.rows[each])
            expected[each] = {**told, **({"enabled": 0.0} if untold else {})}
    tally.rows("milabench", KEYS, expected, peer)
    shown = total(expected)
    tally.same(f"{ours.name}: score as printed there", -1.0 if shown is None else round(shown, 2), printed)
    print(f"  milabench: score {total(peer)!r}, printed {printed}; {powered} samples given a power")


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"


# Where runs are --------------------------------------------------------------------------------------------------


def archives(checkout: Path, into: Path, also: Sequence[Path]) -> Iterator[tuple[str, list[Path]]]:
    """Yield each archive and folder of the checkout with the runs in it, unpacked. SystemExit: it has no archive."""
    folder = checkout / "tests" / "runs"
    packed_runs = sorted(folder.glob("*.zip"))
    if not packed_runs:
        raise SystemExit(f"{folder} holds no archive of runs: give a checkout of milabench's public repository")
    for path in packed_runs:
        with zipfile.ZipFile(path) as packed:
            packed.extractall(into / path.stem)
        yield path.name, runs_in(into / path.stem)
    for path in sorted(each for root in (folder, *also) for each in runs_in(root)):
        yield path.name, [path]


def runs_in(folder: Path) -> list[Path]:
    return sorted({path.parent for path in folder.rglob("*.data")})


def same_unpacked(checkout: Path, tally: Tally) -> None:
    """Compare what ``report`` makes of an archive with what it makes of its folder, unpacked."""
    for path in sorted((checkout / "tests" / "runs").glob("*.zip")):
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as packed:
            packed.extractall(folder)
            rows, score, _ = reported(runs_in(Path(folder)))
        archived, whole, _ = reported([path])
        tally.rows(f"{path.name}, packed", (*KEYS, *HELD), archived, rows)
        tally.same(f"{path.name}: score, packed", whole, score)


def new_run(folder: Path) -> list[Path]:
    """Make a run here: repeats, a failure, processes that print rates, and an attempt that was given up."""
    project = Project(folder)
    shared = {"plan": {"method": "njobs", "n": 1}, "voir": {"options": {"stop": 30, "skip": 3}}}
    rates = 'for i in 1 2 3 4 5 6 7; do echo \'{"rate": \'$i\', "units": "GB/s"}\'; done'
    project.suite(
        printer={**shared, "weight": 2, "command": {"argv": ["sh", "-c", PRINTER]}},
        rates={**shared, "weight": 1, "command": {"argv": ["sh", "-c", rates]}},
        fails={**shared, "weight": 1, "command": {"argv": ["sh", "-c", f"{rates}; exit 3"]}},
        silent={**shared, "enabled": False, "weight": 5, "command": {"argv": ["true"]}},
        twice={**shared, "plan": {"method": "njobs", "n": 2}, "command": {"argv": ["sh", "-c", rates]}},
    )
    project.verb("run", "--repeat", "2")
    run = project.run().path
    project.milabench("resume", str(run), "--failed")
    if not any((run / "attempts").rglob("*.jsonl")):
        raise RuntimeError(f"{run}: nothing was given up in the run made here")
    return [run]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--peer-python", type=Path, help="an interpreter with milabench's dependencies")
    parser.add_argument("--also", type=Path, action="append", default=[], help="a folder of further runs")
    asked = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory() as old, tempfile.TemporaryDirectory() as new:
        for name, runs in archives(asked.checkout, Path(old), asked.also):
            compare(name, runs, asked, tally)
        tally.left_out, tally.known = frozenset(NEW), tally.known + Counter(NEW.values())
        compare("a run made here", new_run(Path(new)), asked, tally)
        tally.left_out = frozenset()
    same_unpacked(asked.checkout, tally)
    print("".join(f"\nknown to differ, {count} times: {why}" for why, count in tally.known.items() if count))
    print("".join(f"DIFFERS {what}\n" for what in tally.differing), end="")
    print(f"{tally.compared} values compared, {len(tally.differing)} differ")
    return int(bool(tally.differing))


if __name__ == "__main__":
    sys.exit(main())
