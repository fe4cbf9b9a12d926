"""Install, prepare and run milabench's own ``simple`` template from a checkout of its repository, unmodified.

    python tests/upstream/run_template.py CHECKOUT

Needs a package index. Not part of ``make test``: nothing of that repository stands in this one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    template: Path = parser.parse_args().checkout / "benchmarks/_templates/simple"
    milabench = Path(sys.executable).parent / "milabench"
    with tempfile.TemporaryDirectory() as base:
        for verb in ("check", "install", "prepare", "run"):
            done = subprocess.run([milabench, verb, "--config", template / "dev.yaml", "--base", base], check=False)
            if done.returncode != 0:
                print(f"{verb}: exit code {done.returncode}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
