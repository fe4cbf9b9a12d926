"""What trees of processes take of this node: the memory they hold and the time they have had."""

from __future__ import annotations

import os
from collections.abc import Iterable

from milabench.agent import processes

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def usage(roots: Iterable[int]) -> dict[str, float]:
    """Return ``rss_bytes`` and ``cpu_s`` of processes with all that is below them.

    Memory that several of them share counts for each; the time of those that have ended is in their parents' once
    these have waited for them.
    """
    found: dict[int, None] = {}
    for root in roots:
        found.update(dict.fromkeys((root, *processes.descendants(root))))
    rss, ticks = 0, 0
    for pid in found:
        fields = processes.stat(pid)
        if len(fields) > 21:
            ticks += sum(map(int, fields[11:15]))  # user, system, and both of children that were waited for
            rss += int(fields[21]) * _PAGE
    return {"rss_bytes": rss, "cpu_s": ticks / _TICKS}
