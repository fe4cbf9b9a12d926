"""Options of ``milabench run`` behind ``--``, as words for a job."""

from __future__ import annotations

import click
import pytest

from milabench.cli.resume import resume
from milabench.cli.submit import _read_resume, _read_run, submit
from milabench.errors import UsageError


def test_options_that_were_typed_become_words_and_others_do_not() -> None:
    given = (
        "-c",
        "suite.yaml",
        "--all",
        "-s",
        "a",
        "--select",
        "b",
        "-x",
        "c",
        "--repeat",
        "3",
        "--override",
        "a.b=c d",
    )
    values, words = _read_run(given)
    assert words.choice == ("--select", "a", "--select", "b", "--exclude", "c")
    assert sorted(words.others) == sorted(["--config", "suite.yaml", "--all", "--repeat", "3", "--override", "a.b=c d"])
    assert (values["config"], values["repeats"]) == ("suite.yaml", 3)


def test_what_submit_says_itself_is_left_out() -> None:
    values, words = _read_run(("-c", "x", "--base", "/there", "--run-name", "it"))
    assert words.others == ("--config", "x")
    assert (values["base"], values["run_name"]) == ("/there", "it")


def test_a_base_is_given_once() -> None:
    with pytest.raises(UsageError, match="--base is given twice"):
        submit.main(["--base", "a", "--", "-c", "x", "--base", "b"], standalone_mode=False)


def test_an_option_that_run_does_not_have_is_refused() -> None:
    with pytest.raises(click.UsageError, match="--nope"):
        _read_run(("--nope",))


def test_options_to_go_on_by_become_words() -> None:
    assert _read_resume(("--failed", "--force")) == ("--failed", "--force")
    assert _read_resume(()) == ()
    for given in (("it",), ("--base", "x")):
        with pytest.raises(UsageError, match="--resume has the run"):
            _read_resume(given)


def test_other_nodes_are_for_runs_that_go_on() -> None:
    assert _read_resume(("--other-nodes",)) == ("--other-nodes",)
    with pytest.raises(UsageError, match="--other-nodes goes with --resume"):
        submit.main(["--other-nodes", "--", "-c", "x"], standalone_mode=False)
    with pytest.raises(UsageError, match="--system is for nodes over SSH"):
        _read_resume(("--other-nodes", "--system", "x"))
    with pytest.raises(UsageError, match="--system goes with --other-nodes"):
        resume.main(["it", "--system", "x"], standalone_mode=False)


@pytest.mark.parametrize("words", [["--no-follow"], ["--profile", "x"], ["--sbatch=--nodes=1"], ["--", "--failed"]])
def test_what_would_change_nothing_of_a_job_that_was_submitted_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--attach follows what was submitted"):
        submit.main(["--attach", "it", *words], standalone_mode=False)
