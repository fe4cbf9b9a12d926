"""Every way a benchmark can fail, in one suite: what is said of it, where, and that the others run.

What ends a whole group stands in test_failed_groups.py, what ends the runner in test_interrupts.py, what a benchmark
writes where it should not in test_garbage.py, and what the machine lacks in test_out_of_memory.py and
test_full_disk.py.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import PRINTER, Project, Result, assert_whole, shell, wait_until
from milabench.resources import import_path

STEPS = """for i in 1 2 3 4 5 6; do echo '{"count": 10}'; sleep 0.02; done; """  # of which 2 are warm-up
STOP = """echo '{"event": "stop", "data": {"reason": "limit"}}' >&$DATA_FD; """
# Measures what is wanted, says so, ends by itself, and crashes on its way out.
CRASH_IN_TEARDOWN = f"""
    import atexit, os, signal, sys
    sys.path[:0] = {import_path()!r}
    from benchmate.observe import Observer

    atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
    for batch in Observer(unit="items").iterate([[0] * 8] * 1000):
        sum(range(20_000))
"""
# Counts what a user of the Observer may get wrong: less than nothing, now and then or always.
COUNTED = f"""
    import sys
    sys.path[:0] = {import_path()!r}
    from benchmate.observe import Observer

    end_step = Observer(unit="items").begin()
    for number in range(1000):
        sum(range(20_000))
        end_step(int(sys.argv[1 + number % 2]))
