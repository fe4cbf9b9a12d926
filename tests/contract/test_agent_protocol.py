"""Talk to an agent over its pipe: what it starts, measures, ends and keeps from the processes it starts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from agents import assert_ends, ended, launch, pid_in, stopped, talk
from benchmate import wire
from harness import PRINTER
from milabench.agent import processes
from milabench.errors import PreflightError
from milabench.execute.hosts.local import LocalHost
from milabench.outcome import Exit
from milabench.plan import Phase
from milabench.suite import Limit

# Starting ----------------------------------------------------------------------------------------------------------


def test_a_process_is_reported_once_with_code_time_and_memory(tmp_path: Path) -> None:
    found = ended(tmp_path, "echo out; echo err >&2; exit 3")
    assert (found.code, found.signal, found.cause, found.error) == (3, None, None, None)
    assert found.seconds > 0
    assert found.max_rss_bytes is not None
    assert found.max_rss_bytes > 100_000
    assert ((tmp_path / "one.stdout").read_text(), (tmp_path / "one.stderr").read_text()) == ("out\n", "err\n")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_a_signal_is_told_as_such(tmp_path: Path, number: signal.Signals) -> None:
    found = ended(tmp_path, f"kill -{int(number)} $$")
    assert (found.code, found.signal) == (None, number)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("no-such-program",), "cannot be started: No such file or directory: no-such-program"),
        (("/etc/passwd",), "cannot be started: Permission denied: /etc/passwd"),
    ],
)
def test_what_cannot_be_started_is_an_exit_with_its_reason(tmp_path: Path, argv: tuple[str, ...], message: str) -> None:
    assert ended(tmp_path, "", argv=argv).error == message


def test_a_missing_working_directory_is_named(tmp_path: Path) -> None:
    found = ended(tmp_path / "nowhere", "true")
    assert found.error is not None
    assert "nowhere" in found.error


def test_standard_input_is_empty(tmp_path: Path) -> None:
    assert ended(tmp_path, "read line").code == 1


def test_the_agent_goes_on_after_a_request_that_fails(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> int | None:
        with pytest.raises(PreflightError, match="stage failed: No such file or directory"):
            await host.request("stage", staged=[{"source": "/nowhere/at/all", "target": "/proc/x/y"}])
        return (await (await host.start(launch(tmp_path, "exit 4"))).wait()).code

    assert talk(story) == 4


# What a process sees -----------------------------------------------------------------------------------------------


def environ_of(folder: Path, **keys: Any) -> dict[str, str]:
    """Return the environment that a started process sees."""
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    ended(folder, "", argv=(sys.executable, "-I", "-S", "-c", script), **keys)
    found: dict[str, str] = json.loads((folder / "one.stdout").read_text())
    return found


def test_what_would_disturb_a_benchmark_is_withheld(tmp_path: Path) -> None:
    names = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    found = environ_of(tmp_path, environ=dict.fromkeys(names, "/nowhere") | {"KEPT": "yes"})
    assert ([name for name in names if name in found], found["KEPT"]) == ([], "yes")


def test_a_commands_own_variables_win(tmp_path: Path) -> None:
    assert environ_of(tmp_path, environ={"A": "1"}, env={"A": "2", "VIRTUAL_ENV": "/own"})["A"] == "2"


PIP = {
    "PIP_INDEX_URL": "https://index.invalid/simple",
    "PIP_EXTRA_INDEX_URL": "https://a.invalid https://b.invalid",
    "PIP_FIND_LINKS": "/one /two",
    "PIP_NO_INDEX": "1",
    "PIP_CERT": "/cert.pem",
}
UV = {
    "UV_DEFAULT_INDEX": "https://index.invalid/simple",
    "UV_INDEX": "https://a.invalid https://b.invalid",
    "UV_FIND_LINKS": "/one,/two",
    "UV_NO_INDEX": "1",
    "SSL_CERT_FILE": "/cert.pem",
}


@pytest.mark.parametrize(("phase", "wanted"), [("install", UV), ("prepare", {}), ("run", {})])
def test_pips_settings_are_passed_to_uv_while_installing_only(
    tmp_path: Path, phase: Phase, wanted: dict[str, str]
) -> None:
    found = environ_of(tmp_path, environ=PIP, phase=phase)
    assert {name: value for name, value in found.items() if name in UV} == wanted


def test_uvs_own_settings_win_over_pips(tmp_path: Path) -> None:
    own = {"UV_DEFAULT_INDEX": "https://own.invalid"}
    assert environ_of(tmp_path, environ={**PIP, **own}, phase="install")["UV_DEFAULT_INDEX"] == "https://own.invalid"


def test_the_descriptor_for_data_can_be_written(tmp_path: Path) -> None:
    script = """echo '{"event": "data", "data": {"x": 1}}' >&$DATA_FD"""
    assert ended(tmp_path, script, metrics="file").code == 0
    assert json.loads((tmp_path / "one.data").read_text())["data"] == {"x": 1}


def test_without_metrics_there_is_no_descriptor_for_data(tmp_path: Path) -> None:
    assert "DATA_FD" not in environ_of(tmp_path)


def test_voir_looks_for_no_voirfile_by_itself(tmp_path: Path) -> None:
    assert environ_of(tmp_path, environ={"VOIRFILE": "/an/operators/own.py"})["VOIRFILE"] == ""


# Printed metrics ---------------------------------------------------------------------------------------------------


def test_the_agent_ends_a_program_when_enough_is_measured(tmp_path: Path) -> None:
    found = ended(tmp_path, PRINTER, metrics="stdout", stop="runner", limit=Limit(skip=2, observations=5))
    assert (found.cause, found.signal) == ("limit", signal.SIGTERM)
    steps = wire.read_steps(tmp_path / "one.steps")
    assert list(steps.columns["phase"])[:7] == [wire.WARMUP] * 2 + [wire.MEASURED] * 5
    assert steps.unit == "items"


def test_a_limit_in_seconds_ends_it_too(tmp_path: Path) -> None:
    limit = Limit(skip=0, observations=None, seconds=0.3)
    assert ended(tmp_path, PRINTER, metrics="stdout", stop="runner", limit=limit).cause == "limit"


def test_what_else_is_printed_is_kept_as_it_is(tmp_path: Path) -> None:
    script = """echo hello; echo '{"count": 1}'; echo '{broken'; printf '{"count": 2}'"""
    found = ended(tmp_path, script, metrics="stdout", limit=Limit(skip=0, observations=None))
    assert found.code == 0
    assert (tmp_path / "one.stdout").read_text() == 'hello\n{"count": 1}\n{broken\n{"count": 2}'
    assert list(wire.read_steps(tmp_path / "one.steps").columns["count"]) == [1, 2]


PRINTED = {
    "a list": "[1, 2]",
    "a count that is text": '{"count": "many"}',
    "a count that is no number": '{"count": NaN}',
    "a count without end": '{"count": 1e999}',
    "a count beyond 64 bits": '{"count": 99999999999999999999999}',
    "a count below 0": '{"count": -5}',
    "a unit that is a list": '{"count": 1, "unit": [1]}',
    "a unit beyond its column": '{"count": 1, "unit": "' + "x" * 100 + '"}',
    "a rate that is text": '{"rate": "fast"}',
    "a deep nest": '{"a":' * 5000,
}


@pytest.mark.parametrize("line", PRINTED.values(), ids=PRINTED)
def test_no_line_a_program_prints_harms_the_agent(tmp_path: Path, line: str) -> None:
    (tmp_path / "line").write_text(line + "\n")
    script = """echo '{"count": 3}'; sleep 0.05; cat line; sleep 0.05; echo '{"count": 3}'"""
    limit = Limit(skip=0, observations=None)
    found = ended(tmp_path, script, metrics="stdout", limit=limit)
    assert (found.code, found.cause) == (0, None)
    counts = wire.read_steps(tmp_path / "one.steps").columns["count"]
    assert (counts[0], counts[-1]) == (3, 3)


# Ending ------------------------------------------------------------------------------------------------------------


def test_stopping_is_gentle_first(tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 0' TERM; touch mark; while true; do sleep 0.05; done"
    found = stopped(tmp_path, script, grace_s=20)
    assert (found.code, found.cause) == (0, "interrupt")
    assert (tmp_path / "one.stdout").read_text() == "bye\n"


def test_what_ignores_the_gentle_signal_is_killed(tmp_path: Path) -> None:
    found = stopped(tmp_path, "trap '' TERM; touch mark; while true; do sleep 0.05; done")
    assert (found.signal, found.cause) == (signal.SIGKILL, "interrupt")


def test_a_later_and_gentler_stop_does_not_postpone_the_end(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> Exit:
        process = await host.start(launch(tmp_path, "trap '' TERM; touch mark; while true; do sleep 0.05; done"))
        while not (tmp_path / "mark").exists():
            await asyncio.sleep(0.01)
        await process.stop("interrupt", 0.2)
        await process.stop("sibling", 1000)
        return await process.wait()

    found: Exit = talk(story)
    assert (found.signal, found.cause) == (signal.SIGKILL, "interrupt")


def test_without_grace_a_process_is_killed_at_once(tmp_path: Path) -> None:
    found = stopped(tmp_path, "trap 'exit 0' TERM; touch mark; while true; do sleep 0.05; done", grace_s=0)
    assert found.signal == signal.SIGKILL


def test_a_deadline_ends_a_process_with_its_cause(tmp_path: Path) -> None:
    found = ended(tmp_path, "sleep 1000", deadline_s=0.3)
    assert (found.cause, found.signal) == ("deadline", signal.SIGTERM)


DAEMONS = {
    "in its session": "sleep 1000 & echo $! > pid",
    "in a session of its own": "setsid sh -c 'echo $$ > pid; exec sleep 1000' & ",
    "an orphan": "(setsid sh -c 'echo $$ > pid; exec sleep 1000' >/dev/null 2>&1 &)",
    "one that ignores the gentle signal": """(setsid sh -c 'trap "" TERM; echo $$ > pid; sleep 1000; sleep 1000' &)""",
    "one without variables": "(env -i /usr/bin/setsid /bin/sh -c 'echo $$ > pid; exec sleep 1000' >/dev/null 2>&1 &)",
}


@pytest.mark.parametrize("script", DAEMONS.values(), ids=DAEMONS)
@pytest.mark.parametrize("end", ["exit 0", "sleep 1000"])
def test_what_a_process_left_behind_is_gone_when_its_exit_is_told(tmp_path: Path, script: str, end: str) -> None:
    script = f"{script}\nwhile ! test -s pid; do sleep 0.02; done; touch mark; {end}"
    found = stopped(tmp_path, script)
    assert found.error is None
    assert_ends(pid_in(tmp_path / "pid"))


@pytest.mark.parametrize("script", DAEMONS.values(), ids=DAEMONS)
def test_when_the_pipe_closes_everything_ends(tmp_path: Path, script: str) -> None:
    async def story(host: LocalHost) -> int:
        await host.start(launch(tmp_path, f"{script}\necho $$ > leader; sleep 1000"))
        while not ((tmp_path / "pid").exists() and (tmp_path / "leader").exists()):
            await asyncio.sleep(0.02)
        return pid_in(tmp_path / "leader")

    leader = talk(story)
    assert_ends(leader, timeout_s=20)
    assert_ends(pid_in(tmp_path / "pid"), timeout_s=20)


def test_when_the_agent_is_killed_what_waits_is_told_that_it_is_lost(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> Exit:
        process = await host.start(launch(tmp_path, "echo $PPID > agent; echo $$ > leader; exec sleep 1000"))
        while not (tmp_path / "leader").exists():
            await asyncio.sleep(0.02)
        os.kill(pid_in(tmp_path / "agent"), signal.SIGKILL)
        return await process.wait()

    assert talk(story).cause == "lost"
    assert_ends(pid_in(tmp_path / "leader"), timeout_s=20)


def test_where_an_agent_was_killed_one_other_is_started_however_many_ask(tmp_path: Path) -> None:
    others = set(processes.children(os.getpid()))

    async def story(host: LocalHost) -> tuple[int, int | None]:
        before = await host.request("hold", path=str(tmp_path / "held"))
        process = await host.start(launch(tmp_path, "echo $PPID > agent; exec sleep 1000"))
        while not (tmp_path / "agent").exists() or not (tmp_path / "agent").read_text():
            await asyncio.sleep(0.02)
        os.kill(pid_in(tmp_path / "agent"), signal.SIGKILL)
        lost = await process.wait()
        await asyncio.gather(*(host.request("missing", onces={}) for _ in range(5)))
        again = await host.start(launch(tmp_path, "exit 3"))
        assert (before["held"], lost.cause) == (True, "lost")
        return len(set(processes.children(os.getpid())) - others), (await again.wait()).code

    assert talk(story) == (1, 3)
    assert not set(processes.children(os.getpid())) - others


def test_a_stop_of_what_has_ended_does_nothing(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> int | None:
        process = await host.start(launch(tmp_path, "exit 2"))
        found = await process.wait()
        await process.stop("interrupt")
        await host.request("missing", onces={})
        return found.code

    assert talk(story) == 2


def test_many_processes_run_at_once(tmp_path: Path) -> None:
    async def one(host: LocalHost, number: int) -> int | None:
        folder = tmp_path / str(number)
        folder.mkdir()
        return (await (await host.start(launch(folder, f"sleep 0.2; exit {number}"))).wait()).code

    async def story(host: LocalHost) -> list[int | None]:
        return await asyncio.gather(*(one(host, number) for number in range(20)))

    assert talk(story) == list(range(20))
