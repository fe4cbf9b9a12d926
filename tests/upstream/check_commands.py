"""Compare the processes of milabench's suites, as it starts them, with those of our plan: word by word.

    python tests/upstream/check_commands.py CHECKOUT [--peer-python PYTHON]

The witness are the commands recorded under ``tests/regression`` of the checkout and, with the interpreter of an
environment that milabench can be imported in, what its code of today makes of the suites of today (needed: voir,
omegaconf, ovld, numpy<2, cantilever, nox, filelock, argklass, pandas, rich, blessed, psutil, sqlalchemy, GitPython,
py-cpuinfo, requests, tqdm, pathspec, hrepr, importlib-resources; no torch). Differences are explained by the kinds
in ``differences.py``; exit code 1 when one is not. Not part of ``make test``: nothing of that repository stands here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from differences import KINDS, MAIN_ADDRESS, USER, Process, explain

GPUS, MEMORY_MIB = 8, 80_000
RECORDED_AT = "38a2a613"  # both recordings were written by this commit and have not been changed since
RECORDED_CPUS = 4
RECORDED_SUITE = "config/standard.yaml"
LEFT_OUT = {
    "focalnet": "its benchfile of that time asks for logdir, the folder of the run, which a plan does not know; the one"
    " of today does not, and is compared",
}
# milabench looked such names up in the benchmark alone at that time; its files of today say ${..num_machines}
OF_THAT_TIME = ("${num_machines}", "${..num_machines}")
CPUS = 64


WITH_DEV = (  # dev.yaml of torchvision has a key twice, that of accelerate_opt describes nothing
    *("_templates/simple", "_templates/stdout", "_templates/voir", "cleanrl_jax", "diffusion", "dinov2"),
    *("fno_benchmark", "geo_gnn", "huggingface", "inference", "lightning", "llm", "purejaxrl", "recursiongfn"),
    *("retired/torchatari", "rlhf", "vjepa", "vllm"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A suite of today, by its path in the checkout, on a number of nodes, with options of the system file."""

    suite: str
    nodes: int
    options: dict[str, Any] = field(default_factory=dict)


ALL, FOUR_NODES = "config/all.yaml", "config/4nodes.yaml"
TODAY = (  # in the other suites nothing is enabled
    *(
        Case(f"config/{name}.yaml", nodes)
        for name in ("all", "standard", "inference", "vllm", "ci")
        for nodes in (1, 2)
    ),
    *(Case(FOUR_NODES, nodes) for nodes in (1, 2, 4)),
    *(Case(f"benchmarks/{name}/dev.yaml", 2) for name in WITH_DEV),
    Case(ALL, 1, {"cpu": {"enabled": True, "reserved_cores": 2}}),
    Case(ALL, 1, {"cpu": {"enabled": True, "n_workers": 3}}),
    Case(ALL, 1, {"sizer": {"auto": 1, "batch_size": 24}}),
    Case(ALL, 1, {"sizer": {"auto": 1, "config": "default"}}),
    Case(ALL, 1, {"sizer": {"auto": 1, "config": "default", "power": 2, "capacity": "40000 MiB"}}),
    Case(ALL, 1, {"sizer": {"auto": 1, "config": "H100", "optimized": 1}}),
    Case(ALL, 1, {"sizer": {"auto": 1, "add": 8, "mult": 1.5}}),
)


@dataclass(slots=True)
class Tally:
    """What came of the comparisons."""

    same: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


def archive(checkout: Path, revision: str, folder: Path, *paths: str) -> Path:
    """Write the files of a revision into a folder, and return it."""
    made = subprocess.run(
        ["git", "-C", checkout, "archive", revision, *paths], check=True, stdout=subprocess.PIPE
    ).stdout
    with tarfile.open(fileobj=BytesIO(made)) as files:
        files.extractall(folder, filter="data")
    return folder


def system_file(path: Path, nodes: int, options: dict[str, Any]) -> Path:
    addresses = [MAIN_ADDRESS, *(f"192.168.0.{number + 10}" for number in range(1, nodes))]
    entries = [
        {"name": address, "ip": address, "user": USER, "main": index == 0, "sshport": 22}
        for index, address in enumerate(addresses)
    ]
    path.write_text(json.dumps({"system": {"arch": "cuda", "nodes": entries, "options": options}}))
    return path


