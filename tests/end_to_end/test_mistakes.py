"""What users get wrong: one exit code and one message each, never a traceback, and nothing is made on disk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import OBSERVED, PRINTER, Project, folder, shell, wait_until

FINE = "good:\n  plan: {method: njobs, n: 1}\n  command: {argv: [sh, -c, 'exit 3']}\n"


def assert_refused(project: Project, code: int, message: str, *arguments: str) -> None:
    """Assert an exit code, a message, no traceback, nothing on standard output and nothing new on disk."""
    before = project.tree()
    done = project.milabench(*arguments)
    assert (done.code, done.out) == (code, ""), done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert project.tree() == before


SUITES = {
    "invalid YAML": ("a: [b", "suite.yaml:2:1: invalid YAML"),
    "a tab": ("a:\n\tb: 1", "suite.yaml:2:1: invalid YAML"),
    "no text": ("", "suite.yaml:1:1: the file is empty"),
    "only a comment": ("# nothing\n", "suite.yaml:1:1: the file is empty"),
    "no map": ("- a\n- b\n", "suite.yaml:1:1: the top level must be a map"),
    "an entry that is no map": ("a: 3\n", "suite.yaml:1:4: a benchmark is described by a map"),
    "a key twice": (FINE + "good:\n  enabled: false\n", "suite.yaml:4:1: "),
    "no benchmark": ("_a:\n  weight: 1\n", "describes no benchmark"),
    "an unknown parent": (FINE + "b:\n  inherits: _goood\n", "suite.yaml:5:13: "),
    "parents in a circle": ("a:\n  inherits: b\nb:\n  inherits: a\n", "inherit"),
    "an include that is not there": ("include: other.yaml\n" + FINE, "suite.yaml:1:10: there is no file"),
    "an include of itself": ("include: suite.yaml\n" + FINE, "files include each other: suite.yaml → suite.yaml"),
    "a weight that is a word": (FINE + "  weight: heavy\n", "suite.yaml:4:11: good.weight needs a number, not 'heavy'"),
    "a weight below 0": (FINE + "  weight: -1\n", "suite.yaml:4:11: good.weight needs a number of at least 0"),
    "a switch that is a word": (FINE + "  enabled: maybe\n", "suite.yaml:4:12: good.enabled"),
    "a duration in parsecs": (FINE + "  max_duration: 3 parsec\n", "suite.yaml:4:17: good.max_duration"),
    "an unknown key": (
        FINE + "  wieght: 1\n",
        "suite.yaml:4:3: 'wieght' has no meaning in good (did you mean 'weight'?)",
    ),
    "an unknown option of voir": (FINE + "  voir: {options: {stopp: 3}}\n", "(did you mean 'stop'?)"),
    "an unknown placement": (
        "good:\n  plan: {method: per_gpus}\n  command: {argv: [a]}\n",
        "(did you mean 'per_gpu'?)",
    ),
    "no program": ("good:\n  plan: {method: njobs}\n", "suite.yaml:1:1: good has neither definition nor command"),
    "a folder that is not there": ("good:\n  plan: {method: njobs}\n  definition: nowhere\n", "suite.yaml:3:15: "),
    "a word that is no placeholder": (FINE.replace("exit 3", "echo {cpu_cuont}"), "(did you mean 'cpu_count'?)"),
    "a name with a slash": ("a/b:\n  plan: {method: njobs}\n  command: {argv: [a]}\n", "suite.yaml:1:1: 'a/b'"),
    "a reference to nothing": (FINE + "  env: {A: '${nowhere.x}'}\n", "suite.yaml:4:"),
    "false in argv": ("good:\n  plan: {method: njobs}\n  definition: .\n  argv: {--x: false}\n", "use null to drop"),
    "a condition that cannot be read": (FINE + "  requires_capabilities: ['import os']\n", "suite.yaml:4:27: "),
    "code in a condition": (FINE + "  requires_capabilities: ['__import__(\"os\")']\n", "suite.yaml:4:27: "),
    "a system in a suite": (FINE + "system: {arch: cpu}\n", "suite.yaml:4:1: 'system' belongs into a system file"),
}


@pytest.mark.parametrize(("text", "message"), SUITES.values(), ids=SUITES)
def test_a_mistake_in_a_suite_is_named_with_its_place(project: Project, text: str, message: str) -> None:
    project.write("suite.yaml", text)
    assert_refused(project, 2, message, "run", "--config", "suite.yaml")


def test_bytes_that_are_no_text_are_refused(project: Project) -> None:
    (project.folder / "suite.yaml").write_bytes(b"a: \xff\xfe\x00\n")
    assert_refused(project, 2, "suite.yaml:1:", "plan", "--config", "suite.yaml")


def test_all_mistakes_are_told_at_once(project: Project) -> None:
    project.write("suite.yaml", FINE + "  weight: heavy\n  enabled: maybe\n  wieght: 1\n")
    done = project.verb("check")
    assert (done.code, done.out.strip()) == (2, "3 errors, 0 warnings")
    assert [int(line) for line in re.findall(r"suite\.yaml:(\d+):", done.err)] == [4, 5, 6]


OPTIONS = {
    "no suite": (2, "no suite: give --config", ["run"]),
    "a suite that is not there": (2, "no suite 'nowhere.yaml': it is no file", ["run", "-c", "nowhere.yaml"]),
    "a name close to a suite": (2, "(did you mean 'quickstart'?)", ["list", "-c", "quikstart"]),
    "a folder for a suite": (2, "cannot be read: is a directory", ["run", "-c", "."]),
    "an unknown benchmark": (2, "did you mean 'good'?", ["run", "-c", "suite.yaml", "-s", "goood"]),
    "an empty selection": (2, "nothing is left by", ["run", "-c", "suite.yaml", "-s", "good", "-x", "good"]),
    "an open parenthesis": (2, "--select: ", ["run", "-c", "suite.yaml", "-s", "good and ("]),
    "an override without =": (2, "'x' is no override", ["run", "-c", "suite.yaml", "--override", "x"]),
    "an override of nothing": (2, "names no benchmark", ["run", "-c", "suite.yaml", "--override", "x.weight=1"]),
    "an override of no key": (2, "names no key", ["run", "-c", "suite.yaml", "--override", "good=1"]),
    "an override of the wrong type": (2, "needs a number", ["run", "-c", "suite.yaml", "--override", "good.weight=a"]),
    "a system file that is not there": (2, "no system file", ["run", "-c", "suite.yaml", "--system", "nowhere.yaml"]),
    "a suite for a system file": (2, "'good' has no meaning", ["run", "-c", "suite.yaml", "--system", "suite.yaml"]),
    "an unknown verb": (2, "no command 'rum' (did you mean 'run'?)", ["rum"]),
    "an unknown option": (2, "No such option", ["run", "--frobnicate"]),
    "an unknown architecture": (2, "'--arch'", ["plan", "-c", "suite.yaml", "--arch", "tpu"]),
    "a size without meaning": (2, "--gpu-memory", ["plan", "-c", "suite.yaml", "--gpu-memory", "3parsec"]),
    "no repeats": (2, "--repeat", ["run", "-c", "suite.yaml", "--repeat", "0"]),
    "more repeats than a plan has jobs": (
        *(2, "that would be 1,000,000 jobs (1,000,000 repeats), and a plan has 50,000 at most"),
        ["run", "-c", "suite.yaml", "--repeat", "1000000"],
    ),
    "a report of no run": (2, "suite.yaml", ["report", "suite.yaml"]),
    "a report of a folder": (2, "holds no run", ["report", "."]),
    "a report of a name": (2, "no run 'nobody'", ["report", "nobody"]),
    "a report of nothing": (2, "no run below", ["report"]),
    "a device that is not there": (4, "give --arch cpu", ["run", "-c", "suite.yaml", "--arch", "rocm"]),
    "a base below a file": (4, "cannot be written to", ["run", "-c", "suite.yaml", "--base", "suite.yaml/base"]),
    "a run below a file": (4, "cannot be written to", ["run", "-c", "suite.yaml", "--run-name", "./suite.yaml/run"]),
    "a run name with a slash": (2, "--run-name", ["run", "-c", "suite.yaml", "--run-name", "a/b"]),
}


@pytest.mark.parametrize(("code", "message", "arguments"), OPTIONS.values(), ids=OPTIONS)
def test_a_wrong_option_is_refused(project: Project, code: int, message: str, arguments: list[str]) -> None:
    project.write("suite.yaml", FINE)
    assert_refused(project, code, message, *arguments)


def test_the_home_of_a_user_who_is_not_there_is_a_folder_like_any_other(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    done = project.verb("run", "--run-name", "~nobody-there/run")
    assert done.code == 0, done.err
    assert (project.folder / "~nobody-there" / "run" / "run.json").exists()


@pytest.mark.parametrize("verb", ["install", "prepare"])
def test_a_base_that_cannot_be_written_is_told(project: Project, verb: str) -> None:
    project.write("plain/main.py", OBSERVED)
    project.write("plain/prepare.py", "")
    project.suite(plain=folder("plain"))
    done = project.verb(verb, "--base", "suite.yaml/base")
    assert (done.code, "Traceback" in done.err) == (4, False)
    assert "suite.yaml/base" in done.err


BENCHFILE = (
    "from milabench.pack import Package\n\nclass A(Package):\n    def make_env(self):\n        {0}\n\n__pack__ = A\n"
)
BENCHFILES = {
    "raises": ("raise ValueError('why')", "benchfile.py:1: the benchfile raised ValueError: why"),
    "exits": ("import sys\nsys.exit(3)", "benchfile.py:2: the benchfile raised SystemExit: 3"),
    "is no Python": ("def f(:\n", "benchfile.py:1: the benchfile raised SyntaxError"),
    "imports what is not there": ("import torch_of_nobody", "benchfile.py:1: the benchfile raised ModuleNotFoundError"),
    "names no package": ("x = 1\n", "benchfile.py names no package"),
    "names what is no package": ("__pack__ = 3\n", "benchfile.py names no package"),
    "raises when asked": (
        BENCHFILE.format("raise ValueError('why')"),
        "benchfile.py:5: the benchfile raised ValueError",
    ),
    "writes a file": (BENCHFILE.format("open('/tmp/x', 'w')"), "benchfile.py:5: a benchfile may not write /tmp/x"),
    "writes while loaded": ("open('x', 'w')", "benchfile.py:1: a benchfile may not write x"),
    "makes a folder": (
        BENCHFILE.format("__import__('os').mkdir('x')"),
        "benchfile.py:5: a benchfile may not make a fol",
    ),
    "removes a file": (BENCHFILE.format("__import__('os').remove('main.py')"), "may not remove a file"),
    "opens a socket": (
        BENCHFILE.format("__import__('socket').create_connection(('localhost', 1))"),
        "benchfile.py:5: a benchfile may not use the network",
    ),
    "starts a process": (
        BENCHFILE.format("__import__('subprocess').run(['true'])"),
        "benchfile.py:5: a benchfile may not start a process",
    ),
    "starts a shell": (
        BENCHFILE.format("__import__('os').system('true')"),
        "benchfile.py:5: a benchfile may not start",
    ),
    "forks": (BENCHFILE.format("__import__('os').fork()"), "benchfile.py:5: a benchfile may not start a process"),
    "has no variables": (BENCHFILE.format("return None"), "benchfile.py"),
    "places its work badly": (
        "import milabench.commands as cmd\nfrom milabench.pack import Package\nclass A(Package):\n"
        "    working_directory = property(lambda self: 1 / 0)\n"
        "    def build_run_plan(self): return cmd.PackCommand(self)\n__pack__ = A\n",
        "benchfile.py:4: the benchfile raised ZeroDivisionError",
    ),
    "answers with nothing": (
        "from milabench.pack import Package\nclass A(Package):\n    def build_run_plan(self): pass\n__pack__ = A\n",
        "benchfile.py",
    ),
}


@pytest.mark.parametrize(("text", "message"), BENCHFILES.values(), ids=BENCHFILES)
def test_a_benchfile_that_goes_wrong_while_the_plan_is_made_is_named(project: Project, text: str, message: str) -> None:
    project.write("plain/main.py", OBSERVED)
    project.write("plain/benchfile.py", text)
    project.suite(plain=folder("plain"))
    assert_refused(project, 2, message, "plan", "--config", "suite.yaml")


@pytest.mark.parametrize("phase", ["install", "run"])
def test_a_benchfile_that_goes_wrong_over_its_requirements_is_named(project: Project, phase: str) -> None:
    text = "from milabench.pack import Package\nclass A(Package):\n    def requirements_map(self, _=None): 1 / 0\n"
    project.write("plain/main.py", OBSERVED)
    project.write("plain/benchfile.py", text + "__pack__ = A\n")
    project.suite(plain=folder("plain"))
    verb = ["plan", "--phase", "install"] if phase == "install" else ["run"]
    assert_refused(project, 2, "benchfile.py:3: the benchfile raised ZeroDivisionError", *verb, "-c", "suite.yaml")


def test_a_folder_with_nothing_to_run_is_named_with_its_place(project: Project) -> None:
    project.write("plain/README.md", "")
    project.suite(plain=folder("plain"))
    assert_refused(project, 2, "suite.yaml:1:", "plan", "--config", "suite.yaml")
    assert "has nothing to run: add main.py" in project.verb("plan").err


def test_a_run_directory_is_never_written_over(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    path = project.folder / "here"
    assert project.verb("run", "--run-name", str(path)).code == 0
    before = project.tree()
    again = project.verb("run", "--run-name", str(path))
    assert (again.code, "holds a run already" in again.err) == (4, True)
    assert project.tree() == before


def test_two_runs_at_once_never_share_a_directory(project: Project) -> None:
    project.suite(printer=shell(PRINTER, stop=100))
    path = str(project.folder / "here")
    with project.started("run", "--config", "suite.yaml", "--run-name", path) as first:
        wait_until(Path(path, "run.lock").exists)
        second = project.verb("run", "--run-name", path)
        assert second.code == 4
        assert first.wait(60) == 0


def test_a_run_whose_files_are_damaged_is_still_reported(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    project.verb("run")
    run = project.run()
    run.journal_path.write_text('{"trial": "pr')
    run.files("printer").steps.write_bytes(b"short")
    run.facts_path.write_text("{")
    done = project.milabench("report")
    assert (done.code, "printer" in done.out, "Traceback" in done.err) == (0, True, False)
