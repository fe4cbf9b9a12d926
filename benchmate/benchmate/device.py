"""The accelerator a process measures on: its clock, its memory, what it can compute. torch is imported late."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from benchmate.context import Context, current
from benchmate.wire import Clock

if TYPE_CHECKING:
    import torch

Note = Callable[[str], None]


class DeviceError(RuntimeError):
    """Say that the accelerator that was asked for is not there."""


class Event(Protocol):
    """A moment on an accelerator's own clock."""

    def query(self) -> bool:
        """Return whether the moment has passed; waits for nothing."""
        ...

    def elapsed_time(self, end: Any) -> float:
        """Return milliseconds from this event to a later one; both must have passed."""
        ...


class Accelerator(Protocol):
    """What measuring needs of a device. ``clock`` is ``device`` where work is timed by the device's own events."""

    @property
    def arch(self) -> str: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def name(self) -> str: ...
    def event(self) -> Event:
        """Return an event recorded now, behind all work submitted so far."""
        ...

    def synchronize(self) -> None:
        """Submit what a lazy device has gathered, and wait until the device has done all of its work."""
        ...

    def peak_memory(self) -> tuple[int, str] | None:
        """Return the most bytes the process held on the device, and who says so; None where the host is the device."""
        ...

    def device(self) -> torch.device: ...
    def has_fp16(self) -> bool:
        """Return whether fp16 arithmetic is fast here, rather than emulated."""
        ...

    def mark_step(self) -> None:
        """Submit what a lazy device has gathered; nothing elsewhere."""
        ...


class HostEvent:
    """A stamp of the host's monotonic clock; it has always passed."""

    __slots__ = ("stamp_ns",)

    def __init__(self) -> None:
        self.stamp_ns = time.monotonic_ns()

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: HostEvent) -> float:
        return (end.stamp_ns - self.stamp_ns) / 1e6


class Cpu:
    """The host itself: works without torch."""

    arch: Final = "cpu"
    clock: Clock = "monotonic"
    name: Final = "cpu"

    def event(self) -> HostEvent:
        return HostEvent()

    def synchronize(self) -> None:
        """Nothing runs behind the host's back."""

    def peak_memory(self) -> None:
        """Return None: the runner measures a process's resident set."""

    def device(self) -> torch.device:
        return _torch().device("cpu")

    def has_fp16(self) -> bool:
        return False

    def mark_step(self) -> None:
        """Nothing is gathered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How torch speaks of an arch: its device module, its function of peak memory, a plug-in to load first."""

    module: str
    memory: str = "max_memory_reserved"
    fp16: bool = True
    plugin: str | None = None


KINDS: Final[Mapping[str, Kind]] = {
    "cuda": Kind(module="cuda"),
    "rocm": Kind(module="cuda"),
    "xpu": Kind(module="xpu"),
    "hpu": Kind(module="hpu", memory="max_memory_allocated", fp16=False, plugin="habana_frameworks.torch.core"),
}


class TorchDevice:
    """An accelerator behind one of torch's device modules; ``index`` counts the visible devices."""

    clock: Clock = "device"

    def __init__(self, arch: str, kind: Kind, index: int) -> None:
        torch = _torch()
        self._lazy = importlib.import_module(kind.plugin) if kind.plugin and _installed(kind.plugin) else None
        module = getattr(torch, kind.module, None)
        if module is None or not module.is_available():
            raise DeviceError(f"no {arch} device is visible to torch {torch.__version__}")
        if index >= module.device_count():
            raise DeviceError(f"{arch} device {index} was asked for, {module.device_count()} are visible")
        module.set_device(index)
        self.arch, self.name = arch, str(module.get_device_name(index))
        self._kind, self._module, self._device = kind, module, torch.device(kind.module, index)

    def event(self) -> Event:
        event: Any = self._module.Event(enable_timing=True)
        event.record()
        return event  # type: ignore[no-any-return]

    def synchronize(self) -> None:
        self.mark_step()
        self._module.synchronize()

    def peak_memory(self) -> tuple[int, str]:
        name = self._kind.memory
        return int(getattr(self._module, name)()), f"torch.{self._kind.module}.{name}"

    def device(self) -> torch.device:
        return self._device

    def has_fp16(self) -> bool:
        return self._kind.fp16

    def mark_step(self) -> None:
        if self._lazy is not None:
            self._lazy.mark_step()


