"""A system file with a multirun, from the command line."""

from __future__ import annotations

import json

from harness import PRINTER, Project, shell
from milabench.rundir import RunDir, runs

SYSTEM = """
    system: {arch: cpu}
    multirun:
      runs:
        - {name: "bs{sizer.mult}.{time}", matrix: {sizer.auto: 1, sizer.mult: [0.5, 2]}}
        - {name: "own", matrix: {sizer.batch_size: 8}}
"""
VALUES = {
    "bs0.5": {"sizer.auto": 1, "sizer.mult": 0.5},
    "bs2": {"sizer.auto": 1, "sizer.mult": 2},
    "own": {"sizer.batch_size": 8},
}


def test_run_repeats_the_whole_run_and_reports_each(project: Project) -> None:
    project.suite(printer=shell(PRINTER), bad=shell("exit 3"))
    project.write("system.yaml", SYSTEM)
    done = project.verb("run", "--system", "system.yaml", "--run-name", "night")
    assert done.code == 1
    found = {path.name.rpartition(".")[0]: RunDir(path) for path in runs(project.base)}
    assert list(found) == [f"night-{name}" for name in VALUES]
    assert [run.facts()["multirun"] for run in found.values()] == [
        {"name": name, "options": values} for name, values in VALUES.items()
    ]
    assert [run.tags() for run in found.values()] == [("bad", "printer")] * 3
    assert all(path.name in done.out for path in runs(project.base))
    assert "run 2 of 3, bs2: sizer.auto=1, sizer.mult=2" in done.err


def test_plan_shows_every_run_in_each_of_its_forms(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    project.write("system.yaml", SYSTEM)
    document = project.verb("plan", "--system", "system.yaml", "--json").json
    assert (document["version"], {each["name"]: each["options"] for each in document["runs"]}) == (1, VALUES)
    alone = {each: project.verb("plan", "--arch", "cpu", "--format", each) for each in ("json", "sh", "text")}
    assert [{**each["plan"], "configs": {}} for each in document["runs"]] == [
        {**alone["json"].json, "configs": {}} for _ in VALUES
    ]
    text = project.verb("plan", "--system", "system.yaml").out
    assert [line for line in text.splitlines() if line.startswith("run ")] == [
        "run 1 of 3, bs0.5: sizer.auto=1, sizer.mult=0.5",
        "run 2 of 3, bs2: sizer.auto=1, sizer.mult=2",
        "run 3 of 3, own: sizer.batch_size=8",
    ]
    script = project.verb("plan", "--system", "system.yaml", "--format", "sh").out
    processes = alone["sh"].out.splitlines()[4:]
    assert script.count("\n".join(processes)) == 3
    assert "\n# own: sizer.batch_size=8\n" in script


def test_the_values_reach_the_processes_over_variables_and_the_file(project: Project) -> None:
    project.suite(printer={"command": {"argv": ["echo", "{n_worker}"]}})
    run = {"name": "w{cpu.n_workers}", "matrix": {"cpu.n_workers": [3, 5]}}
    system = {"system": {"options": {"cpu.n_workers": 2}}, "multirun": {"runs": [run]}}
    project.write("system.yaml", json.dumps(system))

    def workers(*more: str, **environ: str) -> list[str]:
        found = project.verb("plan", "--system", "system.yaml", "--json", *more, **environ).json["runs"]
        return [each["plan"]["trials"][0]["jobs"][0]["commands"][0]["argv"][-1] for each in found]

    assert workers() == workers(MILABENCH_CPU_N_WORKERS="4") == ["3", "5"]
    for verb in ("check", "plan", "run"):
        done = project.verb(verb, "--system", "system.yaml", "--override", "system.options.cpu.n_workers=7")
        assert (done.code, "the command line sets cpu.n_workers, which the multirun varies" in done.err) == (2, True)


def test_a_value_that_an_option_cannot_have_is_told_at_its_place(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    project.write("system.yaml", SYSTEM.replace("2]", "many]"))
    for verb in ("check", "plan", "run"):
        done = project.verb(verb, "--system", "system.yaml")
        assert (done.code, "system.yaml:5:81: " in done.err) == (2, True), done.err


def test_what_is_wrong_in_a_multirun_is_told_with_its_place(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    project.write("system.yaml", SYSTEM.replace("{sizer.mult}.", "{sizer.mul}."))
    for verb in ("check", "plan", "run", "prepare", "install"):
        done = project.verb(verb, "--system", "system.yaml")
        assert (done.code, "system.yaml:5:14: {sizer.mul} in" in done.err) == (2, True), verb
        assert "did you mean 'sizer.mult'?" in done.err


def test_a_value_that_does_nothing_is_told_at_its_place(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    project.write("system.yaml", SYSTEM.replace("sizer.auto: 1, ", ""))
    for verb in ("check", "run"):
        done = project.verb(verb, "--system", "system.yaml")
        assert done.err.count("system.yaml:5:61: sizer.mult does nothing without sizer.auto") == 1, verb
