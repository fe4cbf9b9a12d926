"""What stands in for a run directory while environments and data are made: nothing is measured then."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from milabench.outcome import Exit, Outcome, Seen, outcome
from milabench.plan import Command, Trial
from milabench.room import is_short
from milabench.rundir import Files, tail_of

_LACKING = re.compile(r"\buv: error while loading shared libraries: ([^:\s]+)")  # in a small image, say
_FULL = "No space left on device"
_LAST_LINES = 200  # of what a failed process printed are looked at for its reason


class SetupLogs:
    """What the processes of the install and prepare phases print: two files each, of the latest attempt only."""

    def __init__(self, base: Path) -> None:
        self.path = base / "extra" / "setup"

    def files(self, tag: str) -> Files:
        return Files.of(self.path, tag)

    def begin(self, command: Command, config: Mapping[str, Any]) -> int:
        del config
        self.path.mkdir(parents=True, exist_ok=True)
        for path in (self.files(command.tag).stdout, self.files(command.tag).stderr):
            path.write_bytes(b"")
        return 0

    def seal(self, command: Command, ended: Exit) -> Outcome:
        seen, said = Seen(expects_rate=False), self.log_tail(command.tag, _LAST_LINES)
        lacking = next((found[1] for line in said if (found := _LACKING.search(line))), None)
        if lacking is not None:
            seen = replace(seen, error=f"uv needs {lacking}, which is not there: give --installer pip")
        elif full := next((line for line in reversed(said) if _FULL in line), ""):  # at its end, often, of a long line
            seen = replace(seen, error=f"{_FULL}: {full.strip()}"[:200])
        if is_short(self.path):
            seen = replace(seen, full_disk="base")
        return outcome(ended, seen.with_last_words(said))

    def started(self, trial: Trial) -> None:
        """Nothing is kept: the records of what has been done say it."""

    def note(self, trial: Trial, outcome: Outcome, neighbours: Sequence[str] = ()) -> None:
        """Nothing is kept here either."""

    def log_tail(self, tag: str, lines: int) -> list[str]:
        return tail_of(self.files(tag), lines)
