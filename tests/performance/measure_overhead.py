"""What each further trivial benchmark adds to a run, over the bare process."""

from __future__ import annotations

from measuring import milabench, project, show, spent

FEW, MANY = 5, 45
ARGV = ["sh", "-c", 'echo "{\\"rate\\": 1}"']


ONE = """
b{n}:
  command: {{argv: [sh, -c, "echo '{{\\"rate\\": 1}}'"]}}
  plan: {{method: njobs, n: 1}}
  voir: {{options: {{skip: 0}}}}
"""


def suite(count: int) -> str:
    return "".join(ONE.format(n=n) for n in range(count))


def main() -> None:
    where = project()
    wall, cpu = [], []
    for _ in range(7):
        costs = []
        for count in (FEW, MANY):
            where.write("suite.yaml", suite(count))
            costs.append(milabench(where, "run", "--config", "suite.yaml", "--quiet"))
        bare = [spent(ARGV) for _ in range(MANY - FEW)]
        each = MANY - FEW
        wall.append((costs[1].wall_s - costs[0].wall_s - sum(cost.wall_s for cost in bare)) / each)
        cpu.append((costs[1].cpu_s - costs[0].cpu_s - sum(cost.cpu_s for cost in bare)) / each)
    show("each further trivial benchmark, wall over the bare process", wall, "s", goal="≤ 0.05")
    show("each further trivial benchmark, CPU over the bare process", cpu, "s", goal="≤ 0.05")


main()
