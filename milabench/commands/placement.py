"""A command placed on a node: once per device, or in copies that see all devices or shares of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from milabench.commands.base import Command, ListCommand


class PerGPU(ListCommand):
    """One copy of a command per device, ``D<id>`` in its tag; every copy sees its own device only."""

    def __init__(self, executor: Command, gpus: Sequence[Mapping[str, Any]], **options: Any) -> None:
        pack = executor.pack
        super().__init__(
            *(
                executor.copy(
                    pack.copy(
                        {
                            "tag": [*pack.config["tag"], f"D{gpu['device']}"],
                            "device": gpu["device"],
                            "devices": [gpu["device"]],
                        }
                    )
                )
                for gpu in gpus
            ),
            **options,
        )


class NJobs(ListCommand):
    """``n`` copies of a command that all see the given devices, or disjoint shares of them."""

    def __init__(
        self, executor: Command, n: int, gpus: Sequence[Mapping[str, Any]] = (), *, share: bool = False, **options: Any
    ) -> None:
        pack, ids = executor.pack, [gpu["device"] for gpu in gpus]
        super().__init__(
            *(
                executor.copy(
                    pack.copy(
                        {
                            "tag": [*pack.config["tag"], str(index)] if n > 1 else list(pack.config["tag"]),
                            "job-number": index,
                            "devices": ids[index::n] if share else ids,
                        }
                    )
                )
                for index in range(n)
            ),
            **options,
        )
