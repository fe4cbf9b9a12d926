"""What milabench tells a benchmark's process through its environment; the only reader of it on the inner side."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmate.observations import Stop
from benchmate.wire import EventWriter

DEFAULT_OBSERVATIONS: Final = 60
DEFAULT_SKIP: Final = 5
DIRS: Final = ("venv", "data", "runs", "extra", "cache", "code")


class ContextError(ValueError):
    """Say that a variable holds what this process cannot understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """When a measurement ends: after ``skip`` warm-up steps, the first of the given amounts (None = no limit).

    ``precision`` is the half-width of the rate's 95 % interval, as a share of the rate.
    """

    skip: int = DEFAULT_SKIP
    observations: int | None = DEFAULT_OBSERVATIONS
    seconds: float | None = None
    precision: float | None = None

    @property
    def stop(self) -> Stop:
        return Stop.of_limit(self.observations, self.seconds, self.precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A process's place in a run.

    ``events`` and ``steps`` are this rank's own files, None where nothing is to be written (a script run by hand).
    ``first_seq`` is the number of lines already in ``events``; ``dirs`` maps the names in ``DIRS`` to folders.
    ``world_size`` is None for a rank that a script started itself: of a group, and nobody has said how large.
    ``node`` is the name that the system has for this machine.
    """

    events: str | None = None
    steps: str | None = None
    first_seq: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    limit: Limit = field(default_factory=Limit)
    arch: str | None = None
    dirs: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    voirfile: str | None = None
    rank: int = 0
    local_rank: int = 0
    world_size: int | None = 1
    node: str | None = None

    @property
    def place(self) -> dict[str, object]:
        """Return which process of a run this is, for an event: its rank, node, and the number of its device there."""
        return {
            "rank": self.rank,
            "local_rank": self.local_rank,
            "world_size": self.world_size,
            "node": self.node,
            "device_id": self._device_id,
        }

    @property
    def _device_id(self) -> int | None:
        """Each rank of a node has the device in its place; where there is one, all have that."""
        devices = self.config.get("devices")
        if not isinstance(devices, list) or not devices:
            return None
        place = 0 if len(devices) == 1 else self.local_rank
        return int(devices[place]) if place < len(devices) else None

    @property
    def voir(self) -> Mapping[str, Any]:
        """The entry's ``voir`` blocks, by name."""
        blocks = self.config.get("voir")
        return blocks if isinstance(blocks, Mapping) else {}


def current(environ: Mapping[str, str] = os.environ, *, rank: int | None = None) -> Context:
    """Return the context an environment describes. Raises ContextError for a value that makes no sense.

    ``rank`` is that of the process where no RANK says so; without a WORLD_SIZE its group is one of unknown size.
    """
    world_size = None if rank is not None and not environ.get("WORLD_SIZE") else _integer(environ, "WORLD_SIZE", 1)
    rank = _integer(environ, "RANK", rank or 0)
    config = _config(environ.get("MILABENCH_CONFIG", ""))
    dirs = {name: environ.get(f"MILABENCH_DIR_{name.upper()}") for name in DIRS}
    return Context(
        events=_of_rank(environ.get("MILABENCH_EVENTS"), rank, ".jsonl"),
        steps=_of_rank(environ.get("MILABENCH_STEPS"), rank, ".steps"),
        first_seq=_integer(environ, "MILABENCH_SEQ", 0) if rank == 0 else 0,
        config=config,
        limit=_limit(config),
        arch=environ.get("MILABENCH_ARCH") or None,
        dirs={name: path for name, path in dirs.items() if path},
        threads=_integer(environ, "OMP_NUM_THREADS", 0) or None,
        voirfile=environ.get("VOIRFILE") or None,
        rank=rank,
        local_rank=_integer(environ, "LOCAL_RANK", 0),
        world_size=world_size,
        node=environ.get("MILABENCH_NODE") or None,
    )


def writer(context: Context) -> EventWriter | None:
    """Return the process's one writer of events (sequence numbers are contiguous per file), None for a run by hand."""
    return None if context.events is None else _writer(context.events, context.first_seq)


# One per process, since voir's overseer, its instruments and the script know nothing of each other: two writers of a
# file would give their lines the same sequence numbers. The file is closed by the end of the process.
@functools.cache
def _writer(path: str, first_seq: int) -> EventWriter:
    return EventWriter(path, first_seq=first_seq)


def own_descriptor(context: Context, environ: MutableMapping[str, str] = os.environ) -> None:
    """Let ``DATA_FD`` be a descriptor of this process's own event file, for scripts that write to it themselves.

    A launcher's children inherit its number without the descriptor: another file may have that number by now.
    """
    if context.events is None or _is_open_on(environ.get("DATA_FD", ""), context.events):
        return
    descriptor = os.open(context.events, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.set_inheritable(descriptor, True)
    environ["DATA_FD"] = str(descriptor)


def _is_open_on(descriptor: str, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(int(descriptor)), os.stat(path))  # noqa: PTH116
    except (OSError, ValueError):
        return False


def _of_rank(path: str | None, rank: int, suffix: str) -> str | None:
    """The leader has the named file; any other rank its own beside it, so that no file has two writers."""
    if not path or rank == 0:
        return path or None
    return str(Path(path).with_suffix("")) + f".rank{rank}{suffix}"


def _integer(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    try:
        return int(text.split(",")[0])  # OMP_NUM_THREADS may list one number per nesting level
    except ValueError:
        raise ContextError(f"{name}={text!r} is no whole number") from None


def _config(text: str) -> Mapping[str, Any]:
    """On the command line the same variable is the path of a suite: what does not start with ``{`` is not for us."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ContextError(f"MILABENCH_CONFIG is no JSON object: {error}") from None
    return value if isinstance(value, dict) else {}


def _limit(config: Mapping[str, Any]) -> Limit:
    voir = config.get("voir")
    options = voir.get("options") if isinstance(voir, Mapping) else None
    if not isinstance(options, Mapping):
        return Limit()
    stop = options.get("stop", DEFAULT_OBSERVATIONS)
    given = stop if isinstance(stop, Mapping) else {"observations": stop}
    where = "stop.{}" if isinstance(stop, Mapping) else "stop"
    observations, seconds, precision = (
        _amount(config, where.format(name), given.get(name)) for name in ("observations", "seconds", "precision")
    )
    return Limit(
        skip=int(_amount(config, "skip", options.get("skip", DEFAULT_SKIP)) or 0),
        observations=None if observations is None else int(observations),
        seconds=seconds,
        precision=precision,
    )


def _amount(config: Mapping[str, Any], key: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ContextError(
            f"MILABENCH_CONFIG: voir.options.{key} of benchmark {config.get('name', '')!r} is {value!r}:"
            " expected a number that is not negative, or null"
        )
    return value
