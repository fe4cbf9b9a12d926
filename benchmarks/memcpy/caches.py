"""The host's caches, as Linux describes them: what a copy must not fit into where the memory is to be measured."""

from __future__ import annotations

from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


def last_level_bytes(cpus: Path = CPUS) -> int:
    """Return the sizes of all last-level caches together, 0 where the system does not say.

    A cache is described once for each core that uses it; ``shared_cpu_list`` tells the caches apart.
    """
    found: dict[tuple[int, str], int] = {}
    for cache in cpus.glob("cpu[0-9]*/cache/index[0-9]*"):
        try:
            if (cache / "type").read_text().strip() != "Instruction":
                level, shared = int((cache / "level").read_text()), (cache / "shared_cpu_list").read_text().strip()
                found[level, shared] = _bytes((cache / "size").read_text().strip())
        except (OSError, ValueError):
            continue
    last = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == last)


def _bytes(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1]] if text[-1:] in units else int(text)
