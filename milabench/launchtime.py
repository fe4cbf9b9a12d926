"""The tokens that stay in a plan until a process starts.

``${port:29400}`` is a port that is free then, ``${temporary}`` a folder of the process's own on its node, which is
removed when the process is gone.
"""

from __future__ import annotations

import re
from typing import Final

PORT = re.compile(r"\$\{port:(\d+)\}")
TEMPORARY: Final = "${temporary}"


def port_token(lowest: int) -> str:
    """Return what stands for a port, ``lowest`` or the next that is free on the node where a group of ranks meets."""
    return f"${{port:{lowest}}}"
