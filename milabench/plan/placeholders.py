"""Placeholders of a suite's tokens, resolved once, when the plan is made: ``{cpu_per_gpu}``, ``{milabench_data}``, …"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from milabench.errors import ConfigurationError, Mark, Problem
from milabench.plan.site import Dirs
from milabench.problems import Code
from milabench.suite.types import Suite
from milabench.system.types import Node, System

_WORD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*(?:\[\d+\])?(?:\.[A-Za-z_][A-Za-z0-9_]*)*)\}")
_ANY_NODE = re.compile(r"nodes\[\d+\]")
COLLECTIVES = {"cuda": "nccl", "rocm": "nccl", "xpu": "ccl", "hpu": "hccl", "cpu": "gloo"}


def values(system: System, node: Node, dirs: Dirs, name: str) -> dict[str, str]:
    """Return what every placeholder stands for in a benchmark on a node."""
    gpus = max(len(node.devices), 1)
    found = {
        "cpu_count": node.cpus,
        "gpu_count": gpus,
        "cpu_per_gpu": max(node.cpus // gpus, 1),
        "n_worker": max(node.cpus // gpus, 1),
        "arch": system.arch,
        "device_name": "cuda" if system.arch == "rocm" else system.arch,
        "ccl": COLLECTIVES[system.arch],
        "milabench_base": dirs.base,
        "milabench_venv": dirs.venv,
        "milabench_code": dirs.code,
        "benchmark_folder": dirs.code,
        "milabench_extra": dirs.extra,
        "milabench_data": dirs.data,
        "milabench_runs": dirs.runs,
        "milabench_cache": dirs.cache,
        "milabench_name": name,
    }
    for index, each in enumerate(system.nodes):
        found |= {
            f"nodes[{index}].ip": each.address,
            f"nodes[{index}].name": each.name,
            f"nodes[{index}].port": each.port,
        }
    return {key: str(value) for key, value in found.items()}


def check(suite: Suite) -> None:
    """Raise ConfigurationError for every unknown placeholder of a suite, whatever the system."""
    somewhere = System(arch="cpu", nodes=(Node(name="local"),))
    dirs = Dirs(**dict.fromkeys(("base", "venv", "code", "data", "runs", "extra", "cache"), ""))
    known = values(somewhere, somewhere.main, dirs, "")
    problems: list[Problem] = []
    for benchmark in suite.benchmarks:
        argv = benchmark.config.get("argv") or {}
        program = benchmark.program
        of_program = (*program.argv, *program.env.values()) if program else ()
        tokens = argv.values() if isinstance(argv, Mapping) else argv
        texts = [token for token in (*tokens, *benchmark.env.values(), *of_program) if isinstance(token, str)]
        try:
            resolve(
                [_ANY_NODE.sub("nodes[0]", text) for text in texts], known, mark=benchmark.mark, name=benchmark.name
            )
        except ConfigurationError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigurationError(problems)


def resolve(tokens: Sequence[str], known: Mapping[str, str], *, mark: Mark, name: str) -> tuple[str, ...]:
    """Return the tokens with their placeholders resolved; JSON such as ``{"image": 10}`` passes through.

    Raises ConfigurationError for a bare word that is no placeholder.
    """
    problems: list[Problem] = []

    def value(match: re.Match[str]) -> str:
        word = match.group(1)
        if word not in known:
            near = difflib.get_close_matches(word, known, 1)
            code, message = Code.PLACEHOLDER.code, f"{name}: unknown placeholder {match.group(0)}"
            hint = near[0] if near else None
            problems.append(Problem(code=code, message=message, mark=mark, path=f"{name}.argv", suggestion=hint))
        return known.get(word, match.group(0))

    resolved = tuple(_WORD.sub(value, token) if "{" in token else token for token in tokens)
    if problems:
        raise ConfigurationError(problems)
    return resolved
