"""The options of a system: ``OPTIONS`` is the one list of their names, types, defaults and meanings.

Each is set, the later over the earlier, in a system file, by a variable (``MILABENCH_SIZER_AUTO``), and on the command
line (``--override system.options.sizer.auto=1``). ``0``, ``false``, ``no`` turn a switch off.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from milabench import expression
from milabench.document import Node
from milabench.expression import LARGEST
from milabench.problems import Code
from milabench.tokens import ExpressionError

Kind = Literal["switch", "integer", "number", "size", "duration", "text", "path", "words"]

ON = ("1", "true", "yes", "on")
OFF = ("0", "false", "no", "off")
MOST_DEVICES = 1000  # of a node
LEAST_INTERVAL_S = 0.1  # between two samples of a node: what they tell has a resolution of 0.01 s
MOST_INTERVAL_S = 15  # between two samples of a node: of what lies between those further apart they say nothing
OWN_PLACES = ("arch", "dirs", "docker", "gpu", "sshkey")  # under ``system``: what begins otherwise, under its options


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. ``default`` is what counts where nothing sets it; sizes are in bytes, durations in seconds.

    ``least`` and ``most`` bound a number; with ``off`` it may be 0 too, whatever they are. ``choices`` are words that
    may stand instead of a value of the kind. ``idle`` says why it has no effect; it is empty for an option that has
    one.
    """

    kind: Kind
    meaning: str
    default: Any = None
    least: float = -math.inf
    most: float = math.inf
    off: bool = False
    choices: tuple[str, ...] = ()
    idle: str = ""


_COPIES = "milabench data is no verb here"
_LATEX = "there is no report of that form"
_PLACES = "everything lies below the base so far"
_BUFFER = "nothing is copied before a run"

