"""The peer's report on a run, for measure_report.py: runs in the peer's environment. What it makes of bad lines is kept
from the terminal, which it would fill."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from milabench.common import _read_reports
from milabench.report import make_report

from milabench.summary import make_summary


def main(run: str) -> None:
    with Path(os.devnull).open("w") as sys.stderr, Path(os.devnull).open("w") as sys.stdout:
        make_report(make_summary(_read_reports(run)), weights={}, sources=[run])


main(*sys.argv[1:])
