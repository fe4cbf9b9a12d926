"""Profiles: where they are found, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from milabench import resources
from milabench.errors import ConfigurationError, UsageError
from milabench.slurm import profiles


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(dedent(text))
    return path


def test_items_are_written_as_after_sbatch(tmp_path: Path) -> None:
    own = written(
        tmp_path,
        """\
        big:
          - --nodes=2
          - -w cn-d[003-004]
          - --wait-all-nodes=1
          - --comment="two words"
        """,
    )
    found = profiles.find("big", own)
    assert found.arguments == ("--nodes=2", "-w", "cn-d[003-004]", "--wait-all-nodes=1", "--comment=two words")
    assert (found.mark.line, found.mark.column) == (1, 1)


def test_a_profile_of_the_users_wins_over_one_that_milabench_brings(tmp_path: Path) -> None:
    assert "--nodes=2" in profiles.find("two-nodes", None).arguments
    assert profiles.find("two-nodes", written(tmp_path, "two-nodes: [--nodes=7]\n")).arguments == ("--nodes=7",)
    assert "--nodes=1" in profiles.find("one-node", written(tmp_path, "two-nodes: [--nodes=7]\n")).arguments


def test_the_profiles_that_milabench_brings_can_be_read() -> None:
    for path in (resources.data_root() / "config/profiles").glob("*.yaml"):
        assert profiles.read(path)


@pytest.mark.parametrize(
    ("text", "code", "place", "said"),
    [
        ("x: --nodes=2\n", "E301", (1, 4), "x needs a list of sbatch's arguments, not '--nodes=2'"),
        ("x: [1]\n", "E301", (1, 5), "x[0] needs text, such as --nodes=2, not 1"),
        ("x:\n  - --nodes=1\n  - nodes=2\n", "E218", (3, 5), "x[1]: 'nodes=2' is no argument of sbatch"),
        ("x: ['--comment=\"a']\n", "E218", (1, 5), "cannot be read: no closing quotation"),
        ("x: [--output=log]\n", "E218", (1, 5), "x[0]: --output cannot be given: milabench says that itself"),
        ("x: [-o log]\n", "E218", (1, 5), "-o cannot be given: milabench says that itself"),
        ("x: [--array=1-3]\n", "E218", (1, 5), "a run is one job: --split makes a job for each benchmark"),
        ("x: [--clusters=a]\n", "E218", (1, 5), "set SLURM_CLUSTERS"),
        ("x: [--wrap=true]\n", "E218", (1, 5), "--wrap cannot be given"),
        ("x: [--arr=1-3]\n", "E218", (1, 5), "--arr cannot be given: a run is one job"),
        ("x: [--exclusive, --]\n", "E218", (1, 18), "x[1]: -- cannot be given"),
    ],
)
def test_mistakes_are_told_with_their_place(
    tmp_path: Path, text: str, code: str, place: tuple[int, int], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        profiles.find("x", written(tmp_path, text))
    (problem,) = caught.value.problems
    assert problem.mark is not None
    assert (problem.code, (problem.mark.line, problem.mark.column)) == (code, place)
    assert said in problem.message


def test_a_profile_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    own = written(tmp_path, "mine: [--nodes=2]\n")
    with pytest.raises(UsageError, match=r"no profile 'mime' \(did you mean 'mine'\?\).*milabench brings four-nodes"):
        profiles.find("mime", own)
    with pytest.raises(UsageError, match="give --profiles with a file of yours"):
        profiles.find("zzz", None)
