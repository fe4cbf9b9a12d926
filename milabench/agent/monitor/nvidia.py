"""NVIDIA's GPUs by NVML, through NVIDIA's own binding (nvidia-ml-py). Not yet run on hardware.

A MIG slice has memory of its own; what else is told of it is that of its GPU, and power and energy stand with the GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, Final

from milabench.agent.monitor.reader import Fragment, Missing

Values = dict[str, Any]
_POWER: Final = frozenset({"power_w", "energy_j"})  # of a whole GPU: its slices share them
# nvmlClocksEventReasons: what slows a device down. That it idles or was told its clocks is none of it.
_REASONS: Final[Mapping[int, str]] = {
    0x04: "power cap",
    0x08: "hw slowdown",
    0x10: "sync boost",
    0x20: "thermal",
    0x40: "hw thermal",
    0x80: "power brake",
    0x200: "board limit",
    0x400: "reliability",
}


def binding(path: str) -> Any:
    """Import nvidia-ml-py from its one file, so that nothing beside that is found. Raises Missing."""
    spec = spec_from_file_location("pynvml", path)
    if not path or spec is None or spec.loader is None:
        raise Missing("nvidia-ml-py is not installed: pip install nvidia-ml-py")
    module = sys.modules["pynvml"] = module_from_spec(spec)  # it looks itself up there
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        del sys.modules["pynvml"]
        raise Missing(f"nvidia-ml-py cannot be read: {error.strerror}") from None
    return module


class Nvidia:
    """The devices that a run knows, by their UUIDs; whole GPUs that are divided too, without an ``id``."""

    def __init__(self, nvml: Any, devices: Iterable[Mapping[str, Any]]) -> None:
        self._nvml = nvml
        self._gpus: list[_Gpu] = []
        known, failures = _by_gpu(devices), []
        if not known:
            raise Missing("the run has no device of NVIDIA")
        try:
            nvml.nvmlInit()
            driver = nvml.nvmlSystemGetDriverVersion()
        except nvml.NVMLError as error:
            raise Missing(f"NVML: {error}") from None
        for uuid, own in known.items():
            try:
                self._gpus.append(_Gpu(nvml, uuid, own))
            except nvml.NVMLError as error:  # the others are there
                failures.append(f"{uuid}: {error}")
        if not self._gpus:
            raise Missing(f"NVML: {failures[0]}")
        self.by = "; ".join([f"NVML, driver {driver}", *(f"without {failure}" for failure in failures)])

    def read(self) -> Fragment:
        """Return all devices that answer. Raises Missing where none does."""
        rows: list[Values] = []
        failures: list[str] = []
        for gpu in self._gpus:
            try:
                rows += gpu.read()
            except self._nvml.NVMLError as error:  # one that has fallen off the bus: the others are there
                failures.append(f"{gpu.uuid}: {error}")
        if failures and not rows:
            raise Missing(f"NVML: {failures[0]}")
        return {"devices": rows}


def _by_gpu(devices: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the devices by the UUID of their whole GPU."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for each in devices:
        if uuid := each.get("gpu_uuid") or each.get("uuid"):
            found.setdefault(uuid, []).append(each)
    return found


class _Gpu:
    """A whole GPU, with the slices of it that are devices of the run."""

    def __init__(self, nvml: Any, uuid: str, devices: Iterable[Mapping[str, Any]]) -> None:
        self.uuid, self._nvml = uuid, nvml
        self._handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        whole = [each for each in devices if each.get("parent") is None]
        self._own = {"id": whole[0]["id"], "uuid": uuid} if whole else {"uuid": uuid}
        self._slices = [
            ({"id": each["id"], "uuid": each["uuid"]}, nvml.nvmlDeviceGetHandleByUUID(each["uuid"]))
            for each in devices
            if each.get("parent") is not None
        ]
        self._queries = _queries(nvml)
        self._constant: Values = {}
        with suppress(nvml.NVMLError):
            self._constant = {"max_clock_mhz": nvml.nvmlDeviceGetMaxClockInfo(self._handle, nvml.NVML_CLOCK_SM)}

    def read(self) -> list[Values]:
        values = {**self._constant, **self._asked(self._handle, self._queries)}
        shared = {name: value for name, value in values.items() if name not in _POWER | {"load", "memory_bytes"}}
        memory = {"memory": self._queries["memory"]} if "memory" in self._queries else {}
        slices = [{**own, **self._asked(handle, memory), **shared} for own, handle in self._slices]
        return [{**self._own, **values}, *slices]

    def _asked(self, handle: Any, queries: Mapping[str, Callable[[Any], Values]]) -> Values:
        """Return what a device says; what it has not is not asked again. Raises NVMLError where it says nothing."""
        found: Values = {}
        failure: Exception | None = None
        for name, query in list(queries.items()):
            try:
                found |= query(handle)
            except self._nvml.NVMLError as error:
                failure = error
                lacking = (self._nvml.NVML_ERROR_NOT_SUPPORTED, self._nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
                if handle is self._handle and error.value in lacking:
                    del self._queries[name]
        if failure is not None and not found:
            raise failure
        return found


def _queries(nvml: Any) -> dict[str, Callable[[Any], Values]]:
    """Return how to ask for each group of values; mW and mJ become W and J."""
    sm, memory = nvml.NVML_CLOCK_SM, nvml.NVML_CLOCK_MEM
    return {
        "load": lambda gpu: {"load": nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100},
        "memory": lambda gpu: {"memory_bytes": _memory(nvml, gpu)},
        "temperature": lambda gpu: {"temperature_c": _temperature(nvml, gpu)},
        "power": lambda gpu: {"power_w": nvml.nvmlDeviceGetPowerUsage(gpu) / 1000},
        "energy": lambda gpu: {"energy_j": nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000},
        "clock": lambda gpu: {"clock_mhz": nvml.nvmlDeviceGetClockInfo(gpu, sm)},
        "memory clock": lambda gpu: {"memory_clock_mhz": nvml.nvmlDeviceGetClockInfo(gpu, memory)},
        "throttle": lambda gpu: {"throttle": _words(_reasons(nvml, gpu))},
        "ecc": lambda gpu: {"ecc": _ecc(nvml, gpu)},
    }


def _memory(nvml: Any, gpu: Any) -> int:
    """Return what is used, without what the driver keeps for itself where it tells the two apart."""
    try:
        used = nvml.nvmlDeviceGetMemoryInfo(gpu, version=nvml.nvmlMemory_v2).used
    except nvml.NVMLError:
        used = nvml.nvmlDeviceGetMemoryInfo(gpu).used
    return int(used)


def _temperature(nvml: Any, gpu: Any) -> int:
    """Return it by the call of new drivers, or by that which these are to lose."""
    try:
        return int(nvml.nvmlDeviceGetTemperatureV(gpu, nvml.NVML_TEMPERATURE_GPU))
    except (AttributeError, nvml.NVMLError):
        return int(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU))


def _reasons(nvml: Any, gpu: Any) -> int:
    """Return the bits by the name that they have since driver 535, or by that before."""
    try:
        return int(nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    except nvml.NVMLError:
        return int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))


def _words(reasons: int) -> list[str]:
    return [word for bit, word in _REASONS.items() if reasons & bit]


def _ecc(nvml: Any, gpu: Any) -> dict[str, int]:
    """Return the memory errors since the driver was loaded."""
    kinds = {"corrected": nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, "uncorrected": nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED}
    counts = {word: nvml.nvmlDeviceGetTotalEccErrors(gpu, kind, nvml.NVML_VOLATILE_ECC) for word, kind in kinds.items()}
    return {word: int(count) for word, count in counts.items()}
