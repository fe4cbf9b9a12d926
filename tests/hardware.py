"""Hardware that is not here, at its real boundaries: NVML's C library, trees of /proc and /sys, vendors' tools.

They say again what ``tests/recordings`` holds.
"""

from __future__ import annotations

import ctypes
import functools
import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).with_name("recordings")
NOT_FOUND, NO_FUNCTION = 6, 13  # NVML_ERROR_NOT_FOUND, NVML_ERROR_FUNCTION_NOT_FOUND


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / name).read_text())


def lay(root: Path, files: Mapping[str, str]) -> Path:
    """Write a tree of files and links below a root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("->"):
            path.symlink_to(root / content[2:])
        elif content.startswith("hex:"):
            path.write_bytes(bytes.fromhex(content[4:]))
        else:
            path.write_text(content)
    return root


class NvmlLibrary:
    """``libnvidia-ml.so.1`` as nvidia-ml-py calls it: functions that fill what they are pointed to and return a code.

    ``lost`` are the UUIDs of GPUs that have gone; ``calls`` counts the calls of each function.
    """

    def __init__(self, recording: Mapping[str, Any]) -> None:
        self._driver = recording["driver"]
        self._devices = {uuid: dict(said) for uuid, said in recording.items() if uuid != "driver"}
        self._uuids = list(self._devices)
        self.lost: set[str] = set()
        self.calls: dict[str, int] = {}

    def __getattr__(self, name: str) -> Callable[..., int]:
        if not name.startswith("nvmlDeviceGet"):
            raise AttributeError(name)
        if not any(key.partition("/")[0] == name for said in self._devices.values() for key in said):
            raise AttributeError(name)  # as in the library of an older driver
        return lambda handle, *arguments: self._device_call(name, handle, *arguments)

    def nvmlInitWithFlags(self, _flags: int) -> int:
        return 0

    def nvmlSystemGetDriverVersion(self, buffer: Any, _size: Any) -> int:
        buffer.value = self._driver.encode()
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: Any, device: Any) -> int:
        name = uuid.value.decode()
        if name not in self._devices:
            return NOT_FOUND
        pointer = ctypes.cast(ctypes.pointer(device._obj), ctypes.POINTER(ctypes.c_void_p))
        pointer.contents.value = self._uuids.index(name) + 1
        return 0

    def _device_call(self, name: str, handle: Any, *arguments: Any) -> int:
        self.calls[name] = self.calls.get(name, 0) + 1
        number = ctypes.cast(handle, ctypes.c_void_p).value
        assert number is not None
        uuid = self._uuids[number - 1]
        if uuid in self.lost:
            return 15  # NVML_ERROR_GPU_IS_LOST
        *selected, into = arguments
        key = f"{name}/{selected[0].value}" if selected else name
        said = self._devices[uuid].get(key, {"error": 3})
        value = said
        if isinstance(said, list):
            value = said[0]
            self._devices[uuid][key] = said[1:] or said[-1]
        if isinstance(value, dict) and "error" in value:
            return int(value["error"])
        fill(into._obj, value)
        return 0


def fill(into: Any, value: Any) -> None:
    if isinstance(value, dict):
        for field, number in value.items():
            setattr(into, field, number)
    else:
        into.value = value


@functools.cache
def nvml_binding() -> str:
    """Return the file of nvidia-ml-py."""
    spec = find_spec("pynvml")
    assert spec is not None
    assert spec.origin is not None
    return spec.origin


def nvml(recording: Mapping[str, Any]) -> tuple[Any, NvmlLibrary]:
    """Return nvidia-ml-py itself with such a library, and the library."""
    from milabench.agent.monitor import nvidia

    module, library = nvidia.binding(nvml_binding()), NvmlLibrary(recording)
    module.nvmlLib = library
    return module, library


def nvml_file(folder: Path, recording: str | Mapping[str, Any], *, before: str = "") -> Path:
    """Write a file that is nvidia-ml-py with such a library, for a process to import; ``before`` is run in it first."""
    if not isinstance(recording, str):
        (folder / "recording.json").write_text(json.dumps(recording))
    path = RECORDINGS / recording if isinstance(recording, str) else folder / "recording.json"
    file = folder / "pynvml_with_a_library.py"
    file.write_text(
        f"import sys, json\n{before}\n"
        f"exec(compile(open({nvml_binding()!r}).read(), {nvml_binding()!r}, 'exec'))\n"
        f"sys.path.append({str(Path(__file__).parent)!r})\n"
        f"import hardware\n"
        f"nvmlLib = hardware.NvmlLibrary(json.load(open({str(path)!r})))\n"
    )
    return file


def tool(folder: Path, name: str, script: str) -> Path:
    """Write a program in shell."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def printing(text: str) -> str:
    return f"cat <<'END'\n{text.rstrip()}\nEND"
