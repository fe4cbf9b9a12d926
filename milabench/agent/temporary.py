"""A folder for what a launcher writes and nobody looks for: beside a process's files, until the process is gone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def given(request: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], str | None]:
    """Return a start request with the folder in the place of the token that stands for it, and the folder.

    The token is what ``temporary`` of the request says; None where there is none. A variable that ``environ``, the
    node's, has already stays as it is. Whoever uses the folder makes it.
    """
    token = request.get("temporary")
    if not token:
        return request, None
    folder = str(Path(request["stdout"]).with_suffix(".temporary"))
    env = {name: value for name, value in request["env"].items() if token not in value or name not in environ}
    env = {name: value.replace(token, folder) for name, value in env.items()}
    return {**request, "argv": [word.replace(token, folder) for word in request["argv"]], "env": env}, folder


def remove(folder: str | None) -> None:
    """Remove it with all that is in it, where somebody made it."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
