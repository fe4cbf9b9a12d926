"""What all tests share: a skip that is not in tests/skips.txt fails the session."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cluster import NO_SLURM, Cluster, is_possible

# How fast an example is says nothing of what is tested; and what a change breaks must not hang on the examples drawn:
# HYPOTHESIS_SEEK=1 draws others, to look for what none has shown yet.
settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("HYPOTHESIS_SEEK") != "1",
)
settings.load_profile("any machine")

# An image that asks for none would have every process of every test compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

ALLOWED = Path(__file__).with_name("skips.txt")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Slurm cluster for the tests of a file."""
    if not is_possible():
        pytest.skip(NO_SLURM)
    with Cluster() as made:
        yield made


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Skips())
    # Under nohup, or in the background of a script, signals are ignored, by all that is started from there too.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Skips:
    """Note what was skipped, in this process or, by their reports, in those that share the tests among them."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._found.append((report.nodeid, reason.removeprefix("Skipped: ")))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        unknown = [each for each in self._found if not any(_matches(each, line) for line in _allowed())]
        for nodeid, reason in unknown:
            print(f"\nskip not in {ALLOWED.name}: {nodeid}: {reason}")
        if unknown and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _allowed() -> list[str]:
    return [line for line in ALLOWED.read_text().splitlines() if line.strip() and not line.startswith("#")]


def _matches(entry: tuple[str, str], line: str) -> bool:
    nodeid, _, reason = line.partition(": ")
    return fnmatch(entry[0], nodeid) and fnmatch(entry[1], reason)
