"""The variables that a benchmark's scripts see; secrets stand in a plan by name only."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from milabench.errors import ConfigurationError, Problem
from milabench.plan.site import Dirs
from milabench.problems import Code
from milabench.suite.types import Benchmark
from milabench.system.types import Arch, Node

SELECTION_VARIABLES = {
    "cuda": "CUDA_VISIBLE_DEVICES",
    "rocm": "ROCR_VISIBLE_DEVICES",
    "xpu": "ZE_AFFINITY_MASK",
    "hpu": "HABANA_VISIBLE_MODULES",
}
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_SECRET = re.compile(
    r"(?!.*_(?:FILE|PATH|DIR)$).*(?:TOKEN(?![A-Z])|SECRET|PASSWORD|PASSWD|CREDENTIAL|(?:API|ACCESS|PRIVATE)_?KEY)",
    re.IGNORECASE,
)
_TELLING = 8  # characters: what is shorter may stand somewhere by chance
Secrets = Mapping[str, str]


@functools.lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Say whether a variable's value must not be written into a plan or a result; its file's path may be."""
    return bool(_SECRET.match(name))


def secrets(environ: Mapping[str, str]) -> Secrets:
    """Return the variables of the operator's environment that are secret, and not empty."""
    return {name: value for name, value in environ.items() if value and is_secret(name)}


def folders(dirs: Dirs) -> dict[str, str]:
    """Return the MILABENCH_DIR_* variables."""
    return {f"MILABENCH_DIR_{name.upper()}": path for name, path in dirs.as_mapping().items()}


def activated(dirs: Dirs, node: Node) -> dict[str, str]:
    """Return what ``source <venv>/bin/activate`` would set."""
    return {"VIRTUAL_ENV": dirs.venv, "PATH": f"{dirs.venv}/bin:{node.environ.get('PATH', _DEFAULT_PATH)}"}


def caches(dirs: Dirs) -> dict[str, str]:
    """Return the variables that keep downloads and compiled kernels below the base."""
    return {
        "XDG_CACHE_HOME": dirs.cache,
        "TORCH_HOME": dirs.cache,
        "HF_HOME": dirs.data,
        "TRITON_CACHE_DIR": f"{dirs.cache}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{dirs.cache}/inductor",
    }