def planned(suite: Path, system: Path, base: Path, cpus: int, exclude: Sequence[str] = ()) -> dict[str, Any]:
    """Return our plan as JSON. Raises SystemExit with what milabench says where there is none."""
    words = ["plan", "--config", suite, "--system", system, "--base", base, "--format", "json", "--gpus", str(GPUS)]
    words += ["--gpu-memory", f"{MEMORY_MIB}MiB", "--cpus", str(cpus), *(f"--exclude={name}" for name in exclude)]
    done = subprocess.run(
        [Path(sys.executable).parent / "milabench", *words], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{suite}: no plan: {done.stderr}")
    plan: dict[str, Any] = json.loads(done.stdout)
    return plan


def ours(plan: dict[str, Any], source: Path, base: Path) -> Iterator[Process]:
    def voirfile(code: str) -> bool:
        return (source / "benchmarks" / Path(code).relative_to(base / "code") / "voirfile.py").exists()

    for trial in plan["trials"]:
        for job in trial["jobs"]:
            for command in job["commands"]:
                yield Process(
                    benchmark=trial["benchmark"],
                    argv=tuple(word.replace(str(base), "$BASE") for word in command["argv"]),
                    node=command["node"],
                    venv=command["env"]["MILABENCH_DIR_VENV"].replace(str(base), "$BASE"),
                    voirfile=voirfile(command["env"]["MILABENCH_DIR_CODE"]),
                    devices=tuple(command["devices"]),
                    cwd=command["cwd"].replace(str(base), "$BASE"),
                )


def recorded(text: str) -> Iterator[Process]:
    """Yield the processes of a recorded shell script; it does not tell empty arguments, nor words with spaces."""
    name = ""
    for line in text.replace("$SRC/milabench/", "$SRC/").splitlines():
        if title := re.fullmatch(r'echo "([^"=]+)"', line):
            name = title[1]
        if not (line.startswith("  ") and line.endswith(" &")):
            continue
        words = line.split()[:-1]
        devices = None
        if words[0].startswith("CUDA_VISIBLE_DEVICES="):
            devices = (int(words.pop(0).partition("=")[2]),)
        yield Process(benchmark=name, argv=tuple(words), node=MAIN_ADDRESS, venv="", voirfile=False, devices=devices)


def peers(checkout: Path, python: str, suite: Path, system: Path, base: Path) -> dict[str, Any]:
    """Return what milabench's own code makes of a suite."""
    driver = Path(__file__).parent / "peer_commands.py"
    done = subprocess.run(
        [python, driver, suite, system, base, str(GPUS), str(MEMORY_MIB), str(CPUS)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{checkout}:{checkout / 'benchmate'}"},
    )
    if done.returncode != 0:
        raise SystemExit(f"{suite}: milabench itself fails: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def theirs(found: dict[str, Any], checkout: Path, base: Path) -> Iterator[Process]:
    def told(text: str) -> str:
        return text.replace(str(base), "$BASE").replace(str(checkout), "$SRC")

    for entry in found["processes"]:
        yield Process(
            benchmark=entry["benchmark"],
            argv=tuple(told(word) for word in entry["argv"]),
            node=MAIN_ADDRESS,
            venv=told(entry["venv"]),
            voirfile=(Path(entry["code"]) / "voirfile.py").exists(),
            devices=tuple(entry["devices"]),
            cwd=told(entry["cwd"]),
        )


def compare(where: str, witness: Sequence[Process], plan: Sequence[Process], tally: Tally, *, recorded: bool) -> None:
    """Compare processes benchmark by benchmark, in their order."""
    names = dict.fromkeys([process.benchmark for process in (*witness, *plan)])
    before = tally.same, tally.failures.total()
    for name in names:
        first = [process for process in witness if process.benchmark == name]
        second = [process for process in plan if process.benchmark == name]
        if len(first) != len(second):
            tally.failures[f"{where}: {name}: milabench starts {len(first)} processes, we {len(second)}"] += 1
            continue
        for process, own in zip(first, second, strict=True):
            _compare_one(where, process, own, tally, recorded=recorded)
    print(f"{where}: {tally.same - before[0]} processes explained, {tally.failures.total() - before[1]} differences")


def _compare_one(where: str, process: Process, own: Process, tally: Tally, *, recorded: bool) -> None:
    if recorded:  # what a recorded line does not tell is ours: it is not compared
        own = replace(own, argv=tuple(" ".join(own.argv).split()))
        process = replace(process, venv=own.venv, voirfile=own.voirfile, devices=process.devices or own.devices)
    kinds, reached = explain(process, own, recorded=recorded)
    failure = difference(reached, own)
    if failure:
        tally.failures[f"{where}: {own.benchmark}: {failure}"] += 1
        return
    tally.same += 1
    tally.kinds.update(kinds)


def difference(reached: Process, own: Process) -> str | None:
    """Return what is still different, or None."""
    for key in ("node", "devices", "cwd", "venv"):
        value = getattr(reached, key)
        if value is not None and value != getattr(own, key):
            return f"{key}: milabench {value}, we {getattr(own, key)}"
    if reached.argv == own.argv:
        return None
    pairs = [(a, b) for a, b in zip(reached.argv, own.argv, strict=False) if a != b]
    told = "; ".join(f"{a!r}, we {b!r}" for a, b in pairs[:4])
    return f"milabench {told}\n    milabench {' '.join(reached.argv)}\n    we        {' '.join(own.argv)}"


def compare_recordings(checkout: Path, folder: Path, tally: Tally) -> None:
    source = archive(checkout, RECORDED_AT, folder / "recorded", "config", "benchmarks")
    for path in (source / "config").glob("*.yaml"):
        path.write_text(path.read_text().replace(*OF_THAT_TIME))
    base = folder / "base"
    for nodes, name in ((1, "one_node"), (2, "two_nodes")):
        system = system_file(folder / "system.yaml", nodes, {})
        plan = planned(source / RECORDED_SUITE, system, base, RECORDED_CPUS, list(LEFT_OUT))
        skipped = [skip["benchmark"] for skip in plan["skipped"] if skip["reason"].startswith("requires ")]
        text = (checkout / f"tests/regression/test_command_reg/test_command_reg_{name}.txt").read_text()
        kept = [process for process in recorded(text) if process.benchmark not in (*LEFT_OUT, *skipped)]
        compare(f"recording, {nodes} × {GPUS}", kept, list(ours(plan, source, base)), tally, recorded=True)
        if skipped:
            print(f"  skipped, by milabench's run as well, though its recorder asks no requirement: {skipped}")
    for name, reason in LEFT_OUT.items():
        print(f"  {name} left out: {reason}")


def compare_suites(checkout: Path, python: str, folder: Path, tally: Tally) -> None:
    source = archive(checkout, "HEAD", folder / "today")
    for case in TODAY:
        _compare_suite(case, source, python, tally)


def _compare_suite(case: Case, source: Path, python: str, tally: Tally) -> None:
    where = f"{case.suite}, {case.nodes} × {GPUS}{f', {json.dumps(case.options)}' if case.options else ''}"
    path, base = source / case.suite, source.parent / "base"
    system = system_file(source.parent / "system.yaml", case.nodes, _with_table(case.options, source))
    found = peers(source, python, path, system, base)
    plan = planned(path, system, base, CPUS)
    failed, unsized = found["failed"], _unsized(plan)
    kept = [process for process in ours(plan, source, base) if process.benchmark not in (*failed, *unsized)]
    compared = [process for process in theirs(found, source, base) if process.benchmark not in unsized]
    compare(where, compared, kept, tally, recorded=False)
    if failed:
        print(f"  milabench itself fails: {failed}")
    if unsized:
        print(f"  left out, as the table tells nothing of them: milabench takes a batch of 1, we their own: {unsized}")
    skipped = {skip["benchmark"] for skip in plan["skipped"]}
    if skipped != set(found["skipped"]):
        tally.failures[f"{where}: skipped by one alone: {skipped ^ set(found['skipped'])}"] += 1


def _unsized(plan: dict[str, Any]) -> list[str]:
    """Return the benchmarks that keep their own batch size although it was to be worked out."""
    return sorted({size["benchmark"] for size in plan["sizes"] if size["reason"].startswith("its own, since ")})


def _with_table(options: dict[str, Any], source: Path) -> dict[str, Any]:
    """Return the options with the path of the scaling file that they name."""
    name = options.get("sizer", {}).get("config")
    path = str(source / f"config/scaling/{name}.yaml")
    return {**options, "sizer": {**options["sizer"], "config": path}} if name else options


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--peer-python", help="interpreter of an environment that milabench can be imported in")
    arguments = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        compare_recordings(arguments.checkout, Path(folder), tally)
        if arguments.peer_python:
            compare_suites(arguments.checkout, arguments.peer_python, Path(folder), tally)
    for kind in KINDS:
        print(f"{tally.kinds[kind.name]:>5} × {kind.name}: {kind.reason}")
    for failure, count in tally.failures.items():
        print(f"DIFFERENT {count} × {failure}")
    print(f"{tally.same} processes explained by {len(KINDS)} kinds, {tally.failures.total()} differences")
    return int(bool(tally.failures))


if __name__ == "__main__":
    sys.exit(main())
