"""What squeue prints of jobs, and what that means for a run."""

from __future__ import annotations

import pytest

from milabench.errors import ExitCode
from milabench.slurm import states
from milabench.slurm.commands import plain
from milabench.slurm.states import Seen, how_it_ended, in_words, lacks_node, parse, waiting

RUNNING = "12|RUNNING|None|0|n[1-2]|2026-11-29T20:33:41|2026-11-29T21:33:41|1:00:00|"
PENDING = "13|PENDING|ReqNodeNotAvail, UnavailableNodes:n2|0||N/A|N/A|UNLIMITED|"
FAILED = "4|FAILED|NonZeroExitCode|33280|n1|2026-11-29T20:33:41|2026-11-29T20:33:53|1:00|"


def test_rows_are_read_by_the_number_of_their_job() -> None:
    found = parse("\n".join([RUNNING, "squeue: a plugin's own words", PENDING, FAILED]))
    assert set(found) == {"12", "13", "4"}
    running, pending, failed = found["12"], found["13"], found["4"]
    assert (running.state, running.nodes, running.time_limit_s) == ("RUNNING", "n[1-2]", 3600.0)
    assert running.ends is not None
    assert running.starts is not None
    assert running.ends - running.starts == 3600.0
    assert (pending.reason, pending.starts, pending.time_limit_s) == (
        "ReqNodeNotAvail, UnavailableNodes:n2",
        None,
        None,
    )
    assert (failed.exit_code, failed.signal, failed.is_over) == (130, None, True)


def test_a_reason_may_hold_the_sign_between_fields() -> None:
    (seen,) = parse("5|PENDING|held|by me|0|||N/A|10:00|").values()
    assert (seen.reason, seen.exit_code, seen.time_limit_s) == ("held|by me", 0, 600.0)