def fetch(arch: str | None = None, context: Context | None = None) -> Accelerator:
    """Return the process's accelerator: the named one, else milabench's choice, else what torch sees, else the CPU.

    Its index is the process's local rank, since vendors' variables have already chosen which devices are visible.
    Raises DeviceError when the one that was asked for is not there.
    """
    context = current() if context is None else context
    chosen = arch or context.arch or _probe()
    if chosen == "cpu":
        return Cpu()
    if chosen not in KINDS:
        raise DeviceError(f"unknown arch {chosen!r}: expected one of {', '.join(KINDS)}, cpu")
    return TorchDevice(chosen, KINDS[chosen], context.local_rank)


def of_process(context: Context) -> tuple[Accelerator, str]:
    """Return the accelerator that a process measures on, and what is to be noted of it: without torch it is the host.

    Raises DeviceError when the one that was asked for is not there.
    """
    if context.arch is None and not is_torch_imported() and (why := _no_torch()):
        return Cpu(), why
    if has_torch():
        return fetch(context=context), ""
    timed = context.arch not in (None, "cpu")
    return Cpu(), f"torch is not there: steps on {context.arch} are timed by the host's clock" if timed else ""


def of_imported(context: Context) -> tuple[Accelerator, str]:
    """Return the same for a process that imports torch itself, if it needs it: without it there is the host alone.

    Where a device is asked for torch is imported here. Raises DeviceError as ``of_process`` does.
    """
    return of_process(context) if context.arch or is_torch_imported() else (Cpu(), "")


def is_torch_imported() -> bool:
    return sys.modules.get("torch") is not None


def _no_torch() -> str:
    """Import torch, where it is installed; return why that cannot be done."""
    try:
        if has_torch():
            _torch()
    except DeviceError as error:
        return f"steps are timed by the host's clock: {error}"
    return ""


def has_torch() -> bool:
    """Return whether torch is installed; imports nothing."""
    return _installed("torch")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def _probe() -> str:
    if not has_torch():
        return "cpu"
    torch = _torch()
    if torch.cuda.is_available():
        return "rocm" if torch.version.hip else "cuda"
    modules = {arch: getattr(torch, arch, None) for arch in ("xpu", "hpu")}
    return next((arch for arch, module in modules.items() if module is not None and module.is_available()), "cpu")


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except (ImportError, OSError) as error:  # a library of its own may be damaged
        raise DeviceError(f"torch is needed for this device: {error}") from error


def autocast_dtype(precision: str, accelerator: Accelerator, note: Note) -> torch.dtype | None:
    """Return the type autocast computes in, None for full precision; ``note`` is told what is replaced.

    ``precision`` is one of fp32, tf32, fp16, tf32-fp16 and bf16. fp16 runs as bf16 where it is not real.
    """
    torch = _torch()
    if precision.endswith("bf16"):
        return torch.bfloat16
    if not precision.endswith("fp16"):
        return None
    if accelerator.has_fp16():
        return torch.float16
    note(f"fp16 on {accelerator.arch} runs as bf16")
    return torch.bfloat16


def set_tf32(enabled: bool, accelerator: Accelerator, note: Note) -> None:
    """Let fp32 products and convolutions use TF32, or forbid it; ``note`` is told where there is no such thing."""
    if accelerator.arch not in ("cuda", "rocm"):
        if enabled:
            note(f"tf32 on {accelerator.arch} runs as fp32")
        return
    backends, precision = _torch().backends, "tf32" if enabled else "ieee"
    backends.cuda.matmul.fp32_precision = precision
    backends.cudnn.conv.fp32_precision = precision


def set_threads(context: Context) -> None:
    """Give torch the number of threads the plan gave the process; call it after the imports that set their own."""
    if context.threads is not None:
        _torch().set_num_threads(context.threads)
