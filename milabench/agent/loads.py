"""How busy the devices of this node are: a vendor's tool is asked now and then while somebody looks, never waited for.

The output formats are those of nvidia-smi, rocm-smi, xpu-smi and hl-smi; not yet run on hardware. MIG slices have no
load of their own there.
"""

from __future__ import annotations

import math
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from milabench.agent import processes
from milabench.agent.tools import amount, json_object, known, rocm_cards, rows

EVERY_S: Final = 4.0  # asking disturbs a measurement a little
TIMEOUT_S: Final = 20.0
_FAILURES: Final = 3  # in a row: the tool will not be asked again
_MIB: Final = 1 << 20
_ANSWER_BYTES: Final = 1 << 20  # hundreds of devices take less: a tool that prints more is ended
# {"id", "uuid", "load": 0 … 1, "memory_bytes"}; what the tool does not know is None. "id" is the vendor's number of a
# whole device: where some are divided the probe counts otherwise, and the UUID tells which it is (xpu-smi says none).
Load = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to ask a vendor's tool, and how to read what it prints."""

    argv: tuple[str, ...]
    read: Callable[[str], list[Load]]


class Loads:
    """What the tool said last. ``started`` is told the process that asks, which belongs to no benchmark.

    ``started`` takes its number and what to call when it has been waited for. ``timeout_s``: a tool that has not ended
    so long after it was asked is ended when ``latest`` is called next.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        started: Callable[[int, Callable[[], object]], object],
        *,
        every_s: float = EVERY_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._selector, self._started = selector, started
        self._every_s, self._timeout_s = every_s, timeout_s
        self._arch = ""
        self._query: Query | None = None
        self._known: list[Load] = []
        self._asking: _Asking | None = None
        self._asked = -math.inf
        self._failures = 0

    def about(self, arch: str) -> None:
        """Say whose devices are used."""
        if arch != self._arch:
            self._arch, self._query, self._failures = arch, QUERIES.get(arch), 0

    def latest(self) -> list[Load]:
        """Return what was said last, nothing at first; ask anew where that is due."""
        now = time.monotonic()
        if self._asking is not None and now - self._asked > self._timeout_s:
            self._end(None)
        if self._query is not None and self._asking is None and now - self._asked >= self._every_s:
            self._asked = now
            self._ask(self._query)
        return self._known

    def close(self) -> None:
        """End the tool that is being asked."""
        if self._asking is not None:
            self._end(None)

    def _ask(self, query: Query) -> None:
        path = shutil.which(query.argv[0])
        if path is None:
            self._query = None
            return
        try:
            asking = _Asking([path, *query.argv[1:]])
        except OSError:
            self._failed()
            return
        self._started(asking.pid, asking.waited_for)
        self._asking = asking
        self._selector.register(asking.pipe, selectors.EVENT_READ, self._read)

    def _read(self) -> None:
        if self._asking is None:
            return
        ended = self._asking.has_ended()
        if self._asking.says_too_much:
            self._end(None)
        elif ended:
            self._end(self._asking.text())

    def _end(self, text: str | None) -> None:
        """Take the answer of the tool; None where it gave none in time."""
        assert self._asking is not None
        self._selector.unregister(self._asking.pipe)
        self._asking.close(kill=text is None)
        self._asking = None
        try:
            found = self._query.read(text) if self._query is not None and text else []
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            found = []  # a tool that prints something else than it is known to print tells nothing
        self._known = found
        if found:
            self._failures = 0
        else:
            self._failed()

    def _failed(self) -> None:
        self._known = []
        self._failures += 1
        if self._failures >= _FAILURES:
            self._query = None


class _Asking:
    """A tool that has been started; whoever reaps all children of this process reaps it too."""

    def __init__(self, argv: Sequence[str]) -> None:
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(argv, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing, start_new_session=True)
        process.returncode = 0
        assert process.stdout is not None
        self.pid, self._stream, self._content = process.pid, process.stdout, bytearray()
        self._is_there = True
        self.pipe = process.stdout.fileno()
        os.set_blocking(self.pipe, False)

    def has_ended(self) -> bool:
        """Take what is there to read; return whether that was the last of it."""
        with suppress(BlockingIOError):
            chunk = os.read(self.pipe, 1 << 16)
            self._content += chunk
            return not chunk
        return False

    @property
    def says_too_much(self) -> bool:
        return len(self._content) > _ANSWER_BYTES

    def text(self) -> str:
        return self._content.decode(errors="replace")

    def waited_for(self) -> None:
        """Take note that the process is gone: its number may be another's from now on."""
        self._is_there = False

    def close(self, *, kill: bool) -> None:
        self._stream.close()
        if kill and self._is_there:
            processes.kill(processes.below([self.pid]), signal.SIGKILL)


def _share(percent: str) -> float | None:
    found = amount(percent, 1000)
    return None if found is None else found / 100_000


def _nvidia(text: str) -> list[Load]:
    return [
        {"id": int(index), "uuid": uuid, "load": _share(busy), "memory_bytes": amount(memory, _MIB)}
        for index, uuid, busy, memory in rows(text, 4)
    ]


def _rocm(text: str) -> list[Load]:
    return [
        {
            "id": number,
            "uuid": known(card.get("Unique ID")),
            "load": _share(card.get("GPU use (%)", "")),
            "memory_bytes": amount(card.get("VRAM Total Used Memory (B)", "")),
        }
        for number, card in rocm_cards(json_object(text)).items()
    ]


def _xpu(text: str) -> list[Load]:
    """Read ``Timestamp, DeviceId, GPU Utilization (%), GPU Memory Used (MiB)``; the heading has no number there."""
    return [
        {"id": int(index), "uuid": None, "load": _share(busy), "memory_bytes": amount(memory, _MIB)}
        for _, index, busy, memory in rows(text, 4)
        if index.isdigit()
    ]


QUERIES: Mapping[str, Query] = {
    "cuda": Query(
        argv=("nvidia-smi", "--query-gpu=index,uuid,utilization.gpu,memory.used", "--format=csv,noheader,nounits"),
        read=_nvidia,
    ),
    "rocm": Query(argv=("rocm-smi", "--showuse", "--showmeminfo", "vram", "--showuniqueid", "--json"), read=_rocm),
    "xpu": Query(argv=("xpu-smi", "dump", "-d", "-1", "-m", "0,18", "-n", "1"), read=_xpu),
    "hpu": Query(
        argv=("hl-smi", "-Q", "index,uuid,utilization.aip,memory.used", "-f", "csv,noheader,nounits"), read=_nvidia
    ),
}