OPTIONS: Mapping[str, Option] = {
    "arch": Option(kind="text", meaning="architecture of the accelerators: cuda, rocm, xpu, hpu or cpu"),
    "cpu.enabled": Option(kind="switch", default=False, meaning="auto(expression, default) is the expression"),
    "cpu.max": Option(kind="integer", default=16, least=1, meaning="the most that {n_worker} is"),
    "cpu.min": Option(kind="integer", default=2, least=0, meaning="the least that {n_worker} is"),
    "cpu.n_workers": Option(kind="integer", least=0, meaning="{n_worker}, whatever cpu.min and cpu.max say"),
    "cpu.reserved_cores": Option(kind="integer", default=0, least=0, meaning="cores that {cpu_count} leaves out"),
    "cpu.total_count": Option(kind="integer", least=1, meaning="cores of a node, instead of those it is found to have"),
    "dirs.cache": Option(kind="path", meaning="folder of caches", idle=_PLACES),
    "dirs.data": Option(kind="path", meaning="folder of data", idle=_PLACES),
    "dirs.extra": Option(kind="path", meaning="folder of benchmarks' own files", idle=_PLACES),
    "dirs.runs": Option(kind="path", meaning="folder of runs", idle=_PLACES),
    "dirs.venv": Option(kind="path", meaning="folder of environments", idle=_PLACES),
    "docker.args": Option(kind="words", meaning="arguments of the start of a container, after milabench's own"),
    "docker.base": Option(
        kind="path",
        default="/tmp/workspace",
        meaning="folder that the container has as its base",
        idle="the base is in a container at its own path",
    ),
    "docker.executable": Option(
        kind="text", default="podman", meaning="program that starts containers: podman, docker or apptainer"
    ),
    "docker.image": Option(
        kind="text",
        meaning="container image that benchmarks run in; an absolute path, or one from ~: the folder of a root"
        " file system (podman, apptainer) or an image file (apptainer)",
    ),
    "gpu.arch": Option(kind="text", meaning="another name of arch"),
    "gpu.capacity": Option(kind="size", least=1, meaning="memory of an accelerator, instead of what is found"),
    "gpu.count": Option(
        kind="integer", least=0, most=MOST_DEVICES, meaning="accelerators of a node, instead of those found"
    ),
    "monitor.interval": Option(
        kind="duration",
        default=1,
        least=LEAST_INTERVAL_S,
        most=MOST_INTERVAL_S,
        off=True,
        meaning="time between two samples of a node while benchmarks run: 0.1 s at least, 15 s at most, since samples "
        "further apart say nothing of a measurement; 0: none are taken",
    ),
    "sizer.add": Option(kind="integer", meaning="added to a benchmark's own batch size; needs sizer.auto"),
    "sizer.auto": Option(kind="switch", default=False, meaning="auto_batch(default) is worked out of a scaling file"),
    "sizer.batch_size": Option(kind="integer", least=1, meaning="auto_batch(default) is this, everywhere"),
    "sizer.capacity": Option(
        kind="size", least=1, choices=("All",), meaning="memory to fill: a size such as 64Go, or All of the device's"
    ),
    "sizer.config": Option(kind="path", meaning="scaling file; default: that of the device in config/scaling"),
    "sizer.mult": Option(kind="number", least=0, meaning="factor of a benchmark's own batch size; needs sizer.auto"),
    "sizer.multiple": Option(kind="integer", default=8, least=0, meaning="batch sizes are multiples of it; 0: any"),
    "sizer.optimized": Option(kind="switch", default=False, meaning="the fastest size seen; needs sizer.auto"),
    "sizer.power": Option(kind="integer", least=0, meaning="batch sizes are powers of it, not multiples; 0: any"),
    "sizer.save": Option(kind="path", meaning="scaling file that takes what a run shows"),
    "ssh.connect": Option(
        kind="duration", default=15, least=1, most=600, meaning="so long connecting to a node and logging in may take"
    ),
    "ssh.keepalive": Option(
        kind="duration",
        default=5,
        least=0.2,
        most=600,
        meaning="time between two looks whether a node is there: without an answer to four it is lost; what runs on a "
        "node that hears nothing for twelve times as long is ended there",
    ),
    "sshkey": Option(kind="path", meaning="key file for SSH"),
    "torchrun.port": Option(
        kind="integer",
        default=29400,
        least=1,
        most=65535,
        meaning="port that ranks of several nodes meet at, or the next that is free on the main one",
    ),
    "torchrun.first_event_s": Option(
        kind="duration",
        default=300,
        least=1,
        off=True,
        meaning="time after the start (on one node, after others of its group have spoken) within which every rank of "
        "a training is heard of, at most 80 % of max_duration; 0: they may take as long as the benchmark",
    ),
    "copy.compressed": Option(kind="switch", meaning="copy archives", idle=_COPIES),
    "copy.method": Option(kind="text", meaning="how data is copied", idle=_COPIES),
    "copy.nproc": Option(kind="integer", meaning="copies at a time", idle=_COPIES),
    "dash": Option(kind="switch", meaning="show the dashboard", idle="the terminal says what can be shown"),
    "data.buffer": Option(kind="path", meaning="where data is copied before a run", idle=_BUFFER),
    "data.use_buffer": Option(kind="switch", meaning="copy data before a run", idle=_BUFFER),
    "executor.timeout": Option(kind="duration", meaning="limit of a process", idle="max_duration of a benchmark is it"),
    "force_remote": Option(kind="switch", meaning="use SSH for this machine too", idle="an agent runs there anyway"),
    "github.path": Option(kind="text", meaning="a token of GitHub", idle="nothing is written to GitHub"),
    "latex.columns": Option(kind="text", meaning="columns of the LaTeX report", idle=_LATEX),
    "latex.output": Option(kind="path", meaning="file of the LaTeX report", idle=_LATEX),
    "multirun.cache": Option(kind="path", meaning="list of runs that are done", idle="a multirun starts anew"),
    "no_build_isolation": Option(kind="switch", meaning="pip builds without isolation", idle="UV_… variables do it"),
    "noterm": Option(kind="switch", meaning="write plain lines", idle="the terminal says what can be shown"),
    "pip.args": Option(kind="text", meaning="arguments of pip", idle="PIP_… and UV_… variables are handed on"),
    "pip.avoid_newer": Option(kind="switch", meaning="pin old packages", idle="constraints do it"),
    "pip.pin_sleep": Option(kind="number", meaning="seconds between pins", idle="nothing has to wait"),
    "report.lean": Option(kind="switch", meaning="a short report", idle="--format chooses a report's form"),
    "torchrun.backend": Option(kind="text", meaning="how ranks meet", idle="only static makes rank 0 the main node's"),
    "torchrun.local_ranks_filder": Option(kind="text", meaning="ranks that print", idle="only rank 0 prints metrics"),
    "use_uv": Option(kind="switch", meaning="install by uv", idle="--installer chooses"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizer:
    """Options of ``auto_batch``, as in ``OPTIONS``; ``capacity`` in bytes, or ``All``."""

    add: int | None
    auto: bool
    batch_size: int | None
    capacity: int | str | None
    config: str | None
    mult: float | None
    multiple: int
    optimized: bool
    power: int | None
    save: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """Options of ``auto`` and of the placeholders that count cores, as in ``OPTIONS``."""

    enabled: bool
    max: int
    min: int
    n_workers: int | None
    reserved_cores: int
    total_count: int | None


@dataclass(frozen=True)
class Options:
    """Values by dotted name; what is not given has its default."""

    given: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.given[name] if name in self.given else OPTIONS[name].default

    @cached_property
    def sizer(self) -> Sizer:
        return Sizer(**self._section("sizer"))

    @cached_property
    def cpu(self) -> Cpu:
        return Cpu(**self._section("cpu"))

    def nested(self) -> dict[str, Any]:
        """Return the value of every option but the architecture, a map for each part of a dotted name."""
        found: dict[str, Any] = {}
        for name in OPTIONS:
            if place_of(name) == "system.arch":
                continue  # it stands elsewhere, whoever gives it
            *parts, last = name.split(".")
            inner = found
            for part in parts:
                inner = inner.setdefault(part, {})
            inner[last] = self[name]
        return found

    def _section(self, section: str) -> dict[str, Any]:
        names = (name for name in OPTIONS if name.startswith(f"{section}."))
        return {name.split(".")[1]: self[name] for name in names}


def variable(name: str) -> str:
    """Return the environment variable of an option: ``MILABENCH_SIZER_AUTO`` of ``sizer.auto``."""
    return f"MILABENCH_{name.upper().replace('.', '_')}"


def place_of(name: str) -> str:
    """Return where an option stands in a system file: ``system.options.sizer.auto``, ``system.gpu.count``."""
    if name == "gpu.arch":
        return "system.arch"
    section = name.partition(".")[0]
    return f"system.{name}" if section in OWN_PLACES else f"system.options.{name}"


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield name, type, default, variable and meaning of every option, for a table in the documentation."""
    for name, option in OPTIONS.items():
        default = "" if option.default is None else str(option.default)
        if isinstance(option.default, bool):  # 0 and 1 are equal to them
            default = "on" if option.default else "off"
        idle = f"; no effect: {option.idle}" if option.idle else ""
        yield name, option.kind, default, variable(name), option.meaning + idle


class Unfit(ValueError):
    """A value that an option cannot have; the message goes on from its name."""

    def __init__(self, message: str, code: Code = Code.WRONG_TYPE) -> None:
        super().__init__(message)
        self.code = code


def read_value(option: Option, node: Node) -> Any:
    """Return what is written for an option as its type has it. Raises Unfit."""
    if option.kind == "words":
        return _words(node)
    if isinstance(node.value, dict | list) or node.value is None:
        raise Unfit(f"needs {_WANTED[option.kind]}, not {node.kind}")
    word = str(node.value) if node.text is None else node.text
    if word in option.choices and not isinstance(node.value, bool):
        return word
    match option.kind:
        case "switch":
            return _switch(node, word.strip().lower())
        case "text" | "path":
            return _text(option.kind, word)
        case "integer":
            return _bounded(option, _integer(node), node)
        case _:
            return _bounded(option, _amount(option.kind, node, word), node)


_WANTED: Mapping[Kind, str] = {
    "switch": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "size": "a size such as 80 GiB or 64Go",
    "duration": "a time such as 90s or 10m",
    "text": "text",
    "path": "a path",
    "words": "a list of words",
}


def _words(node: Node) -> list[str]:
    """Return a list of words, or the words of a text as a shell would split it."""
    if isinstance(node.value, str):
        try:
            return shlex.split(node.value)
        except ValueError as error:
            raise Unfit(f"cannot be split into words: {str(error).lower()}") from None
    items: Sequence[Node] = node.value if isinstance(node.value, list) else (node,)
    if not isinstance(node.value, list) or any(isinstance(each.value, dict | list | None) for each in items):
        raise Unfit(f"needs a list of words, not {node.kind}")
    return [str(each.value) if each.text is None else each.text for each in items]


def _switch(node: Node, word: str) -> bool:
    if isinstance(node.value, bool):
        return node.value
    if isinstance(node.value, int | float):
        return node.value > 0
    if word not in (*ON, *OFF):
        raise Unfit(f"needs true or false, not {node.shown}")
    return word in ON


def _text(kind: Kind, word: str) -> str:
    if not word:
        raise Unfit(f"needs {_WANTED[kind]}, not an empty one")
    return word


def _integer(node: Node) -> int:
    number = node.value
    if isinstance(number, str):
        try:
            number = int(number)
        except ValueError:
            raise Unfit(f"needs a whole number, not {node.shown}") from None
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        raise Unfit(f"needs a whole number, not {node.shown}")
    return number


def _amount(kind: Kind, node: Node, word: str) -> float:
    if isinstance(node.value, bool):
        raise Unfit(f"needs {_WANTED[kind]}, not {node.shown}")
    given = node.value if isinstance(node.value, int | float) else word
    try:
        match kind:
            case "size":
                return expression.size(given)
            case "duration":
                return expression.duration(given)
            case _:
                return float(given)
    except ExpressionError as error:
        raise Unfit(f"is {error.message}: {node.shown}", Code.BAD_UNIT) from None
    except (ValueError, OverflowError):
        raise Unfit(f"needs {_WANTED[kind]}, not {node.shown}") from None


def _bounded(option: Option, number: float, node: Node) -> float:
    """Return a number within the option's bounds, and within those that a floating-point number can be worked with."""
    least, most = max(option.least, -LARGEST), min(option.most, LARGEST)
    if not least <= number <= most and not (option.off and number == 0):
        above = number < least and option.most == math.inf
        bounds = f"of at least {least:g}" if above else f"from {least:g} to {most:g}"
        zero = "0, or " if option.off else ""
        raise Unfit(f"needs {zero}a number {bounds}, not {node.shown}", Code.OUT_OF_RANGE)
    return number
