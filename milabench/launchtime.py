"""The one token that stays in a plan until a process starts: ``${port:29400}``, a port that is free then."""

from __future__ import annotations

import re

PORT = re.compile(r"\$\{port:(\d+)\}")


def port_token(lowest: int) -> str:
    """Return what stands for a port, ``lowest`` or the next that is free on the node where a group of ranks meets."""
    return f"${{port:{lowest}}}"
