"""Check every suite and system file of a checkout of milabench's public repository, unmodified.

    python tests/upstream/check_suites.py CHECKOUT

Each has to pass ``milabench check`` with warnings only; ``--legacy`` is given where doubled keys alone (E104) forbid
it. What is no valid file there either has to be refused for the reason below. Prints a line per file and a total;
exit code 1 when one is not as expected. Not part of ``make test``: nothing of that repository stands in this one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

DOUBLED = "E104"
SYSTEM_FILES = ("config/sizing.yaml", "config/examples/system.yaml")
# path → (the code of the mistake, what milabench itself makes of it)
INVALID = {
    "config/retired.yaml": ("E202", "KeyError: two entries inherit _accelerate_opt, which no file describes any more"),
    "config/fidelity/efficiency.yaml": ("E105", "FileNotFoundError: includes all.yaml, which lies one folder up"),
    "config/fidelity/fast.yaml": ("E105", "FileNotFoundError: includes base.yaml, which lies one folder up"),
    "config/fidelity/high.yaml": ("E105", "FileNotFoundError: includes standard.yaml, which lies one folder up"),
    "config/fidelity/medium.yaml": ("E105", "FileNotFoundError: includes standard.yaml, which lies one folder up"),
}
# config/scaling holds tables of batch sizes, config/clusters profiles of its own tools: neither is a suite
SUITES = ("config/*.yaml", "config/examples/*.yaml", "config/fidelity/*.yaml", "benchmarks/**/dev.yaml")


def check(*options: str | Path) -> tuple[list[str], Counter[str]]:
    """Return the errors that ``milabench check`` finds, each beginning with its code, and the codes of the warnings."""
    command = [Path(sys.executable).parent / "milabench", "check", "--json", *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        return [f"exit code {done.returncode}: {done.stderr.strip()}"], Counter()
    told = "{code} {file}:{line}:{column}: {message}"
    errors = [told.format(**error) for error in found["errors"]]
    if done.returncode != (2 if errors else 0):
        errors.insert(0, f"exit code {done.returncode}")
    return errors, Counter(warning["code"] for warning in found["warnings"])


def judged(root: Path, path: str) -> tuple[str, bool]:
    """Return what came of a file, and whether that was expected."""
    options: list[str | Path] = ["--system" if path in SYSTEM_FILES else "--config", root / path]
    errors, warnings = check(*options)
    legacy = bool(errors) and all(error.startswith(DOUBLED) for error in errors)
    if legacy or path in INVALID:
        errors, warnings = check(*options, "--legacy")
    if path in INVALID:
        code, reason = INVALID[path]
        codes = {error.split()[0] for error in errors}
        return f"{code}, no valid file in milabench either: {reason}", code in codes and DOUBLED not in codes
    if errors:
        return f"FAILED: {errors[0]}", False
    told = ", ".join(f"{count} × {code}" for code, count in sorted(warnings.items())) or "no warning"
    return f"ok{' with --legacy' if legacy else ''}: {told}", True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    root: Path = parser.parse_args().checkout
    paths = sorted({str(path.relative_to(root)) for pattern in SUITES for path in root.glob(pattern)})
    missing = [path for path in (*SYSTEM_FILES, *INVALID) if path not in paths]
    outcomes = {path: judged(root, path) for path in paths}
    for path, (told, _) in outcomes.items():
        print(f"{path:<46} {told}")
    failed = len(missing) + sum(not expected for _, expected in outcomes.values())
    print(f"{len(paths)} files, {failed} not as expected{f'; not there: {missing}' if missing else ''}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
