"""CPU of the runner and its agent while a benchmark sleeps."""

from __future__ import annotations

from measuring import milabench, project, show

SHORT_S, LONG_S = 1, 11


def suite(seconds: int) -> str:
    return f"""
sleeper:
  command: {{argv: [sh, -c, "echo '{{\\"rate\\": 1}}'; sleep {seconds}; echo '{{\\"rate\\": 1}}'"]}}
  plan: {{method: njobs, n: 1}}
  voir: {{options: {{skip: 0}}}}
"""


def main() -> None:
    where = project()
    shares = []
    for _ in range(5):
        costs = []
        for seconds in (SHORT_S, LONG_S):
            where.write("suite.yaml", suite(seconds))
            costs.append(milabench(where, "run", "--config", "suite.yaml", "--quiet"))
        shares.append((costs[1].cpu_s - costs[0].cpu_s) / (costs[1].wall_s - costs[0].wall_s))
    show("CPU while a benchmark sleeps", shares, "of a core", goal="≤ 0.01")


main()
