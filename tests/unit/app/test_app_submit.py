"""What is submitted of a suite, and which runs a name means."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from milabench import suite
from milabench.app.options import Options
from milabench.app.submit import Words, _all_submitted, _check_free, _found, _on_nodes, _Part, _parts
from milabench.console import Console
from milabench.errors import PreflightError, RunDirError, UsageError
from milabench.slurm.commands import Slurm, SlurmError
from milabench.slurm.records import Part, Submissions, Submitted
from milabench.slurm.states import Seen

SUITE = """\
bert: {command: {argv: [x], cwd: .}, plan: {method: njobs, n: 1}, tags: [nlp]}
nlp: {command: {argv: [x], cwd: .}, plan: {method: njobs, n: 1}, num_machines: 2}
every: {command: {argv: [x], cwd: .}, plan: {method: per_node}}
"""


def options(base: Path, config: Path | None = None) -> Options:
    return Options(config=str(config) if config else None, base=base)


def test_each_benchmark_is_selected_alone_and_asks_for_its_nodes(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    words = Words(choice=("--select", "nlp"), others=("--config", "suite.yaml"))
    whole = suite.resolve(path)
    parts = list(_parts(whole.benchmarks, words, tmp_path / "runs/it", options(tmp_path, path)))
    begun = {part.submissions.run.name: part.submissions.begin for part in parts}
    chosen = {name: begin[begin.index("--select") + 1] for name, begin in begun.items() if begin}
    assert chosen == {"bert": "bert", "nlp": "[n]lp", "every": "every"}
    for name, text in chosen.items():
        assert [each.name for each in suite.select(whole, [text]).benchmarks] == [name]
    assert {part.submissions.run.name: part.asked for part in parts} == {
        "bert": ("--nodes=1",),
        "nlp": ("--nodes=2",),
        "every": (),
    }
    assert {part.submissions.run.name: part.submissions.part for part in parts}["nlp"] == Part(
        name="nlp", weight=1.0, enabled=True
    )
    begin = begun["bert"]
    assert begin is not None
    assert begin[-4:] == ("--base", str(tmp_path), "--run-name", str(tmp_path / "runs/it/bert"))


def submitted(run: Path, time: float = 1.0) -> Submissions:
    run.mkdir(parents=True)
    made = Submissions(run=run).with_job(Submitted(job="1", profile=None, asked=(), submitted=time))
    made.write()
    os.utime(run / "slurm.json", (time, time))
    return made


def test_a_run_is_found_by_folder_and_by_name_and_the_newest_without_one(tmp_path: Path) -> None:
    one, split = tmp_path / "runs/one.2026-01-02_03-04-05", tmp_path / "runs/split.2026-01-02_03-04-05"
    submitted(one, 2.0)
    for name in ("a", "b"):
        submitted(split / name, 3.0)
    assert _found("one", options(tmp_path)) == [one]
    assert _found(one.name, options(tmp_path)) == [one]
    assert _found(str(one), options(tmp_path)) == [one]
    assert _found("split", options(tmp_path)) == [split / "a", split / "b"]
    assert _found(None, options(tmp_path)) == [split / "a", split / "b"]


@pytest.mark.parametrize("name", [None, "none", "."])
def test_where_nothing_was_submitted_that_is_told(tmp_path: Path, name: str | None) -> None:
    name = str(tmp_path) if name == "." else name
    with pytest.raises(RunDirError):
        _found(name, options(tmp_path))


def begun(run: Path, **facts: object) -> Submissions:
    """Return a run of two jobs, the last of which has not ended."""
    there = submitted(run).with_end(Seen(job="1", state="TIMEOUT", nodes="n[1-2]"))
    (run / "plan.json").touch()
    (run / "run.json").write_text(json.dumps({"allocation": "1", "nodes": {"n1": {}, "n2": {}}, **facts}))
    return there.with_job(Submitted(job="2", profile=None, asked=(), submitted=2.0))


MOVED = {"nodes": {"n1": {}, "n2": {}, "n4": {}}, "replaced": [{"node": "n2", "by": "n4", "time": 1.0}]}


@pytest.mark.parametrize(
    ("facts", "asked", "how", "wanted"),
    [
        ({}, ("--time=9",), "", ("--nodelist=n[1-2]", "--time=9")),
        ({}, ("--nodelist=n[1-2]", "--time=9"), "", ("--nodelist=n[1-2]", "--time=9")),
        ({}, ("--nodelist=n[1-4]",), "said", ("--nodelist=n[1-2]", "--nodelist=n[1-4]")),
        (MOVED, ("--nodelist=n[1-2]", "--nodes=2"), "", ("--nodelist=n1,n4", "--nodes=2")),
        ({}, ("--nodelist=n[1-2]", "--time=9"), "others", ("--nodes=2", "--time=9")),
        (
            {},
            ("--nodelist", "n[1-2]", "-wn1", "-w", "n2", "--wait-all-nodes=1"),
            "others",
            ("--nodes=2", "--wait-all-nodes=1"),
        ),
        (MOVED, ("--nodes=2-3",), "others", ("--nodes=2-3",)),
        ({}, ("--nodes", "2"), "others", ("--nodes", "2")),
        ({}, ("-N2", "--exclude=n2"), "said others", ("-N2", "--exclude=n2")),
    ],
)
def test_a_run_goes_on_where_it_was_begun_or_on_as_many_nodes(
    tmp_path: Path, facts: dict[str, object], asked: tuple[str, ...], how: str, wanted: tuple[str, ...]
) -> None:
    there = begun(tmp_path / "it", **facts)
    assert _on_nodes(there, asked, others="others" in how, said="said" in how) == wanted


def test_a_run_that_was_begun_by_hand_goes_on_where_it_was_begun(tmp_path: Path) -> None:
    begun(tmp_path / "it")
    assert _on_nodes(Submissions(run=tmp_path / "it"), (), others=False, said=False) == ("--nodelist=n1,n2",)


def test_a_run_that_has_not_begun_asks_for_what_it_did(tmp_path: Path) -> None:
    there = submitted(tmp_path / "it")
    assert _on_nodes(there, ("--nodelist=n1", "-N1"), others=False, said=False) == ("--nodelist=n1", "-N1")
    assert _on_nodes(there, ("--nodelist=n1", "-N1"), others=True, said=False) == ("-N1",)


def test_a_path_that_slurm_would_read_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Slurm takes no path with a backslash: choose another --run-name"):
        _check_free(tmp_path / "my\\night")


class Queue(Slurm):
    """Slurm that takes jobs until one is too many."""

    def __init__(self, most: int) -> None:
        self.most, self.cancelled, self._taken = most, list[str](), 0

    async def submit(self, arguments: Sequence[str]) -> str:
        self._taken += 1
        if self._taken > self.most:
            raise SlurmError("sbatch failed: too many jobs")
        return str(self._taken)

    async def cancel(self, jobs: Sequence[str]) -> None:
        self.cancelled += jobs


def test_all_runs_are_submitted_or_none_is_left_in_the_queue(tmp_path: Path) -> None:
    parts = [_Part(submissions=Submissions(run=tmp_path / name, begin=("run",))) for name in ("a", "b", "c")]
    queue = Queue(2)
    with pytest.raises(SlurmError, match="too many jobs"):
        asyncio.run(_all_submitted(queue, parts, Console(quiet=True)))
    assert queue.cancelled == ["1", "2"]
    assert not (tmp_path / "c").exists()


def test_a_job_that_cannot_be_recorded_is_cancelled(tmp_path: Path) -> None:
    (tmp_path / "a/slurm.json.partial").mkdir(parents=True)  # in the way of a file
    queue = Queue(1)
    with pytest.raises(PreflightError, match=r"slurm.json: .*: job 1 is cancelled"):
        asyncio.run(_all_submitted(queue, [_Part(submissions=Submissions(run=tmp_path / "a"))], Console(quiet=True)))
    assert queue.cancelled == ["1"]
