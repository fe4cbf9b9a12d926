"""Progress bars that do not fill a log."""

from __future__ import annotations

import sys
from typing import Any, Final

from tqdm import tqdm as _tqdm  # type: ignore[import-not-found,import-untyped,unused-ignore]

LINES_S: Final = 30.0  # between two lines, where they are kept: tqdm draws ten a second, in a night a million


class tqdm(_tqdm):  # type: ignore[misc]  # noqa: N801 - its name is what scripts import
    """tqdm's bar, drawn every half a minute at most where it does not go to a terminal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        stream = kwargs.get("file") or sys.stderr
        if not stream.isatty():
            kwargs["mininterval"] = max(LINES_S, kwargs.get("mininterval", LINES_S))
            kwargs["maxinterval"] = max(2 * LINES_S, kwargs.get("maxinterval", 2 * LINES_S))
        super().__init__(*args, **kwargs)
