"""A command placed on a node: once per device, or in copies that see all devices or shares of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from milabench.commands.base import Command, ListCommand

if TYPE_CHECKING:
    from milabench.pack import BasePackage


class PerGPU(ListCommand):
    """One copy of a command per device, ``D<id>`` in its tag; every copy sees its own device only."""

    def __init__(self, executor: Command, gpus: Sequence[Mapping[str, Any]], **options: Any) -> None:
        super().__init__(
            *(
                _placed(executor, f"D{gpu['device']}", {"device": gpu["device"], "devices": [gpu["device"]]})
                for gpu in gpus
            ),
            **options,
        )


class NJobs(ListCommand):
    """``n`` copies of a command that all see the given devices, or disjoint shares of them."""

    def __init__(
        self, executor: Command, n: int, gpus: Sequence[Mapping[str, Any]] = (), *, share: bool = False, **options: Any
    ) -> None:
        ids = [gpu["device"] for gpu in gpus]
        super().__init__(
            *(
                _placed(
                    executor,
                    str(index) if n > 1 else None,
                    {"job-number": index, "devices": ids[index::n] if share else ids},
                )
                for index in range(n)
            ),
            **options,
        )


def _placed(executor: Command, part: str | None, keys: Mapping[str, Any]) -> Command:
    """Return a command with further keys in its packages, and a further part after what their tags have in common."""
    common = len(os.path.commonprefix([pack.config["tag"] for pack in executor.packs()]))

    def place(pack: BasePackage) -> BasePackage:
        tag = list(pack.config["tag"])
        return pack.copy({**keys, "tag": [*tag[:common], *([part] if part else []), *tag[common:]]})

    return executor.with_packs(place)
