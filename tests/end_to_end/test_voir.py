"""Voirfiles through milabench: one suite of benchmarks that share an environment, run once."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import Project, folder, shell

SCRIPT = """
    import sys

    def dataloader():
        return [[number] * 16 for number in range(500)]

    def unused():
        return 1

    def main():
        for batch in dataloader():
            sum(range(20_000))

    main()
    print("the script ran to its end", sys.argv[1:])
"""

SHORT = """
    from benchmate.voirfile import measure

    instrument_main = measure("//dataloader()", unit="images")
"""

NEVER = """
    from benchmate.voirfile import measure

    instrument_main = measure("//dataloader()", loss="//unused() as loss")
"""

MISTAKEN = """
    def instrument_main(ov):
        yield ov.phases.init
        ov.probe("//dataloader() as loader")
"""

ARGUED = """
    from benchmate.observe import Observer

    def instrument_main(ov):
        yield ov.phases.init
        ov.argparser.add_argument("--unit")
        yield ov.phases.load_script
        observer = Observer(unit=ov.options.unit)
        ov.probe("//dataloader() as loader", overridable=True)["loader"].override(observer.loader)
"""

BENCHFILE = """
    from milabench.commands import PackCommand, VoirCommand
    from milabench.pack import Package

    class Argued(Package):
        def build_run_plan(self):
            return VoirCommand(PackCommand(self, lazy=True), "--unit", "two words")

    __pack__ = Argued
"""

TELLING = """
    from giving import give

    for number in range(1000):
        give(task="train", rate=100.0 + number % 3, units="Tok/s")
    print("the script ran to its end")
"""

GROUP = """
    from milabench.commands import ListCommand, PackCommand, VoirCommand
    from milabench.pack import Package

    class Group(Package):
        def build_run_plan(self):
            return ListCommand(*map(self.rank, range(2)))

        def rank(self, rank):
            silent = ["nolog"] if rank else []  # the first one measures for both
            pack = self.copy({"tag": [*self.config["tag"], f"rank-{rank}", *silent]})
            return VoirCommand(PackCommand(pack, lazy=True), env={"RANK": str(rank), "WORLD_SIZE": "2"})

    __pack__ = Group
"""

ENDLESS = """
    import time
    from giving import give

    while True:
        give(task="train", rate=100.0, units="Tok/s")
        time.sleep(0.01)
"""

PLAIN = """
    def instrument_main(ov):
        yield ov.phases.init
"""

STRAY = """
    from voir.helpers import log

    for number in range(20):
        log(task="train", rate=100.0 + number % 3, units="Tok/s")
"""


@pytest.fixture(scope="module")
def ran(index: dict[str, str], voir_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("voirfiles"))
    voirfiles = {"short": SHORT, "never": NEVER, "mistaken": MISTAKEN, "argued": ARGUED}
    for name, voirfile in voirfiles.items():
        project.write(f"{name}/main.py", SCRIPT)
        project.write(f"{name}/voirfile.py", voirfile)
    project.write("argued/benchfile.py", BENCHFILE)
    project.write("telling/main.py", TELLING)
    project.write("telling/voirfile.py", PLAIN)
    project.write("group/main.py", ENDLESS)
    project.write("group/voirfile.py", PLAIN)
    project.write("group/benchfile.py", GROUP)
    project.write("stray/main.py", STRAY)
    project.write("stray/voirfile.py", "raise SystemExit('nobody asked for this voirfile')\n")
    command = f"cd {project.folder}/stray && {voir_python.with_name('voir')} main.py"
    entries = {name: folder(name, install_group="voir") for name in (*voirfiles, "telling", "group")}
    entries["telling"]["voir"] = {"options": {"skip": 2, "stop": {"precision": 0.05}}}
    entries["stray"] = shell(command, skip=0)
    project.suite(**entries)
    project.result = project.verb("run", "--all")  # type: ignore[attr-defined]
    return project


def test_a_script_that_knows_nothing_is_measured_by_three_lines(ran: Project) -> None:
    found = ran.report()["short"]
    assert (found["outcomes"], found["steps"]) == ({"early_stop": 1}, {"warmup": 2, "measured": 10})
    assert "the script ran" not in ran.run().files("short").stdout.read_text()


def test_words_of_a_benchfile_are_the_voirfile_s(ran: Project) -> None:
    found = ran.report()["argued"]
    assert (found["outcomes"], found["unit"]) == ({"early_stop": 1}, "two words/s")


def test_rates_that_a_script_gives_end_it_when_they_are_precise(ran: Project) -> None:
    found = ran.report()["telling"]
    assert (found["outcomes"], found["unit"]) == ({"early_stop": 1}, "Tok/s")
    assert abs(found["perf"] - 101) < 1


def test_the_leader_of_a_group_says_that_it_is_enough_and_all_are_ended(ran: Project) -> None:
    assert ran.report()["group"]["outcomes"] == {"early_stop": 2}
    (stop,) = [event.data for event in ran.run().events("group.rank-0") if event.event == "stop"]
    assert (stop["reason"], stop["observations"], stop["world_size"]) == ("observations", 10, 2)
    assert ran.processes() == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "never",
            "ProbeNeverFired: voirfile.py: //unused() as loss: this probe never fired: unused() was never called",
        ),
        ("mistaken", "ProbeError: voirfile.py:4: //dataloader() as loader: the script is not loaded yet"),
    ],
)
def test_what_was_not_measured_as_asked_has_failed_with_its_reason(ran: Project, name: str, reason: str) -> None:
    assert ran.result.code == 1  # type: ignore[attr-defined]
    (failure,) = ran.report()[name]["failures"]
    assert (failure["outcome"], reason in failure["reason"]) == ("failed", True)


def test_a_voir_that_a_benchmark_starts_finds_no_voirfile_and_writes_to_the_run(ran: Project) -> None:
    found = ran.report()["stray"]
    assert (found["outcomes"], found["n"]) == ({"ok": 1}, 1)
    assert len(ran.data("stray", "rate")) == 20
