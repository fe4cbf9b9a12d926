"""``milabench --help``: CPU, wall and memory, beside a bare interpreter."""

from __future__ import annotations

import sys

from measuring import milabench, project, show, spent

PEER = "milabench: 1.9 s CPU, 2.9 s wall, 128 MiB"


def main() -> None:
    where = project()
    helps = [milabench(where, "--help") for _ in range(11)]
    bare = [spent([sys.executable, "-c", "pass"]) for _ in range(11)]
    show("--help, CPU", [cost.cpu_s for cost in helps], "s", goal="≤ 0.12", peer=PEER)
    show("--help, memory", [cost.rss_mib for cost in helps], "MiB", goal="≤ 40", peer=PEER)
    show("bare interpreter, CPU", [cost.cpu_s for cost in bare], "s", goal="(reference)", peer="same machine, same run")


main()
