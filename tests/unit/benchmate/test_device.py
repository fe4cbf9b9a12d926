"""Choosing an accelerator, with a torch that only pretends."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from benchmate import device
from benchmate.context import Context
from benchmate.device import (
    Cpu,
    DeviceError,
    TorchDevice,
    autocast_dtype,
    fetch,
    of_imported,
    of_process,
    set_tf32,
    set_threads,
)


def module(count: int) -> types.SimpleNamespace:
    events: list[Any] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing
            self.recorded = False
            events.append(self)

        def record(self) -> None:
            self.recorded = True

    return types.SimpleNamespace(
        is_available=lambda: count > 0,
        device_count=lambda: count,
        set_device=lambda index: None,
        get_device_name=lambda index: f"Fake {index}",
        max_memory_reserved=lambda: 2**20,
        Event=Event,
    )


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    fake: Any = types.ModuleType("torch")
    fake.__version__ = "2.0"
    fake.__spec__ = types.SimpleNamespace(name="torch")
    fake.cuda, fake.xpu = module(0), module(0)
    fake.version = types.SimpleNamespace(hip=None)
    fake.device = lambda *parts: ":".join(map(str, parts))
    fake.bfloat16, fake.float16 = "bfloat16", "float16"
    precision = types.SimpleNamespace
    fake.backends = precision(
        cuda=precision(matmul=precision(fp32_precision="none")), cudnn=precision(conv=precision(fp32_precision="none"))
    )
    fake.threads = []
    fake.set_num_threads = fake.threads.append
    monkeypatch.setitem(sys.modules, "torch", fake)
    return fake  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("cuda", "hip", "xpu", "arch"),
    [(1, None, 0, "cuda"), (2, "6.2", 0, "rocm"), (0, None, 1, "xpu"), (0, None, 0, "cpu")],
)
def test_what_torch_sees_is_taken_when_nobody_says(torch: Any, cuda: int, hip: str | None, xpu: int, arch: str) -> None:
    torch.cuda, torch.xpu, torch.version.hip = module(cuda), module(xpu), hip
    assert fetch(context=Context()).arch == arch


def test_milabench_s_choice_wins_and_a_named_one_wins_over_it(torch: Any) -> None:
    torch.cuda = module(1)
    assert fetch(context=Context(arch="cpu")).arch == "cpu"
    assert fetch("cuda", Context(arch="cpu")).arch == "cuda"


def test_the_index_is_the_local_rank(torch: Any) -> None:
    torch.cuda = module(4)
    accelerator = fetch("cuda", Context(local_rank=3))
    assert (accelerator.device(), accelerator.name, accelerator.clock) == ("cuda:3", "Fake 3", "device")
    assert accelerator.peak_memory() == (2**20, "torch.cuda.max_memory_reserved")


def test_an_event_is_recorded_when_it_is_made(torch: Any) -> None:
    torch.cuda = module(1)
    event: Any = fetch("cuda", Context()).event()
    assert event.recorded


@pytest.mark.parametrize(
    ("arch", "rank", "message"),
    [
        ("cuda", 0, "no cuda device is visible to torch 2.0"),
        ("xpu", 1, "xpu device 1 was asked for, 1 are visible"),
        ("hpu", 0, "no hpu device"),
        ("tpu", 0, "unknown arch 'tpu': expected one of cuda, rocm, xpu, hpu, cpu"),
    ],
)
def test_a_device_that_is_not_there_is_told(torch: Any, arch: str, rank: int, message: str) -> None:
    torch.xpu = module(1)
    with pytest.raises(DeviceError, match=message):
        fetch(arch, Context(local_rank=rank))


def test_without_torch_the_cpu_is_there_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(device, "has_torch", lambda: False)
    assert isinstance(fetch(context=Context()), Cpu)
    with pytest.raises(DeviceError, match="torch is needed"):
        fetch("cuda", Context())


def test_a_torch_that_cannot_be_imported_fails_nobody_who_asked_for_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise OSError("libtorch.so: no such file")

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(device, "has_torch", lambda: True)
    monkeypatch.setattr(device.importlib, "import_module", broken)
    accelerator, doubt = of_process(Context())
    assert isinstance(accelerator, Cpu)
    assert doubt.endswith("by the host's clock: torch is needed for this device: libtorch.so: no such file")
    assert of_imported(Context())[1] == ""
    for find in (of_process, of_imported):
        with pytest.raises(DeviceError, match="libtorch"):
            find(Context(arch="cuda"))


def test_host_events_tell_milliseconds() -> None:
    first, second = Cpu().event(), Cpu().event()
    second.stamp_ns = first.stamp_ns + 2_500_000
    assert (first.query(), first.elapsed_time(second)) == (True, 2.5)


def accelerator(torch: Any, arch: str) -> Cpu | TorchDevice:
    setattr(torch, arch, module(1))
    return Cpu() if arch == "cpu" else TorchDevice(arch, device.KINDS[arch], 0)


@pytest.mark.parametrize(
    ("arch", "precision", "dtype", "notes"),
    [
        ("cpu", "fp32", None, []),
        ("cpu", "tf32", None, []),
        ("cpu", "bf16", "bfloat16", []),
        ("cpu", "fp16", "bfloat16", ["fp16 on cpu runs as bf16"]),
        ("cpu", "tf32-fp16", "bfloat16", ["fp16 on cpu runs as bf16"]),
        ("cuda", "tf32-fp16", "float16", []),
        ("cuda", "tf32", None, []),
    ],
)
def test_fp16_is_replaced_where_it_is_not_real_and_that_is_said(
    torch: Any, arch: str, precision: str, dtype: str | None, notes: list[str]
) -> None:
    said: list[str] = []
    assert autocast_dtype(precision, accelerator(torch, arch), said.append) == dtype
    assert said == notes


@pytest.mark.parametrize(
    ("arch", "enabled", "state", "notes"),
    [
        ("cuda", True, "tf32", []),
        ("cuda", False, "ieee", []),
        ("cpu", True, "none", ["tf32 on cpu runs as fp32"]),
        ("cpu", False, "none", []),
    ],
)
def test_tf32_is_switched_where_there_is_such_a_thing(
    torch: Any, arch: str, enabled: bool, state: str, notes: list[str]
) -> None:
    said: list[str] = []
    set_tf32(enabled, accelerator(torch, arch), said.append)
    assert torch.backends.cuda.matmul.fp32_precision == torch.backends.cudnn.conv.fp32_precision == state
    assert said == notes


@pytest.mark.parametrize(("threads", "told"), [(3, [3]), (None, [])])
def test_threads_are_those_of_the_plan(torch: Any, threads: int | None, told: list[int]) -> None:
    set_threads(Context(threads=threads))
    assert torch.threads == told
