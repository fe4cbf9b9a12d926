"""What to type about devices, by architecture: the vendors' own tools. Not yet run on hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from milabench.plan.environ import SELECTION_VARIABLES
from milabench.system.types import Arch


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A vendor's commands, with ``{gpu}`` for a device's number and ``{watts}`` for its power; None: not known here.

    ``selection`` is the variable that leaves devices out, ``files`` are the devices, ``logged`` is the word in the
    kernel's log, ``state`` shows temperature and power.
    """

    selection: str
    files: str
    logged: str
    state: str
    reset: str | None = None
    power: str | None = None
    clocks: str | None = None

    def to_reset(self, gpu: int) -> str:
        """Return how a device is reset."""
        return _as_root(self.reset, "reset it with its vendor's tool", gpu=gpu)

    def to_set_power(self, gpu: int, watts: float) -> str:
        """Return how a device is allowed the power that it is made for."""
        return _as_root(self.power, "set it with its vendor's tool", gpu=gpu, watts=f"{watts:g}")

    def to_reset_clocks(self, gpu: int) -> str:
        """Return how a device gets its own clocks again."""
        return _as_root(self.clocks, "set them with its vendor's tool", gpu=gpu)


def _as_root(command: str | None, otherwise: str, **values: object) -> str:
    return otherwise if command is None else f"as root: {command.format(**values)}"


VENDORS: Mapping[Arch, Vendor] = {
    "cuda": Vendor(
        selection=SELECTION_VARIABLES["cuda"],
        files="/dev/nvidia*",
        logged="xid",
        state="nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER",
        reset="nvidia-smi --gpu-reset -i {gpu}",
        power="nvidia-smi -i {gpu} -pl {watts}",
        clocks="nvidia-smi -i {gpu} --reset-applications-clocks",
    ),
    "rocm": Vendor(
        selection=SELECTION_VARIABLES["rocm"],
        files="/dev/kfd /dev/dri/renderD*",
        logged="amdgpu",
        state="rocm-smi --showtemp --showpower --showclocks",
        reset="rocm-smi -d {gpu} --gpureset",
        power="rocm-smi -d {gpu} --resetpoweroverdrive",
        clocks="rocm-smi -d {gpu} --resetclocks",
    ),
    "xpu": Vendor(
        selection=SELECTION_VARIABLES["xpu"],
        files="/dev/dri/renderD*",
        logged="'i915\\|xe '",
        state="xpu-smi stats -d {gpu}",
    ),
    "hpu": Vendor(
        selection=SELECTION_VARIABLES["hpu"],
        files="/dev/accel/accel*",
        logged="habanalabs",
        state="hl-smi -q",
    ),
}
