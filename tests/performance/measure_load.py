"""Loading a suite of 54 entries as a command."""

from __future__ import annotations

from measuring import milabench, project, show

ENTRY = """
bench{n}:
  inherits: _trivial
  tags: [generated, number{n}]
  argv:
    --number: {n}
    --workers: "{{cpu_per_gpu}}"
"""
HEAD = """
_trivial:
  inherits: _defaults
  definition: bench
  group: trivial
  plan: {method: per_gpu}
  argv: {--lr: 0.01, --epochs: 50}
"""


def main() -> None:
    where = project()
    where.write("bench/main.py", "print('{\"rate\": 1}')\n")
    where.write("suite.yaml", HEAD + "".join(ENTRY.format(n=n) for n in range(54)))
    for verb in ("check", "list", "plan"):
        costs = [milabench(where, verb, "--config", "suite.yaml") for _ in range(7)]
        show(f"{verb}, 54 entries, wall", [cost.wall_s for cost in costs], "s", goal="≤ 0.3")


main()
