"""Install, prepare and run benchmark folders in plain Python: their environments need no package index."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest

from harness import OBSERVED, PRINTER, Project, folder, shell, wait_until

RECORD = "venv/plain/.milabench.json"


@pytest.fixture
def plain(project: Project) -> Project:
    """Return a project with one folder benchmark, ``plain``."""
    project.write("plain/main.py", OBSERVED)
    project.suite(plain=folder("plain"))
    return project


@pytest.fixture
def ready(plain: Project, furnish: Callable[[str], None]) -> Project:
    """Return that project with its environment there already."""
    furnish("plain")
    return plain


def installed(project: Project, group: str = "plain") -> bool:
    return (project.base / f"venv/{group}/.milabench.json").exists()


# A folder benchmark ------------------------------------------------------------------------------------------------


def test_install_then_run_measures_a_folder(plain: Project) -> None:
    assert plain.verb("install").code == 0
    assert plain.verb("run").code == 0
    found = plain.report()["plain"]
    assert found["outcomes"] == {"early_stop": 1}
    assert found["steps"] == {"warmup": 2, "measured": 10}
    assert found["unit"] == "items/s"
    assert found["losses"]["first"] > found["losses"]["last"] > 0
    assert found["peak_memory_bytes"] > 1_000_000
    (steps,) = plain.run().steps("plain")
    assert set(steps.columns["count"]) == {8}


def test_run_all_does_everything_from_nothing(plain: Project) -> None:
    prepare = """
        import os, pathlib
        folder = pathlib.Path(os.environ["MILABENCH_DIR_DATA"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "made").touch()
    """
    plain.write("plain/prepare.py", prepare)
    plain.write("plain/main.py", _dedented(OBSERVED, "import os; open(os.environ['MILABENCH_DIR_DATA'] + '/made')"))
    assert plain.verb("run", "--all").code == 0
    assert plain.report()["plain"]["outcomes"] == {"early_stop": 1}


def test_what_is_installed_is_not_installed_again(plain: Project) -> None:
    plain.verb("install")
    record = (plain.base / RECORD).stat().st_mtime_ns
    done = plain.verb("install")
    assert (done.code, "ok plain (there already" in done.err) == (0, True)
    assert (plain.base / RECORD).stat().st_mtime_ns == record


def test_the_environment_of_a_run_is_written_down(ready: Project) -> None:
    ready.verb("run", "--all")
    found = ready.run().facts()["environments"]["plain"]
    assert [name for name in found if name.startswith("benchmate==")] != []


def test_benchmarks_of_one_install_group_share_an_environment(plain: Project) -> None:
    plain.write("other/main.py", OBSERVED)
    plain.suite(plain=folder("plain", install_group="both"), other=folder("other", install_group="both"))
    assert plain.verb("run", "--all").code == 0
    assert sorted(path.name for path in (plain.base / "venv").iterdir() if path.is_dir()) == ["both"]


def test_a_changed_script_is_what_runs_next(ready: Project) -> None:
    ready.verb("run", "--all")
    ready.write("plain/main.py", "raise SystemExit(7)")
    assert ready.verb("run").code == 1
    assert ready.run().outcomes()["plain"].reason == "exit code 7"


def test_a_script_that_raises_is_reported_by_its_exception(ready: Project) -> None:
    ready.write("plain/main.py", _dedented(OBSERVED, "", "raise ValueError('the reason')").replace("* 1000", "* 5"))
    assert ready.verb("run", "--all").code == 1
    assert ready.run().outcomes()["plain"].reason == "exit code 1: ValueError: the reason"


def test_arguments_and_variables_reach_the_script(ready: Project) -> None:
    script = """
        import json, os, sys
        print(json.dumps([sys.argv[1:], os.environ["OWN"], json.loads(os.environ["MILABENCH_CONFIG"])["name"]]))
    """
    ready.write("plain/main.py", script)
    argv = {"--name": "{milabench_name}", "--flag": True, "--none": None, "positional": True, "--list": [1, 2]}
    ready.suite(plain=folder("plain", argv=argv, env={"OWN": "of {arch}"}))
    ready.verb("run", "--all")
    printed = json.loads(ready.run().files("plain").stdout.read_text())
    assert printed == [["positional", "--name", "plain", "--flag", "--list", "1,2"], "of cpu", "plain"]


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_blanks_and_accents_in_the_path_of_the_base_do_no_harm(plain: Project, installer: str) -> None:
    base = str(plain.folder / "été 1 %20")
    done = plain.verb("run", "--all", "--base", base, "--installer", installer)
    assert done.code == 0, done.err
    assert plain.report("--base", base)["plain"]["outcomes"] == {"early_stop": 1}


def test_override_changes_what_is_measured(ready: Project) -> None:
    ready.verb("run", "--override", "plain.voir.options.stop=3")
    assert ready.report()["plain"]["steps"] == {"warmup": 2, "measured": 3}


# What is not there -------------------------------------------------------------------------------------------------


def test_run_without_install_names_the_command(plain: Project) -> None:
    done = plain.verb("run")
    assert done.code == 4
    assert "not installed: plain. Type: milabench install --config suite.yaml" in done.err
    assert not (plain.base / "runs").exists()


def test_prepare_without_install_names_the_command(plain: Project) -> None:
    plain.write("plain/prepare.py", "")
    done = plain.verb("prepare")
    assert (done.code, "Type: milabench install" in done.err) == (4, True)


def test_run_without_prepare_names_the_command(ready: Project) -> None:
    ready.write("plain/prepare.py", "")
    done = ready.verb("run")
    assert (done.code, "other arguments: plain. Type: milabench prepare" in done.err) == (4, True)
    assert ready.verb("prepare").code == 0
    assert ready.verb("run").code == 0


def test_a_preparation_that_fails_is_not_taken_for_done(ready: Project) -> None:
    ready.write("plain/prepare.py", "raise SystemExit('no data here')")
    done = ready.verb("prepare")
    assert (done.code, "| no data here" in done.err) == (4, True)
    assert ready.verb("run").code == 4


def test_other_arguments_are_prepared_anew(ready: Project) -> None:
    ready.write("plain/prepare.py", "")
    ready.verb("prepare")
    done = ready.verb("run", "--override", "plain.argv.--size=3")
    assert (done.code, "not prepared, or with other arguments: plain" in done.err) == (4, True)


# Installs that fail or are cut short -------------------------------------------------------------------------------


@pytest.fixture
def broken(plain: Project) -> Project:
    """Return a project with one benchmark that cannot be installed and one that needs no environment."""
    plain.write("broken/main.py", OBSERVED)
    plain.write("broken/requirements.in", "no-such-package-for-milabench\n")
    plain.suite(broken=folder("broken"), plain=folder("plain"), printer=shell(PRINTER))
    return plain


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_an_install_that_fails_alone_exits_with_4_and_shows_its_last_lines(broken: Project, installer: str) -> None:
    done = broken.verb("install", "--offline", "--installer", installer)
    assert done.code == 4
    assert "FAIL broken" in done.err
    assert any("no-such-package-for-milabench" in line for line in done.err.splitlines() if "     | " in line)
    assert (installed(broken, "broken"), installed(broken)) == (False, True)


def test_with_all_a_benchmark_that_cannot_be_installed_fails_and_the_others_run(broken: Project) -> None:
    assert broken.verb("run", "--all", "--offline").code == 1
    outcomes = {name: each.kind for name, each in broken.run().outcomes().items()}
    assert outcomes == {"broken": "failed", "plain": "early_stop", "printer": "early_stop"}
    assert broken.run().outcomes()["broken"].reason.startswith("its environment 'broken' could not be made: exit code")
    assert broken.milabench("report").code == 0


def test_with_all_a_benchmark_that_cannot_be_prepared_fails_and_the_others_run(ready: Project) -> None:
    ready.write("plain/prepare.py", "raise SystemExit(5)")
    ready.suite(plain=folder("plain"), printer=shell(PRINTER))
    assert ready.verb("run", "--all").code == 1
    assert ready.run().outcomes()["plain"].reason == "its preparation failed: exit code 5"
    assert ready.run().outcomes()["printer"].kind == "early_stop"


SLOW = """
    import asyncio, os, pathlib
    from milabench.pack import Package

    class Slow(Package):
        async def install(self):
            mark = pathlib.Path(os.environ["MARK"])
            if not mark.exists():
                mark.touch()
                await asyncio.sleep(1000)

    __pack__ = Slow
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_install_cut_short_is_finished_by_the_next(plain: Project, number: signal.Signals) -> None:
    plain.write("plain/benchfile.py", SLOW)
    mark = plain.folder / "mark"
    plain.environ["MARK"] = str(mark)
    with plain.started("install", "--config", "suite.yaml") as runner:
        wait_until(mark.exists)
        runner.send_signal(number)
        assert runner.wait(30) == (130 if number == signal.SIGINT else -number)
        wait_until(lambda: plain.processes() == [], timeout_s=30)
    assert not installed(plain)
    assert plain.verb("run").code == 4
    assert plain.verb("install").code == 0
    assert plain.verb("run").code == 0


def test_two_installs_at_once_make_one_environment(plain: Project) -> None:
    with (
        plain.started("install", "--config", "suite.yaml") as one,
        plain.started("install", "--config", "suite.yaml") as two,
    ):
        assert (one.wait(120), two.wait(120)) == (0, 0)
    assert plain.verb("run").code == 0


def test_a_damaged_record_is_no_record(plain: Project) -> None:
    plain.verb("install")
    (plain.base / RECORD).write_text("{")
    assert plain.verb("run").code == 4
    assert plain.verb("install").code == 0
    assert plain.verb("run").code == 0


# Benchfiles --------------------------------------------------------------------------------------------------------

OWN = """
    import os
    from milabench.pack import Package
    from milabench.commands import PackCommand

    class Own(Package):
        async def install(self):
            await self.message("installing", self.dirs.venv.name)
            (self.dirs.code / "installed.txt").write_text("yes")

        async def prepare(self):
            self.dirs.data.mkdir(parents=True, exist_ok=True)
            await self.python( "-c", "import os; open(os.environ['MADE'], 'w').write('yes')")

        def make_env(self):
            return {"MADE": str(self.dirs.data / "made.txt")}

        def build_run_plan(self):
            return PackCommand(self, "script.py", *self.argv, "--more").use_stdout()

    __pack__ = Own
"""
OWN_SCRIPT = """
    import json, os, pathlib, sys

    assert sys.argv[1:] == ["--given", "1", "--more"], sys.argv
    assert pathlib.Path("installed.txt").read_text() == pathlib.Path(os.environ["MADE"]).read_text() == "yes"
    while True:
        print(json.dumps({"count": 4, "unit": "items"}), flush=True)
        sum(range(100_000))
"""


def test_a_benchfile_installs_prepares_and_says_what_to_run(project: Project) -> None:
    project.write("own/benchfile.py", OWN)
    project.write("own/script.py", OWN_SCRIPT)
    project.suite(own=folder("own", argv={"--given": 1}))
    assert project.verb("run", "--all").code == 0
    found = project.report()["own"]
    assert (found["outcomes"], found["steps"]["measured"]) == ({"early_stop": 1}, 10)
    assert not (project.folder / "own/installed.txt").exists()


def test_an_overridden_run_is_awaited_as_a_process_of_its_own(project: Project) -> None:
    benchfile = """
        from milabench.pack import Package

        class Runs(Package):
            async def run(self):
                await self.python( self.dirs.code / "main.py")

        __pack__ = Runs
    """
    project.write("own/benchfile.py", benchfile)
    project.write("own/main.py", OBSERVED)
    project.suite(own=folder("own"))
    assert project.verb("run", "--all").code == 0
    assert project.report()["own"]["outcomes"] == {"early_stop": 1}


def test_an_install_of_a_benchfile_that_raises_is_a_failed_install(plain: Project) -> None:
    benchfile = """
        from milabench.pack import Package

        class Bad(Package):
            async def install(self):
                await self.execute("sh", "-c", "exit 9")

        __pack__ = Bad
    """
    plain.write("plain/benchfile.py", benchfile)
    done = plain.verb("install")
    assert (done.code, "ended with exit code 9" in done.err, installed(plain)) == (4, True, False)


def test_a_voirfile_measures_a_script_that_knows_nothing_of_it(project: Project, index: dict[str, str]) -> None:
    script = """
        def dataloader():
            for number in range(1000):
                yield [number] * 16

        def main():
            loader = dataloader()
            for batch in loader:
                loss = 1.0 / (batch[0] + 1)
                sum(range(20_000))

        if __name__ == "__main__":
            main()
    """
    voirfile = """
        from benchmate.observe import Observer

        def instrument_main(ov):
            yield ov.phases.init
            yield ov.phases.load_script
            observer = Observer(unit="items")
            ov.probe("//main > loader").give()
            probe = ov.probe("//main > loader", overridable=True)
            probe["loader"].override(observer.loader)
            ov.probe("//main > loss")["loss"].subscribe(observer.record_loss)
    """
    project.write("probed/main.py", script)
    project.write("probed/voirfile.py", voirfile)
    project.suite(probed=folder("probed"))
    done = project.verb("run", "--all")
    assert done.code == 0, done.err
    found = project.report()["probed"]
    assert (found["outcomes"], found["steps"]) == ({"early_stop": 1}, {"warmup": 2, "measured": 10})
    assert found["losses"]["n"] > 10


def _dedented(script: str, before: str = "", after: str = "") -> str:
    from textwrap import dedent

    return "\n".join([before, dedent(script), after])