"""
NOT_FOUND = "cannot be started: No such file or directory"


@dataclass(frozen=True, kw_only=True)
class Case:
    """An entry of the suite, what comes of it, and how many steps of it were measured."""

    entry: Mapping[str, Any]
    kind: str
    reason: str  # all of it, as a regular expression
    measured: int = 4


def program(*argv: str, **keys: Any) -> dict[str, Any]:
    return {"command": {"argv": list(argv), "cwd": "."}, "plan": {"method": "njobs", "n": 1}, **keys}


def failed(reason: str, script: str, **keys: Any) -> Case:
    return Case(entry=shell(script), kind="failed", reason=reason, **keys)


def killed(reason: str, script: str, **keys: Any) -> Case:
    return Case(entry=shell(script), kind="killed", reason=reason, **keys)


def counted(what: str, *counts: str) -> Case:
    entry = program(sys.executable, "counted.py", *counts, voir={"options": {"stop": 10, "skip": 2}})
    reason = f"count is not above 0: {what} (what the Observer's `count` or end_step() is given)"
    return Case(entry=entry, kind="failed", reason=reason, measured=0)


def late(reason: str, script: str, *, measured: int = 4, seconds: int = 2) -> Case:
    entry = shell(script, max_duration=seconds)
    return Case(entry=entry, kind="timeout", reason=f"reached max_duration: ended after {reason}", measured=measured)


CASES = {
    # It ends by itself, and not well.
    "exit-code": failed("exit code 3: no such model", f"{STEPS} echo no such model >&2; exit 3"),
    "exit-code-of-a-shell": failed("exit code 137 (128 + SIGKILL)", f"{STEPS} exit 137"),
    "exit-code-and-nothing-said": failed("exit code 1", "exit 1", measured=0),
    "crash-after-a-wanted-stop": failed("measured the wanted amount, then exit code 3", f"{STEPS}{STOP} exit 3"),
    "crash-before-a-wanted-stop": failed("exit code 3", f"{STEPS} exit 3"),
    "crash-in-teardown": Case(
        entry=program(sys.executable, "teardown.py", voir={"options": {"stop": 10, "skip": 2}}),
        kind="killed",
        reason="measured the wanted amount, then killed by SIGSEGV",
        measured=10,
    ),
    # Somebody else ends it.
    "sigkill": killed("killed by SIGKILL", f"{STEPS} kill -9 $$; sleep 9"),
    "sigsegv": killed("killed by SIGSEGV", f"{STEPS} kill -SEGV $$; sleep 9"),
    "sigterm": killed("killed by SIGTERM", f"{STEPS} kill -TERM $$; sleep 9"),
    "real-time-signal": killed("killed by SIGRTMIN+1", f"{STEPS} kill -35 $$; sleep 9"),
    # It ends well and has measured nothing.
    "no-rate": failed("no rate: no step was seen (an Observer around the loader, a …)", "echo hello", measured=0),
    "warm-up-only": failed(
        "no rate: only 1 warm-up steps (voir.options.skip says how many are; 0: none)",
        """echo '{"count": 10}'""",
        measured=0,
    ),
    "counts-below-0": counted("a measured step has -7", "8", "-7"),
    "counts-of-0": counted("all measured steps have 0", "0", "0"),
    "printed-counts-of-0": failed(
        "no rate: what it printed was refused: count is not above 0, as a whole number",
        STEPS.replace("10", "0"),
        measured=0,
    ),
    "loss-null": failed("the loss is not a finite number", f"""{STEPS} echo '{{"loss": null}}'"""),
    "loss-nan": failed("the loss is not a finite number", f"""{STEPS} echo '{{"task": "train", "loss": NaN}}'"""),
    "loss-nan-by-descriptor": failed(
        "the loss is not a finite number", f"""{STEPS} echo '{{"task": "train", "loss": NaN}}' >&$DATA_FD"""
    ),
    # It does not end.
    "deadline": late("2 s, 4 steps measured, nothing measured or told in the last 2 s", f"{STEPS} sleep 1000"),
    "silence": late("2 s, 0 steps measured, nothing measured or told in the last 2 s", "sleep 1000", measured=0),
    "rate-of-text": late(
        "2 s, 0 steps measured, nothing measured or told in the last 0 s; refused of what it printed: rate is no"
        " number",
        """while true; do echo '{"rate": "fast", "units": "items/s"}'; sleep 0.05; done""",
        measured=0,
    ),
    "slow-start": late(
        "2 s, still in warm-up: 1 of 2 steps (raise max_duration, or lower voir.options.skip), nothing"
        " measured or told in the last …",
        """echo '{"count": 10}'; sleep 1000""",
        measured=0,
    ),
    "ignores-sigterm": late(
        "7 s, 4 steps measured, nothing measured or told in the last 7 s",
        f"trap '' TERM; {STEPS} while true; do sleep 0.1; done",
    ),
    "hangs-after-a-wanted-stop": Case(
        entry=shell(f"{STEPS}{STOP} sleep 1000", max_duration=2),
        kind="timeout",
        reason="measured the wanted amount, but did not end: reached max_duration, ended after 2 s",
    ),
    # It cannot start.
    "no-such-program": Case(
        entry=program("no-such-program"), kind="failed", reason=f"{NOT_FOUND}: no-such-program", measured=0
    ),
    "not-executable": Case(
        entry=program("./plain"), kind="failed", reason="cannot be started: Permission denied: ./plain", measured=0
    ),
    "no-interpreter": Case(
        entry=program("./without-interpreter"),
        kind="failed",
        reason="cannot be started: ./without-interpreter begins with #!, and there is no /no/such/interpreter",
        measured=0,
    ),
    "no-folder": Case(
        entry={**program("true"), "command": {"argv": ["true"], "cwd": "gone"}},
        kind="failed",
        reason=f"{NOT_FOUND}: …/gone",
        measured=0,
    ),
    "arguments-too-long": Case(
        entry=program("echo", "x" * 200_000),
        kind="failed",
        reason="cannot be started: Argument list too long: echo",
        measured=0,
    ),
}
# These do not fail, whatever they leave behind.
WELL = {
    "first": shell(f"rmdir gone; {PRINTER}", stop=10)
    | {"command": {"argv": ["sh", "-c", f"rmdir gone; {PRINTER}"], "cwd": "."}},
    "daemon": shell(f"(setsid sleep 1000 >/dev/null 2>&1 &); {STEPS}"),
    "stubborn-daemon": shell(f"""(setsid sh -c 'trap "" TERM; sleep 1000; sleep 1000' >/dev/null 2>&1 &); {STEPS}"""),
    "last": shell(PRINTER),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Result]]:
    """Run all of them, as a user would."""
    project = Project(tmp_path_factory.mktemp("failures"))
    project.write("teardown.py", CRASH_IN_TEARDOWN)
    project.write("counted.py", COUNTED)
    project.write("plain", "")
    project.write("without-interpreter", "#!/no/such/interpreter -x\n").chmod(0o755)
    (project.folder / "gone").mkdir()
    first, *others = WELL.items()
    project.suite(**dict([first, *((name, case.entry) for name, case in CASES.items()), *others]))
    yield project, project.verb("run")


@pytest.fixture(scope="module")
def reported(ran: tuple[Project, Result]) -> dict[str, Any]:
    return ran[0].report()


def about(seconds: int) -> list[str]:
    return [str(each) for each in range(seconds - 1, seconds + 2)]


def matches(reason: str, wanted: str) -> bool:
    """Compare a reason; ``…`` stands for anything, and a second more or less is none."""
    pattern = re.sub(r"(\d+)\\ s\b", lambda found: rf"({'|'.join(about(int(found[1])))}) s", re.escape(wanted))
    return re.fullmatch(pattern.replace("…", ".*"), reason) is not None


@pytest.mark.parametrize("name", CASES)
def test_a_failure_is_told_with_its_kind_and_reason_wherever_it_is_told(
    ran: tuple[Project, Result], reported: dict[str, Any], name: str
) -> None:
    (project, result), case, found = ran, CASES[name], reported[name]
    journal = project.run().outcomes()[name]
    assert (journal.kind, journal.tag) == (case.kind, name)
    assert matches(journal.reason, case.reason), journal.reason
    (end,) = [event.data for event in project.run().events(name) if event.event == "end"]
    assert (end["outcome"], end["reason"]) == (journal.kind, journal.reason)
    assert found["failures"] == [{"tag": name, "outcome": journal.kind, "reason": journal.reason, "node": "local"}]
    assert (found["n"], found["failed"], found["outcomes"], found["score"]) == (1, 1, {case.kind: 1}, 0)
    assert found["steps"]["measured"] == case.measured
    assert re.search(rf"^FAIL {name} \({case.kind}, [\d.]+ s\): {re.escape(journal.reason)}$", result.err, re.MULTILINE)
    assert Path(whole_logs(result.err, name).replace(".{stdout,stderr}", ".stderr")).exists()


def whole_logs(said: str, name: str) -> str:
    """Return where the failures at the end say that all that a benchmark printed is; those alike are told once."""
    blocks = re.split(r"^  (?=\S)", said.partition("\nfailures:\n")[2], flags=re.MULTILINE)
    (block,) = [each for each in blocks if re.search(rf"(?<![\w-]){name}(?![\w-])", each.partition("\n")[0])]
    found = re.search(r"^     whole logs: (.*)$", block, re.MULTILINE)
    assert found is not None, block
    return found[1]


@pytest.mark.parametrize("name", WELL)
def test_the_others_run(reported: dict[str, Any], name: str) -> None:
    assert (reported[name]["n"], reported[name]["failed"]) == (1, 0)
    assert reported[name]["score"] > 0


def test_some_failures_are_an_exit_code_of_1_and_no_traceback(ran: tuple[Project, Result]) -> None:
    _, result = ran
    assert result.code == 1
    assert "Traceback" not in result.err + result.out


def test_nothing_is_left_behind(ran: tuple[Project, Result]) -> None:
    project, _ = ran
    assert project.processes() == []
    assert_whole(project)


def test_the_deadline_is_kept(ran: tuple[Project, Result]) -> None:
    project, _ = ran
    (end,) = [event.data for event in project.run().events("deadline") if event.event == "end"]
    assert 2 <= end["seconds"] < 6


# The machine grants too little --------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [8, 12, 16, 24, 64])
def test_too_few_open_files_are_told_and_nothing_hangs(project: Project, most: int) -> None:
    project.suite(first=shell(PRINTER))
    under = ("sh", "-c", f'ulimit -n {most} && exec "$@"', "sh")
    done = project.verb("run", "--force", under=under, timeout_s=60)
    assert (done.code in (0, 1, 4), "Traceback" in done.err) == (True, False), done.err  # how many it takes is open
    if done.code != 0:
        assert most < 64
        assert "Too many open files" in done.err, done.err
    assert project.processes() == []


@pytest.fixture
def pids(project: Project) -> Iterator[Path]:
    """Return a cgroup for processes, or skip where none can be made."""
    where = "/sys/fs/cgroup" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "/sys/fs/cgroup/pids"
    group = Path(where) / f"milabench-test-{os.getpid()}-{project.folder.name}"
    try:
        group.mkdir()
        (group / "pids.max").write_text("100")
    except OSError:
        with suppress(OSError):
            group.rmdir()
        pytest.skip("no cgroup for processes can be made here")
    yield group
    wait_until(lambda: not (group / "cgroup.procs").read_text().split())
    group.rmdir()


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_too_few_processes_are_told_and_nothing_hangs(project: Project, pids: Path, most: int) -> None:
    (pids / "pids.max").write_text(str(most))
    project.suite(first=shell(PRINTER))
    into = ("sh", "-c", f'echo $$ > {pids}/cgroup.procs && exec "$@"', "sh")
    done = project.verb("run", "--force", under=into, timeout_s=60)
    assert done.code in (1, 4), done.err
    assert "this is a bug" not in done.err
    told = ("Resource temporarily unavailable", "can't start new thread", "Cannot fork")
    assert any(each in done.err for each in told), done.err
    assert project.processes() == []