def threads(node: Node) -> dict[str, str]:
    """Return the CPU threads of one process: the node's cores shared among its devices."""
    return {"OMP_NUM_THREADS": str(max(node.cpus // max(len(node.devices), 1), 1))}


def network(node: Node) -> dict[str, str]:
    """Return the variables by which libraries for collectives take the interface that leads to the other nodes.

    Without them they take what the machine's name stands for, often the loopback. NCCL takes names that begin so, with
    ``=`` that name alone.
    """
    name = node.interface
    if not name:
        return {}
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": f"={name}", "TP_SOCKET_IFNAME": name}


def devices(arch: Arch, node: Node, ids: Sequence[int]) -> dict[str, str]:
    """Return the vendor's variables that show a process only the given devices of a node; none on a CPU.

    Where some are MIG slices all go by their UUIDs: slices have no number, and others would be numbered without them.
    """
    if arch == "cpu":
        return {}
    sliced = any(device.parent is not None for device in node.devices)
    uuids = {device.id: device.uuid for device in node.devices if device.uuid} if sliced else {}
    selected = {SELECTION_VARIABLES[arch]: ",".join(uuids.get(device, str(device)) for device in ids)}
    if arch == "cuda":
        selected["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order nvidia-smi numbers devices in
    return selected


def split_secrets(env: Mapping[str, str], known: Secrets, benchmark: Benchmark) -> tuple[dict[str, str], set[str]]:
    """Split variables into values and names of secrets, whose values are the operator's own (``known``).

    Raises ConfigurationError for a secret that is not: it could reach the process only by standing in the plan.
    """
    named = {name for name, value in env.items() if value == by_name(name) or (value and value == known.get(name))}
    values = {name: value for name, value in env.items() if name not in named}
    problems = list(_misplaced(values, known, benchmark))
    if problems:
        raise ConfigurationError(problems)
    return values, named


def misplaced(benchmark: Benchmark, known: Secrets) -> Sequence[Problem]:
    """Return what ``split_secrets`` refuses of the variables that a suite gives, on any system."""
    try:
        split_secrets(benchmark.variables, known, benchmark)
    except ConfigurationError as error:
        return error.problems
    return ()


def without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a benchmark's configuration with the secrets among its variables by name only."""
    found = dict(config)
    if "env" in found:
        found["env"] = _by_name(found["env"])
    if "command" in found:
        found["command"] = {**found["command"], "env": _by_name(found["command"]["env"])}
    return found


def exposed(value: Any, known: Secrets) -> str | None:
    """Return the name of a secret whose value stands in a text, or in a part of plain data."""
    telling = _telling(known)
    return next((name for text in _texts(value) for secret, name in telling.items() if secret in text), None)


def redacted(text: str, known: Secrets) -> str:
    """Return a text with the values of secrets that stand in it by name; one within another goes with that one."""
    return _replaced(text, _telling(known))


def redacted_data(value: Any, known: Secrets) -> Any:
    """Return plain data in which each text, and each number spelled like one, is ``redacted``."""
    match value:
        case Mapping():
            return {redacted(key, known): redacted_data(item, known) for key, item in value.items()}
        case list() | tuple():
            return [redacted_data(item, known) for item in value]
        case None | bool():
            return value
        case _:
            return value if exposed(value, known) is None else redacted(str(value), known)


def redacted_message(message: str, known: Secrets) -> str:
    """Return what a user is told with secrets by name, also where it shows a value quoted or cut off (by an ``…``)."""
    spelled = {spelling: name for value, name in _telling(known).items() for spelling in _spellings(value)}
    pieces = _replaced(message, spelled).split("…")
    return "…".join([*(_without_start(piece, spelled) for piece in pieces[:-1]), pieces[-1]])


def by_name(name: str) -> str:
    """Return how a secret stands in a suite or a configuration."""
    return f"${{secret:{name}}}"


def _telling(known: Secrets) -> dict[str, str]:
    """Return the name of each value that is long enough to be looked for; the first of several."""
    return {value: name for name, value in reversed(list(known.items())) if len(value) >= _TELLING}


def _texts(value: Any) -> Iterator[str]:
    """Yield every text and number of plain data, keys included, as text."""
    match value:
        case str():
            yield value
        case Mapping():
            for key, item in value.items():
                yield key
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)
        case None | bool():
            pass
        case _:
            yield str(value)


def _replaced(text: str, names: Mapping[str, str]) -> str:
    """Return a text with each of some values by the name that belongs to it."""
    if not any(value in text for value in names):
        return text
    longest_first = sorted(names, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda match: by_name(names[match[0]]), text)


def _spellings(value: str) -> set[str]:
    """Return how a value may stand in a message: as it is, or quoted by ``repr``, whichever quotes it then takes."""
    return {value, repr(value)[1:-1], repr(f"'\"{value}")[4:-1]}


def _without_start(text: str, names: Mapping[str, str]) -> str:
    """Return a text that ends with the start of one of some values with that one's name instead."""
    for value, name in names.items():
        for size in range(min(len(value), len(text)), _TELLING - 1, -1):
            if text.endswith(value[:size]):
                return text[:-size] + by_name(name)
    return text


def _by_name(env: Mapping[str, str]) -> dict[str, str]:
    return {name: by_name(name) if value and is_secret(name) else value for name, value in env.items()}


def _misplaced(env: Mapping[str, str], known: Secrets, benchmark: Benchmark) -> Iterator[Problem]:
    for name, value in env.items():
        why, path = _why_misplaced(name, value, known), f"env.{name}"
        if why:
            yield Problem(
                code=Code.SECRET.code,
                message=f"{benchmark.name}: {why}",
                mark=benchmark.place(path),
                path=f"{benchmark.name}.{path}",
            )


def _why_misplaced(name: str, value: str, known: Secrets) -> str | None:
    if "${secret:" in value:
        return f"{name} is given a secret of another name: write it under its own, as NAME: ${{secret:NAME}}"
    if value and is_secret(name):
        remedy = f"put it into your environment, and write {by_name(name)} or leave it out"
        return f"the value of {name}, a secret, would stand in the plan: {remedy}"
    other = exposed(value, known)
    return f"{name} holds the value of {other}, a secret: let the program read {other} itself" if other else None
