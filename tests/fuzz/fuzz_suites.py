"""Damage suites and system files, and see that whatever comes of them is a result or a told mistake, and no more.

    python tests/fuzz/fuzz_suites.py --count 100000 --seed 1 --jobs 2 [--suites FOLDER] [--keep FOLDER]

Each file is read as ``milabench check`` reads it, what is well is planned for two nodes of eight devices, and all is
rendered. Nothing but a result, ConfigurationError or UsageError may come out, every mistake must lie inside a file, in
2 s of processor time and 1 GiB; under an audit hook, nothing but the suite's own files is read, and nothing is run,
written, listed or imported. A file that fails is printed with its number, and kept with ``--keep``; ``--only N`` judges
one alone. Not part of ``make test``: a hundred thousand files take minutes.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import multiprocessing
import os
import pwd  # noqa: F401 - for the home folders of users, imported before anything is watched
import queue
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmate"), str(Path(__file__).parent)]

import mutate  # noqa: E402

from milabench import plan as planning  # noqa: E402
from milabench import suite, system  # noqa: E402
from milabench.document import parse, plain  # noqa: E402
from milabench.errors import ConfigurationError, Problem, UsageError  # noqa: E402
from milabench.pack import Package  # noqa: E402
from milabench.plan import Site, Workspace, codec  # noqa: E402
from milabench.render.plan import render  # noqa: E402

SEEDS = Path(__file__).parent / "seeds"
CPU_LIMIT_S = 2.0
MEMORY_LIMIT = 1 << 30
MAX_PLANNED = 2_000  # processes: a plan of more is well, and takes its time
FACTS: dict[str, Any] = {
    "hostname": "here",
    "cpus": 16,
    "cpu_name": "a CPU",
    "memory_bytes": 2**36,
    "arch": "cuda",
    "devices": [],
    "environ": {"HOME": "/home/me", "PATH": "/bin"},
    "ips": [],
    "indexes": [],
}
SHAPE = {"arch": "cuda", "gpus": 8, "nodes": 2, "gpu_memory": 80 * 2**30}
SITE = Site(
    base="/nowhere/base", python="/nowhere/python", python_version="3.11.0", uv=None, installer="uv",
    constraints="/nowhere", benchmate="/nowhere", wheel="w.whl", import_path=("/nowhere",),
)  # fmt: skip


class Failure(AssertionError):
    """What must never come of a file."""


class TooLong(BaseException):
    """A file took more than its time; no code of ours may catch it."""


# The world, watched ----------------------------------------------------------------------------------------------


@dataclass
class Watch:
    """What an audit hook lets pass while a file is read: opening files of ``folder`` to read them."""

    folder: str = ""
    armed: bool = False
    seen: str = ""
    is_judging: bool = False  # the script itself looks into a file

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.armed or event in ALLOWED:
            return
        if event == "open" and self._is_read_of_suite(args):
            return
        self.seen = self.seen or f"{event}{args!r:.200}"
        raise Failure(f"a file had an effect: {event} {args!r:.200}")

    def _is_read_of_suite(self, args: tuple[Any, ...]) -> bool:
        path, flags = args[0], args[2]
        writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC)
        if writing or not isinstance(path, str):
            return False
        frame = sys._getframe(2)
        while (
            frame.f_back and Path(frame.f_code.co_filename).name != "document.py"
        ):  # only it reads: files and includes
            frame = frame.f_back
        return frame.f_back is not None or (self.is_judging and path.startswith(self.folder))


# Looking is no effect: object.__getattr__ and the like are raised by frames that tracebacks are made of.
ALLOWED = {"object.__getattr__", "object.__setattr__", "object.__delattr__", "sys._getframe", "builtins.id"}
WATCH = Watch()


def _out_of_time(*_: object) -> None:
    raise TooLong


# One file --------------------------------------------------------------------------------------------------------


def judge(path: Path, *, is_system: bool) -> str:
    """Return what came of a file: ``planned``, ``well``, or the codes of its mistakes. Raises Failure."""
    try:
        if is_system:
            found = system.resolve(path, FACTS, operator=system.Operator(environ=FACTS["environ"]))
            _told(found.warnings)
            return "well"
        whole = suite.resolve(path, (), FACTS["environ"])
        _told(whole.warnings)
        return _planned(whole)
    except ConfigurationError as error:
        _told(error.problems)
        if not error.problems:
            raise Failure("refused without a reason") from None
        return " ".join(sorted({problem.code for problem in error.problems}))
    except UsageError as error:
        str(error).encode()
        return "usage"


def _planned(whole: suite.Suite) -> str:
    try:
        chosen = suite.select(whole)
    except UsageError:
        return "well"
    if sum(max(each.placement.n, 8) for each in chosen.benchmarks) > MAX_PLANNED:
        return "well"
    made = planning.plan(
        Workspace(
            suite=chosen,
            system=system.resolve(None, FACTS, SHAPE),
            packages={each.definition: Package for each in chosen.benchmarks if each.definition},
            site=SITE,
            environ={},
        ),
        "run",
    )
    for text in ("".join(codec.lines(made)), codec.to_shell(made), render(made)):
        text.encode()
    return "planned"


def _told(problems: Sequence[Problem]) -> None:
    """Check that problems can be shown and lie inside the files they are of."""
    known: dict[str, list[str]] = {}
    for problem in problems:
        json.dumps(str(problem)).encode()
        str(problem).encode()
        if len(str(problem)) > 4000:
            raise Failure(f"a message of {len(str(problem))} characters: {problem!s:.200}")
        if problem.mark is None:
            if problem.code != "W108":
                raise Failure(f"a mistake of no place: {problem}")
        elif not _inside(problem.mark.file, problem.mark.line, problem.mark.column, known):
            raise Failure(f"a place outside the file: {problem!s:.300}")


def _inside(file: str, line: int, column: int, known: dict[str, list[str]]) -> bool:
    if not file.startswith(WATCH.folder):
        return file == "built-in defaults" or (line, column) == (1, 1) or Path(file).is_file()
    if file not in known:
        known[file] = _lines(Path(file))
    lines = known[file]
    return 1 <= line <= len(lines) + 1 and 1 <= column <= (len(lines[line - 1]) + 2 if line <= len(lines) else 1)


def _lines(path: Path) -> list[str]:
    """Return the lines of a file as YAML has them end; of one that cannot be read, one."""
    WATCH.is_judging = True
    try:
        content = path.read_bytes()
    except OSError:
        return [""]
    finally:
        WATCH.is_judging = False
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    return re.split("\r\n|[\r\n\x85\u2028\u2029]", content.decode("utf-16" if wide else "utf-8", errors="replace"))


# Many files ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seed:
    """A file to damage, where it lies in the folder, and what it means."""

    name: str
    text: bytes
    tree: Any


def seeds(folder: Path, more: Path | None) -> list[Seed]:
    """Lay out the files to damage in a folder, with the folders that they name, and return them."""
    shutil.copytree(SEEDS, folder / "suites")
    shutil.copytree(ROOT / "config", folder / "config")
    for benchmark in (ROOT / "benchmarks").iterdir():
        (folder / "benchmarks" / benchmark.name).mkdir(parents=True)
    if more:
        shutil.copytree(more, folder / "more", ignore=lambda _, names: [n for n in names if not _is_wanted(more, n)])
    return [_seed(path, folder) for path in sorted(folder.rglob("*.yaml"))]


def _is_wanted(folder: Path, name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "." not in name


def _seed(path: Path, folder: Path) -> Seed:
    text = path.read_bytes()
    try:
        node = parse(text, str(path))
        tree = plain(node) if node else None
    except ConfigurationError:
        tree = None
    return Seed(str(path.relative_to(folder)), text, tree)


def choose(known: Sequence[Seed], dice: random.Random) -> tuple[Seed, bytes]:
    """Return a seed and a damaged form of it; of a large suite often only some entries."""
    seed = dice.choice(known)
    tree = seed.tree
    if isinstance(tree, dict) and len(tree) > 8 and dice.random() < 0.8:
        kept = set(dice.sample(sorted(tree), 6)) | {"include"}
        tree = {name: entry for name, entry in tree.items() if name in kept or name.startswith("_")}
    return seed, mutate.mutated(seed.text, tree, dice)


def run(numbers: Iterator[int], options: argparse.Namespace, results: Any, current: Any) -> None:
    """Judge files by their numbers and put (number, outcome, failure or None, seconds) for each."""
    with tempfile.TemporaryDirectory(dir=_memory_disk()) as name:
        folder = Path(name).resolve()
        known = seeds(folder, options.suites)
        for seed in known:  # what is imported on the way is imported now
            judge_quietly(folder / seed.name)
        sys.addaudithook(WATCH)
        WATCH.folder = str(folder)
        signal.signal(signal.SIGPROF, _out_of_time)
        used = resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_LIMIT, used + MEMORY_LIMIT))
        for number in numbers:
            seed, text = choose(known, random.Random(options.seed * 1_000_003 + number))
            current[number % options.jobs] = number
            path = folder / seed.name
            path.write_bytes(text)
            outcome, failure, seconds = watched(path)
            path.write_bytes(seed.text)
            if failure and options.keep:
                (options.keep / f"{number}-{Path(seed.name).name}").write_bytes(text)
            results.put((number, outcome, f"{seed.name}\n{failure}" if failure else None, seconds))
    results.put(None)


def judge_quietly(path: Path) -> None:
    for is_system in (False, True):
        try:
            WATCH.folder = str(path.parent.parent)
            judge(path, is_system=is_system)
        except Exception:  # noqa: S110 - only to import what reading imports
            pass


def watched(path: Path) -> tuple[str, str | None, float]:
    """Return outcome, failure (or None) and processor seconds of one file."""
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S, 0.5)  # again, where the first one was swallowed
    WATCH.armed, WATCH.seen = True, ""
    try:
        outcome, failure = judge(path, is_system="system" in path.name), None
        if WATCH.seen:
            failure = f"an effect that was caught: {WATCH.seen}"
    except TooLong:
        WATCH.armed = False
        outcome, failure = "failed", "longer than " + f"{CPU_LIMIT_S} s\n" + traceback.format_exc()[-1500:]
    except BaseException:
        WATCH.armed = False
        outcome, failure = "failed", traceback.format_exc()[-3000:]
    finally:
        WATCH.armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)
    return outcome, failure, time.process_time() - began


def _memory_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> int:
    """Run as the command line says; exit with 1 where any file failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int, help="judge this one alone")
    parser.add_argument("--suites", type=Path, help="a folder of further suites to damage")
    parser.add_argument("--keep", type=Path, help="write files that fail into this folder")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    every = [options.only] if options.only is not None else range(options.count)
    context = multiprocessing.get_context("fork")
    results: Any = context.Queue()
    current = context.Array("q", options.jobs)
    workers = [
        context.Process(target=run, args=(itertools.islice(every, job, None, options.jobs), options, results, current))
        for job in range(options.jobs)
    ]
    for worker in workers:
        worker.start()
    return report(results, workers, current)


