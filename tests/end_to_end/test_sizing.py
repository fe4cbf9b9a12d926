"""Batch sizes as a user gets them: what runs show is saved, and a plan is made with it."""

from __future__ import annotations

from harness import Project, shell

MEASURES = """
echo "{\\"memory_peak_bytes\\": $(( (1000 + 10 * $0) * 1048576 ))}"
while true; do echo "{\\"count\\": $0, \\"unit\\": \\"items\\"}"; sleep 0.02; done
"""


def test_runs_at_two_batch_sizes_are_enough_to_choose_another(project: Project) -> None:
    entry = shell("")
    project.suite(sized={**entry, "command": {"argv": ["sh", "-c", MEASURES, "auto_batch(4)"]}})
    for size in ("8", "16"):
        done = project.verb("run", MILABENCH_SIZER_BATCH_SIZE=size, MILABENCH_SIZER_SAVE="mine.yaml")
        assert done.code == 0, done.err
        assert "1 observation of batch sizes added to mine.yaml" in done.err
    sized = {"MILABENCH_SIZER_AUTO": "1", "MILABENCH_SIZER_CONFIG": "mine.yaml", "MILABENCH_SIZER_CAPACITY": "2000MiB"}
    plan = project.verb("plan", "--json", **sized).json
    assert plan["trials"][0]["jobs"][0]["commands"][0]["argv"][-1] == "96"  # 100 fits, and 96 is a multiple of 8
    why = "100 fills 2.0 GiB by 2 points of mine.yaml; rounded down to a multiple of 8, beyond the 16 seen at most"
    assert f"sized: 96 instead of 4 ({why})" in project.verb("plan", **sized).out


def test_a_scaling_file_that_is_not_there_is_told_before_anything_starts(project: Project) -> None:
    project.suite(sized=shell("true"))
    done = project.verb("run", MILABENCH_SIZER_AUTO="1", MILABENCH_SIZER_CONFIG="none.yaml")
    assert (done.code, done.err.count("there is no scaling file none.yaml")) == (2, 1)
    assert not (project.folder / "base" / "runs").exists()
