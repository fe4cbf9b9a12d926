"""What monitors say of devices now, for those who show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from benchmate.wire import is_number
from milabench.agent.monitor import samples

_NUMBERS: Final = ("load", "memory_bytes")  # what is shown of a device now


def devices(path: Path, now_ns: int | None = None) -> list[dict[str, Any]]:
    """Return the devices of the last sample that tells of now; a damaged file says nothing of them."""
    found = samples.latest(path, now_ns).get("devices")
    several = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return [{key: told for key, told in each.items() if key not in _NUMBERS or is_number(told)} for each in several]
