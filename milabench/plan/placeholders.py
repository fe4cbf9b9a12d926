"""What the placeholders and functions of a benchmark's tokens stand for on a node: ``{cpu_per_gpu}``, ``auto(…)``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from milabench import placeholders
from milabench.errors import ConfigurationError, Problem
from milabench.options import OPTIONS, Options
from milabench.placeholders import PlaceholderError
from milabench.plan.site import Dirs
from milabench.problems import Code
from milabench.suite.types import Benchmark
from milabench.system.types import Node, System
from milabench.tokens import Functions

# What torch calls them: for rocm milabench says rccl, a word that torch.distributed does not know.
COLLECTIVES = {"cuda": "nccl", "rocm": "nccl", "xpu": "ccl", "hpu": "hccl", "cpu": "gloo"}


@dataclass(frozen=True, kw_only=True)
class Meanings:
    """What placeholders and functions mean in one benchmark on one node.

    ``words`` are those of the benchmark and node, ``seen`` the system as benchfiles see it, ``functions`` those of
    ``function_table``. ``lenient``: a token whose placeholder stands for nothing is left as it is written.
    """

    benchmark: Benchmark
    words: Mapping[str, Any]
    seen: Mapping[str, Any]
    options: Options
    functions: Functions
    lenient: bool = False

    def word(self, name: str) -> Any:
        """Return what a placeholder stands for. Raises LookupError."""
        if name in self.words:
            return self.words[name]
        if name.startswith("options."):
            option = name.removeprefix("options.")
            if option not in OPTIONS:
                raise LookupError(name)
            return self.options[option]
        value: Any = self.seen
        for part in re.findall(r"\w+", name):
            if not isinstance(value, Mapping | list):
                raise LookupError(name)
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except ValueError:  # a list asked for a name
                raise LookupError(name) from None
        if isinstance(value, Mapping | list):
            raise LookupError(name)
        return value


def values(system: System, node: Node, dirs: Dirs, name: str) -> dict[str, Any]:
    """Return what the words of a benchmark stand for on a node."""
    cpu, gpus = system.options.cpu, max(len(node.devices), 1)
    cores = max((cpu.total_count or node.cpus) - cpu.reserved_cores, 1)
    workers = min(max(cores // gpus, cpu.min), cpu.max)
    return {
        "cpu_count": cores,
        "gpu_count": gpus,
        "cpu_per_gpu": max(cores // gpus, 1),
        "n_worker": workers if cpu.n_workers is None else cpu.n_workers,
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


def resolve(tokens: Sequence[str], meanings: Meanings) -> tuple[str, ...]:
    """Return the tokens with their placeholders replaced and their functions computed.

    Raises ConfigurationError with all that stand for nothing on this system, each at the places where the suite has it.
    """
    problems: list[Problem] = []

    def resolved(token: str) -> str:
        if placeholders.is_plain(token):
            return token
        try:
            return placeholders.resolve(token, meanings.word, meanings.functions)
        except PlaceholderError as error:
            if not (meanings.lenient and error.code is Code.PLACEHOLDER):
                problems.extend(_problems(token, error, meanings.benchmark))
            return token

    found = tuple(map(resolved, tokens))
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return found


def _problems(token: str, error: PlaceholderError, benchmark: Benchmark) -> Iterator[Problem]:
    """Yield what is wrong with a token at each of its places: at the benchmark's own for one of a benchfile."""
    places = [(f"{benchmark.name}.{each.path}", each.mark) for each in benchmark.tokens if each.text == token]
    for path, mark in places or [(benchmark.name, benchmark.mark)]:
        yield Problem(
            code=error.code.code, message=f"{path}: {error}", mark=mark, path=path, suggestion=error.suggestion
        )