def report(results: Any, workers: Sequence[Any], current: Any) -> int:
    """Print failures as they come and what came of all files; return the exit code."""
    outcomes: collections.Counter[str] = collections.Counter()
    codes: collections.Counter[str] = collections.Counter()
    slowest, failures, running = (0.0, -1), 0, len(workers)
    while running:
        try:
            item = results.get(timeout=5)
        except queue.Empty:
            dead = [worker for worker in workers if worker.exitcode]
            if not dead:
                continue
            print(f"--- a process ended with {dead[0].exitcode}, near file {current[:]}", flush=True)
            failures, item = failures + 1, None
            workers = [worker for worker in workers if worker is not dead[0]]
        if item is None:
            running -= 1
            continue
        number, outcome, failure, seconds = item
        refused = outcome not in ("planned", "well", "usage", "failed")
        outcomes["refused" if refused else outcome] += 1
        codes.update(outcome.split() if refused else ())
        slowest = max(slowest, (seconds, number))
        if failure:
            failures += 1
            print(f"--- file {number}: {failure}", flush=True)
    print(f"{sum(outcomes.values())} files: {', '.join(f'{n} {what}' for what, n in outcomes.most_common())}")
    print(f"{len(codes)} codes: {', '.join(f'{code} {n}' for code, n in codes.most_common())}")
    print(f"slowest: {slowest[0]:.2f} s (file {slowest[1]}); {failures} failures")
    for worker in workers:
        worker.join()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
