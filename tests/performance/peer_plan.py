"""The peer's way from a suite to the argv of every process, for measure_scale.py: runs in the peer's environment."""

from __future__ import annotations

import json
import sys

from milabench.common import CommonArguments, get_multipack
from milabench.multi import make_execution_plan


def main(suite: str, base: str) -> None:
    packages = get_multipack(CommonArguments(config=suite, base=base), run_name="run").packs
    for package in packages.values():
        for process, argv, options in make_execution_plan(package).commands():
            print(json.dumps([process.config["tag"], [str(word) for word in argv], options], default=str))


main(*sys.argv[1:])
