"""What Slurm says of the job of a run, for who looks at the run: within seconds, or why it is not known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from milabench.errors import RunDirError
from milabench.slurm import records
from milabench.slurm.commands import Slurm, SlurmError
from milabench.slurm.states import Seen

_WITHIN_S = 3.0
_AGAIN_S = 10.0  # a controller has more to do than to answer those who look


class SlurmJob:
    """The newest job of a run that was submitted, looked at again and again; ``environ`` is the operator's."""

    def __init__(self, run: Path, environ: Mapping[str, str]) -> None:
        self._run, self._environ = run, environ
        self._seen: Seen | None = None
        self._asked_s: float | None = None

    def look(self) -> Seen | None:
        """Return how the job is, None where none was submitted. Without a state it is not known, for its reason."""
        now_s = time.monotonic()
        if self._asked_s is None or now_s - self._asked_s >= _AGAIN_S:
            self._seen, self._asked_s = look(self._run, self._environ), now_s
        return self._seen


def look(run: Path, environ: Mapping[str, str]) -> Seen | None:
    """Return how the newest job of a run is, as ``SlurmJob.look`` does: what is recorded, else what squeue says."""
    if not records.is_submitted(run):
        return None
    try:
        known = records.read(run).latest.seen
    except RunDirError as error:
        return Seen(job="", state="", reason=str(error))
    return known if known.state else asyncio.run(_asked(known, environ))


async def _asked(known: Seen, environ: Mapping[str, str]) -> Seen:
    try:
        found = await asyncio.wait_for(Slurm(environ).look([known.job]), _WITHIN_S)
    except asyncio.TimeoutError:
        return replace(known, reason="squeue does not answer")
    except SlurmError as error:
        return replace(known, reason=str(error).partition(":")[0])
    return found.get(known.job, replace(known, state="GONE"))