@pytest.mark.parametrize(
    ("status", "code", "signal"),
    [("0", 0, None), ("256", 1, None), ("9", None, 9), ("3:0", 3, None), ("0:15", None, 15), ("", None, None)],
)
def test_an_exit_code_is_read_in_both_forms(status: str, code: int | None, signal: int | None) -> None:
    (seen,) = parse(FAILED.replace("33280", status)).values()
    assert (seen.exit_code, seen.signal) == (code, signal)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("30:00", 1800.0), ("1:00:00", 3600.0), ("2-00:00:00", 172800.0), ("1-02:00:30", 93630.0), ("5", 300.0)],
)
def test_time_limits_are_read_as_slurm_writes_them(limit: str, seconds: float) -> None:
    (seen,) = parse(RUNNING.replace("1:00:00|", f"{limit}|")).values()
    assert seen.time_limit_s == seconds


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Resources", "Resources: what it asks for is in use"),
        ("ReqNodeNotAvail, UnavailableNodes:n2", "ReqNodeNotAvail, UnavailableNodes:n2: a node that it needs is down"),
        ("AssocGrpGRES", "AssocGrpGRES: a limit of your account"),
        ("QOSMaxJobsPerUserLimit", "QOSMaxJobsPerUserLimit: a limit of your account"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_why_a_job_waits_is_told_with_what_it_means(reason: str, told: str) -> None:
    assert waiting(reason).startswith(told)


def seen(state: str, **fields: object) -> Seen:
    return Seen(job="1", state=state, **fields)  # type: ignore[arg-type]


NEAR = {"exit_code": 130, "starts": 0.0, "ends": 3500.0, "time_limit_s": 3600.0}


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        (seen("COMPLETED", exit_code=0), ExitCode.OK, "has ended"),
        (seen("FAILED", exit_code=1), ExitCode.FAILED, "has ended"),
        (seen("FAILED", exit_code=4), ExitCode.ENVIRONMENT, "has ended"),
        (seen("FAILED", exit_code=127), ExitCode.ENVIRONMENT, "ended with exit code 127"),
        (seen("FAILED", signal=9), ExitCode.ENVIRONMENT, "was killed by signal 9"),
        (seen("FAILED", signal=15), ExitCode.INTERRUPTED, "was told to end before it had begun"),
        (seen("FAILED", exit_code=130), ExitCode.INTERRUPTED, "has ended"),
        (seen("FAILED", **NEAR), ExitCode.INTERRUPTED, "was told to end, its time limit being near"),
        (seen("FAILED", **{**NEAR, "ends": 100.0}), ExitCode.INTERRUPTED, "has ended"),
        (
            seen("TIMEOUT", reason="TimeLimit", signal=15),
            ExitCode.INTERRUPTED,
            "reached its time limit (TIMEOUT, TimeLimit)",
        ),
        (seen("PREEMPTED", reason="None"), ExitCode.INTERRUPTED, "was preempted by another job (PREEMPTED)"),
        (seen("CANCELLED"), ExitCode.INTERRUPTED, "was cancelled (CANCELLED)"),
        (seen("NODE_FAIL", reason="NodeDown"), ExitCode.ENVIRONMENT, "lost a node (NODE_FAIL, NodeDown)"),
        (seen("OUT_OF_MEMORY"), ExitCode.ENVIRONMENT, "ran out of the memory it was given (OUT_OF_MEMORY)"),
        (seen("BOOT_FAIL"), ExitCode.ENVIRONMENT, "had a node that did not start (BOOT_FAIL)"),
        (seen("GONE"), ExitCode.ENVIRONMENT, "is not known to Slurm any more (GONE)"),
    ],
)
def test_how_a_job_ended_is_told_with_the_exit_code_of_its_run(how: Seen, code: ExitCode, words: str) -> None:
    assert how_it_ended(how) == (code, words)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (seen("RUNNING", nodes="n[1-2]"), "running on n[1-2]"),
        (seen("PENDING", reason="Priority"), "waits: Priority: others come before it"),
        (seen("PENDING", reason="None"), "waits"),
        (seen("NODE_FAIL", nodes="n1", reason="NodeDown"), "lost a node (NODE_FAIL, NodeDown) on n1"),
        (seen("FAILED", nodes="n1", exit_code=1), "has ended on n1"),
        (seen("GONE"), "is not known to Slurm any more (GONE)"),
        (seen("", reason="squeue does not answer"), "not known: squeue does not answer"),
    ],
)
def test_how_a_job_is_is_told_in_words(how: Seen, words: str) -> None:
    assert in_words(how) == words


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        (seen("NODE_FAIL"), True),
        (seen("PENDING", reason="ReqNodeNotAvail, UnavailableNodes:n2"), True),
        (seen("PENDING", reason="NodeDown"), True),
        (seen("PENDING", reason="Resources"), False),
        (seen("RUNNING", reason="None"), False),
        (seen("TIMEOUT", reason="NodeDown"), False),
    ],
)
def test_a_node_that_is_not_there_is_told_by_state_and_reason(how: Seen, wanted: bool) -> None:
    assert lacks_node(how) == wanted


def test_a_state_that_is_not_known_is_none_of_an_end() -> None:
    assert not seen("STAGE_OUT").is_over
    assert not seen("COMPLETING").is_over


def test_settings_of_slurms_commands_do_not_change_what_is_asked() -> None:
    given = {"PATH": "/bin", "SLURM_CONF": "/x", "SLURM_JOB_ID": "1", "SQUEUE_PARTITION": "gpu", "SCANCEL_FULL": "1"}
    kept = {"SBATCH_ACCOUNT": "mine", "SLURM_CLUSTERS": "big"}
    assert plain({**given, **kept}) == {"PATH": "/bin", "SLURM_CONF": "/x", **kept}
    waiting = {"SBATCH_WAIT": "1", "SBATCH_ARRAY_INX": "1-3", "SBATCH_ERROR": "err", "SBATCH_INPUT": "in"}
    assert plain({**kept, **waiting}) == kept


def test_a_cluster_that_is_named_for_sbatch_is_asked_by_all_commands() -> None:
    assert plain({"SBATCH_CLUSTERS": "big"}) == {"SLURM_CLUSTERS": "big"}
    assert plain({"SBATCH_CLUSTERS": "big", "SLURM_CLUSTERS": "small"}) == {"SLURM_CLUSTERS": "small"}


def test_the_format_asks_for_what_is_read() -> None:
    assert states.FORMAT.split(",")[:2] == ["JobID:|", "State:|"]
