"""Benchmarks in containers, from install to report, without a registry; and nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import replace

import pytest

from containers import Engine
from harness import OBSERVED, PRINTER, Project, agents, folder, shell, wait_until
from milabench.agent.ender import is_ender
from milabench.agent.processes import children

PREPARES = """
    import os, pathlib
    folder = pathlib.Path(os.environ["MILABENCH_DIR_DATA"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "made").write_text(os.environ["HOME"])
"""
INSIDE = """
    import os, sys
    assert os.path.exists("/run/.containerenv") or os.path.exists("/.dockerenv")
    assert os.path.exists(os.environ["MILABENCH_DIR_DATA"] + "/made")
"""


@pytest.fixture(params=["podman", "podman_image", "docker"])
def contained(request: pytest.FixtureRequest, project: Project) -> Engine:
    """Return what starts containers, with the project's system naming it: a root folder, an image, docker's."""
    found: Engine = request.getfixturevalue(request.param)
    return named(project, found)


@pytest.fixture(params=["podman", "docker"])
def ending(request: pytest.FixtureRequest, project: Project) -> Engine:
    """Return the same for tests of ends, which are alike wherever an image comes from."""
    found: Engine = request.getfixturevalue(request.param)
    return named(project, found)


@pytest.fixture
def in_podman(podman: Engine, project: Project) -> Engine:
    return named(project, podman)


def named(project: Project, engine: Engine) -> Engine:
    project.environ.update(engine.environ)
    project.environ["MILABENCH_SYSTEM"] = str(project.folder / "system.yaml")
    project.write(
        "system.yaml", json.dumps({"system": {"docker": {"executable": engine.program, "image": engine.image}}})
    )
    return engine


def nothing_is_left(project: Project, engine: Engine) -> bool:
    return engine.names() == [] and project.processes() == []


def test_a_benchmark_is_installed_prepared_and_run_in_containers(project: Project, contained: Engine) -> None:
    project.write("plain/main.py", INSIDE + OBSERVED)
    project.write("plain/prepare.py", PREPARES)
    project.suite(plain=folder("plain"), printer=shell(PRINTER))
    for verb in ("install", "prepare", "run"):
        done = project.verb(verb)
        assert done.code == 0, done.err
    assert {name: each["outcomes"] for name, each in project.report().items()} == {
        "plain": {"early_stop": 1},
        "printer": {"early_stop": 1},
    }
    assert (project.base / "data/made").read_text() == str(project.base / "cache/home")
    assert project.report()["plain"]["steps"] == {"warmup": 2, "measured": 10}
    recorded = project.run().facts()["container"]
    assert (recorded["executable"], recorded["image"]) == (contained.program, contained.image)
    (image,) = recorded["images"].values()
    if contained.image == "/":
        assert image == {"digest": None, "id": None, "root": "/"}
    else:
        assert image["digest"].startswith("sha256:")
        assert image["root"] is None
        (command,) = project.run().plan().trials[0].commands
        assert command.container is not None
        assert command.container.digest == image["digest"]
    assert nothing_is_left(project, contained)


def test_what_is_installed_for_one_image_is_not_taken_for_another(project: Project, podman: Engine) -> None:
    named(project, podman)
    project.write("plain/main.py", OBSERVED)
    project.suite(plain=folder("plain"))
    assert project.verb("install").code == 0
    assert "there already" in project.verb("install").err
    del project.environ["MILABENCH_SYSTEM"]
    done = project.verb("run")
    assert (done.code, "not installed: plain as it is asked for now (image /, asked for none" in done.err) == (4, True)


STUBBORN = """trap "" TERM; while true; do echo '{"count": 1, "unit": "items"}'; sleep 0.05; done"""


def test_ctrl_c_ends_containers(project: Project, ending: Engine) -> None:
    project.suite(printer=shell(PRINTER, stop=10**6), other=shell(PRINTER))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: ending.running() and project.base.exists() and project.run().files("printer").steps.exists())
        runner.send_signal(signal.SIGINT)
        assert runner.wait(60) == 130
    assert project.run().outcomes()["printer"].kind == "interrupted"
    assert nothing_is_left(project, ending)


def test_a_second_ctrl_c_ends_containers_at_once(project: Project, in_podman: Engine) -> None:
    project.suite(stubborn=shell(STUBBORN, stop=10**6))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(in_podman.running)
        runner.send_signal(signal.SIGINT)
        wait_until(lambda: "interrupts" in project.run().files("stubborn").stderr.read_text())
        runner.send_signal(signal.SIGINT)
        assert runner.wait(30) == 130
        wait_until(lambda: nothing_is_left(project, in_podman))


def test_a_run_is_not_resumed_with_another_image_unless_forced(project: Project, podman_image: Engine) -> None:
    own = replace(podman_image, image=f"{podman_image.image}-own")
    named(project, own)
    podman_image("tag", podman_image.image, own.image)
    try:
        project.suite(printer=shell(PRINTER, stop=10**6))
        with project.started("run", "--config", "suite.yaml") as runner:
            wait_until(podman_image.running)
            runner.send_signal(signal.SIGINT)
            assert runner.wait(60) == 130
        (project.folder / "file").write_text("of another image")
        subprocess.run(["tar", "-cf", "other.tar", "file"], cwd=project.folder, check=True)
        podman_image("import", str(project.folder / "other.tar"), own.image)
        done = project.milabench("resume")
        assert done.code == 4
        assert "container image: sha256:" in done.err
        done = project.milabench("resume", "--force")
        assert "the run was resumed although this had changed: container image: sha256:" in " ".join(done.out.split())
        assert len(project.run().facts()["changed"]) == 1
    finally:
        podman_image("image", "rm", "--force", own.image)


def test_a_multirun_over_images_has_a_run_in_each_which_differ_by_it(project: Project, podman_image: Engine) -> None:
    project.environ.update(podman_image.environ)
    images = ["/", podman_image.image]
    runs = [{"name": "in-{docker.image}", "matrix": {"docker.image": images}}]
    system = {"system": {"docker": {"executable": podman_image.program}}, "multirun": {"runs": runs}}
    project.environ["MILABENCH_SYSTEM"] = str(project.write("system.yaml", json.dumps(system)))
    project.suite(printer=shell(PRINTER))
    assert project.verb("run").code == 0
    first, second = sorted(
        (project.base / "runs").iterdir(), key=lambda path: json.loads((path / "run.json").read_text())["started"]
    )
    assert second.name.startswith(f"in-{podman_image.image.replace('/', '-').replace(':', '-')}.")
    told = project.milabench("compare", str(first), str(second), "--json").json["changed"]
    (image,) = (each for each in told if (each["area"], each["name"]) == ("container", "image"))
    assert image["before"] == "/ (a folder)"
    assert image["after"].startswith(f"{podman_image.image} sha256:")


def test_max_duration_ends_a_container_that_hears_no_sigterm(project: Project, ending: Engine) -> None:
    project.suite(printer=shell(STUBBORN, stop=10**6, max_duration=3))
    assert project.verb("run").code == 1
    assert project.run().outcomes()["printer"].kind == "timeout"
    assert nothing_is_left(project, ending)


def test_a_killed_runner_leaves_no_container(project: Project, ending: Engine) -> None:
    project.suite(printer=shell(PRINTER, stop=10**6))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(ending.running)
        runner.send_signal(signal.SIGKILL)
        runner.wait(30)
        wait_until(lambda: nothing_is_left(project, ending), timeout_s=60)


def test_a_killed_runner_and_a_killed_agent_leave_no_container(project: Project, ending: Engine) -> None:
    project.suite(stubborn=shell(STUBBORN, stop=10**6))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(ending.running)
        (agent,) = agents(runner.pid)
        os.kill(agent, signal.SIGSTOP)  # it is to do nothing about the end of the runner
        runner.send_signal(signal.SIGKILL)
        runner.wait(30)
        assert ending.running()
        os.kill(agent, signal.SIGKILL)
        wait_until(lambda: nothing_is_left(project, ending))
    log = project.run().files("stubborn").stderr.read_text()
    assert log == "milabench: the agent that ran this is gone: the container is ended\n"


def test_a_run_whose_runner_and_agent_were_killed_is_gone_on_with_when_its_containers_are_gone(
    project: Project, ending: Engine
) -> None:
    mark = project.folder / "mark"
    project.suite(printer=shell(f"test -e {mark} || {STUBBORN}; {PRINTER}", stop=10))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(ending.running)
        (agent,) = agents(runner.pid)
        (ender,) = filter(is_ender, children(agent))
        os.kill(ender, signal.SIGSTOP)
        runner.send_signal(signal.SIGKILL)
        os.kill(agent, signal.SIGKILL)
        runner.wait(30)
        mark.touch()
        with project.started("resume") as resumed:
            wait_until(lambda: "for the processes of the runner before to end" in resumed.stderr.readline())
            assert len(ending.running()) == 1
            os.kill(ender, signal.SIGCONT)
            assert resumed.wait(60) == 0
    assert project.run().outcomes()["printer"].kind == "early_stop"
    assert nothing_is_left(project, ending)


def test_a_program_that_is_not_in_the_image_is_the_reason(project: Project, in_podman: Engine) -> None:
    project.suite(lost={**shell(""), "command": {"argv": ["no-such-program"]}})
    assert project.verb("run").code == 1
    reason = project.run().outcomes()["lost"].reason
    assert reason.startswith("its program is not in the container: ")
    assert nothing_is_left(project, in_podman)


def test_an_image_that_is_not_there_is_told_before_a_run(project: Project, in_podman: Engine) -> None:
    project.suite(printer=shell(PRINTER))
    done = project.verb("run", MILABENCH_DOCKER_IMAGE="localhost/no-such-image:1")
    assert done.code == 4
    assert "the container image localhost/no-such-image:1 is not there" in done.err
    assert "podman pull localhost/no-such-image:1" in done.err
    found = project.verb("doctor", "--json", MILABENCH_DOCKER_IMAGE="localhost/no-such-image:1").json
    assert "no-image" in [each["code"] for each in found["findings"]]
    assert not (project.base / "runs").exists()
    assert in_podman.names() == []


def test_an_image_that_cannot_be_fetched_ends_an_install(project: Project, in_podman: Engine) -> None:
    project.suite(printer=shell(PRINTER))
    done = project.verb("install", MILABENCH_DOCKER_IMAGE="localhost:1/no-such-image:1")
    assert done.code == 4
    assert "the container image localhost:1/no-such-image:1 could not be fetched" in done.err
    assert in_podman.names() == []


def test_a_program_that_is_not_there_is_told_before_a_run(project: Project) -> None:
    project.write("system.yaml", "system: {docker: {image: i, executable: /nowhere/podman}}\n")
    project.suite(printer=shell(PRINTER))
    done = project.verb("run", "--system", "system.yaml")
    assert done.code == 4
    assert "there is no program /nowhere/podman, which is to start the containers" in done.err


@pytest.mark.parametrize("entries", ["command", "folder"])
def test_an_install_says_what_is_not_there_of_containers(project: Project, in_podman: Engine, entries: str) -> None:
    project.write("plain/main.py", OBSERVED)
    project.suite(one=folder("plain") if entries == "folder" else shell(PRINTER))
    done = project.verb("install", MILABENCH_DOCKER_EXECUTABLE="/nowhere/podman")
    assert (done.code, "there is no program /nowhere/podman, which is to start" in done.err) == (4, True), done
    done = project.verb("install", "--offline", MILABENCH_DOCKER_IMAGE="localhost/no-such-image:1")
    assert (done.code, "the container image localhost/no-such-image:1 is not there" in done.err) == (4, True), done
    assert not (project.base / "venv").exists()


def test_dev_runs_a_command_in_the_benchmarks_container(project: Project, in_podman: Engine) -> None:
    project.write("plain/main.py", OBSERVED)
    project.suite(plain=folder("plain"))
    assert project.verb("install").code == 0
    code = "import os, sys; print(sys.argv[1:], os.path.exists('/run/.containerenv'), os.environ['VIRTUAL_ENV'])"
    done = project.milabench("dev", "plain", "--config", "suite.yaml", "--", "python", "-c", code, "a b")
    assert (done.code, done.out) == (0, f"['a b'] True {project.base}/venv/plain\n"), done.err
    assert in_podman.names() == []


def test_containers_of_dev_can_be_told_from_others(project: Project, in_podman: Engine) -> None:
    project.suite(printer=shell(PRINTER))
    typed = (
        "dev",
        "printer",
        "--config",
        "suite.yaml",
        "--",
        "sh",
        "-c",
        "while test ! -e $MILABENCH_BASE/go; do sleep 0.1; done",
    )
    with project.started(*typed) as first, project.started(*typed) as second:
        wait_until(lambda: len(in_podman.running()) == 2)
        assert [name[:10] + name[20:] for name in in_podman.names()] == ["milabench--dev.printer"] * 2
        (project.base / "go").touch()
        assert (first.wait(60), second.wait(60)) == (0, 0)
    assert in_podman.names() == []


def test_a_container_of_dev_whose_client_was_killed_is_ended_by_the_next_run(
    project: Project, in_podman: Engine
) -> None:
    project.suite(printer=shell(PRINTER, stop=10**6))
    with project.started("dev", "printer", "--config", "suite.yaml", "--", "sleep", "1000") as client:
        wait_until(in_podman.running)
        client.kill()
        client.wait(30)
        (left,) = in_podman.names()
        with project.started("run", "--config", "suite.yaml") as runner:
            wait_until(lambda: left not in in_podman.names())
            runner.send_signal(signal.SIGINT)
            assert runner.wait(60) == 130
    assert nothing_is_left(project, in_podman)


def test_a_plan_as_a_script_runs_by_hand(project: Project, in_podman: Engine) -> None:
    project.suite(
        three=shell("""for n in 1 2 3; do echo '{"count": 1, "unit": "items"}'; done; test -e /run/.containerenv""")
    )
    script = project.write("plan.sh", project.verb("plan", "--format", "sh").out)
    done = subprocess.run(
        ["sh", str(script)], env=project.environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.count("items")) == (0, 3), done.stderr
    assert in_podman.names() == []
