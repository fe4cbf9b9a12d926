"""``milabench --help``: CPU, wall and memory, beside a bare interpreter."""

from __future__ import annotations

import sys

from measuring import milabench, project, show, spent


def main() -> None:
    where = project()
    helps = [milabench(where, "--help") for _ in range(11)]
    bare = [spent([sys.executable, "-c", "pass"]) for _ in range(11)]
    show("--help, CPU", [cost.cpu_s for cost in helps], "s", goal="≤ 0.12")
    show("--help, memory", [cost.rss_mib for cost in helps], "MiB", goal="≤ 40")
    show("bare interpreter, CPU", [cost.cpu_s for cost in bare], "s")


main()
