"""The look before a run, by itself and before what it is for: what is found, what follows, and what helps."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import OBSERVED, PRINTER, Project, Result, folder, shell
from milabench.rundir import runs

FORMATS = Path(__file__).parents[2] / "docs" / "reference" / "formats.md"
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
NO_NAMESPACE = "no mount namespace can be made here"
GPU = "0, GPU-0, NVIDIA H100 80GB HBM3, 81559, 550.54.15, [N/A], 00000000:18:00.0, 96.00"
STATE = """\
<nvidia_smi_log><gpu id="1"><uuid>GPU-0</uuid><persistence_mode>Enabled</persistence_mode>
<fb_memory_usage><total>81559 MiB</total><used>40000 MiB</used></fb_memory_usage>
<processes><process_info><pid>{pid}</pid><type>C</type><process_name>python3</process_name>
<used_memory>39000 MiB</used_memory></process_info></processes></gpu></nvidia_smi_log>
"""


@pytest.fixture
def plain(project: Project) -> Project:
    """Return a project with one folder benchmark, ``plain``."""
    project.write("plain/main.py", OBSERVED)
    project.suite(plain=folder("plain"))
    return project


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that is none of milabench's."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def findings(done: Result) -> dict[str, dict[str, Any]]:
    """Return what ``doctor --json`` printed, by code."""
    return {each["code"]: each for each in done.json["findings"]}


def recorded(project: Project) -> dict[str, str]:
    """Return the severities of what the newest run has recorded, by code."""
    return {each["code"]: each["severity"] for each in project.run().facts()["preflight"]}


# By itself ---------------------------------------------------------------------------------------------------------


def test_a_machine_is_looked_at_alone_and_nothing_is_changed(project: Project) -> None:
    before = project.tree()
    done = project.milabench("doctor")
    assert (done.code, done.out.splitlines()[-1].split(":")[0]) == (0, "ready")
    assert project.tree() == before


def test_the_json_form_is_the_documented_one(plain: Project) -> None:
    done = plain.verb("doctor", "--json")
    page = FORMATS.read_text().partition("## `milabench doctor --json`")[2].partition("\n## ")[0]
    assert (done.code, done.json["version"], done.json["ready"]) == (4, 1, False)
    named = set(re.findall(r"\w+", page))
    found = done.json["findings"][0]
    told = done.json["conditions"]
    parts = (part for part in told.values() if isinstance(part, dict))
    keys = {*done.json, *found, *told, *(key for part in parts for key in part if not key[0].isdigit())}
    assert keys <= named
    assert found["code"] == "not-installed"


def test_what_is_not_there_is_told_with_what_to_type_until_it_is(
    plain: Project, furnish: Callable[[str], None]
) -> None:
    plain.write("plain/prepare.py", "")
    first = plain.verb("doctor")
    assert first.code == 4
    assert re.search(r"not installed: plain\n +so: .*\n +do: +type: milabench install --config suite.yaml", first.out)
    assert first.out.splitlines()[-1].startswith("not ready: 2 blocking")
    furnish("plain")
    assert "not-prepared" in findings(plain.verb("doctor", "--json"))
    plain.verb("prepare")
    assert plain.verb("doctor").code == 0


def test_a_device_that_is_not_there_is_a_finding_beside_those_of_the_machine(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    project.write("system.yaml", "system: {arch: hpu}\n")
    few = ("sh", "-c", 'ulimit -n 100; exec "$@"', "sh")
    done = project.verb("doctor", "--json", "--system", "system.yaml", under=few)
    found = findings(done)
    assert (done.code, found["no-plan"]["severity"]) == (4, "blocking")
    assert "the system asks for hpu, this machine has no accelerator" in found["no-plan"]["what"]
    assert "few-open-files" in found


# Environments ------------------------------------------------------------------------------------------------------


def test_an_environment_that_was_changed_by_hand_holds_a_run_up(plain: Project) -> None:
    assert plain.verb("install").code == 0
    venv = plain.base / "venv" / "plain"
    removed = subprocess.run([venv / "bin" / "python", "-m", "pip", "uninstall", "-qy", "pip"], check=False)
    assert removed.returncode == 0
    done = plain.verb("run")
    assert (done.code, runs(plain.base)) == (4, [])
    assert re.search(
        rf"changed since it was installed: plain \(pip \S+ removed\)\. Type: rm -r {venv} && milab", done.err
    )
    assert "go on all the same: --force" in done.err
    assert plain.verb("install").code == 0  # it is as asked for; and what was done to it by hand is left alone
    assert plain.verb("run").code == 4


def test_a_forced_run_goes_on_and_says_in_spite_of_what(plain: Project, furnish: Callable[[str], None]) -> None:
    furnish("plain")
    (site,) = (plain.base / "venv/plain/lib").glob("python*/site-packages")
    (pip,) = site.glob("pip-*.dist-info")
    pip.rename(site / "pip-0.1.dist-info")
    done = plain.verb("run", "--force")
    assert (done.code, "in spite of: changed since it was installed: plain (pip" in done.err) == (0, True)
    assert recorded(plain)["environment-changed"] == "blocking"
    shutil.rmtree(plain.base / "venv" / "plain")
    furnish("plain")
    assert plain.verb("run").code == 0
    assert "environment-changed" not in recorded(plain)


def test_other_requirements_are_told_as_such(plain: Project, furnish: Callable[[str], None]) -> None:
    furnish("plain")
    plain.write("plain/requirements.in", "")
    found = findings(plain.verb("doctor", "--json"))
    assert found["installed-otherwise"]["what"].endswith("(new or changed: plain/requirements.in)")


def test_all_that_stands_in_the_way_is_told_at_once(plain: Project) -> None:
    plain.suite(plain=folder("plain"), printer=shell(PRINTER, env={"MY_TOKEN": "${secret:MY_TOKEN}"}))
    done = plain.verb("run")
    assert done.code == 4
    assert "2 things stand in the way:" in done.err
    assert "not installed: plain" in done.err
    assert "not in your environment: MY_TOKEN" in done.err


# Devices -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def taken(project: Project, tmp_path: Path, other: subprocess.Popen[bytes]) -> Project:
    """Return a project on a machine whose nvidia-smi shows a GPU, and a process of another on it."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    state = STATE.format(pid=other.pid)
    cases = f"*-x*) cat <<'END'\n{state}END\n;; *mig*) exit 2;; *) echo '{GPU}';;"
    tool.write_text(f'#!/bin/sh\ncase "$*" in\n{cases} esac\n')
    tool.chmod(0o755)
    project.environ["PATH"] = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    project.environ.pop("CUDA_VISIBLE_DEVICES", None)
    project.suite(printer=shell(PRINTER, plan={"method": "per_gpu"}))
    return project


def test_a_process_of_another_on_a_device_holds_a_run_up_and_is_not_touched(
    taken: Project, other: subprocess.Popen[bytes]
) -> None:
    done = taken.verb("run")
    assert done.code == 4
    assert f"on device 0: pid {other.pid}, python3 (user " in done.err
    assert "38.1 GiB)" in done.err
    assert not (taken.base / "runs").exists()
    assert other.poll() is None


def test_beside_it_a_forced_run_is_recorded_as_such(taken: Project, other: subprocess.Popen[bytes]) -> None:
    assert taken.verb("run", "--force").code == 0
    assert recorded(taken)["foreign-process"] == "blocking"
    assert other.poll() is None


def test_what_is_on_a_device_is_told_without_a_suite(taken: Project, other: subprocess.Popen[bytes]) -> None:
    done = taken.milabench("doctor")
    assert (done.code, f"pid {other.pid}" in done.out) == (4, True)


def test_a_device_that_is_left_out_is_not_judged(taken: Project) -> None:
    assert taken.verb("run", CUDA_VISIBLE_DEVICES="", MILABENCH_ARCH="cpu").code == 0
    assert "foreign-process" not in recorded(taken)


def test_a_benchmark_that_does_not_fit_the_device_is_told_by_what_was_seen_of_it(taken: Project) -> None:
    taken.write("large/main.py", OBSERVED)
    taken.write("seen.yaml", "large: {model: {64: 90000 MiB}}\nsmall: {model: {64: 45000 MiB}}\n")
    sized = {"argv": {"--batch-size": 64}, "plan": {"method": "per_gpu"}}
    taken.suite(large=folder("large", **sized), small=folder("large", **sized))
    done = taken.verb("doctor", "--json", MILABENCH_SIZER_CONFIG="seen.yaml")
    told = {each["subject"]: each for each in done.json["findings"] if each["code"] == "device-memory"}
    assert {name: each["severity"] for name, each in told.items()} == {"large": "blocking", "small": "warning"}
    assert "of which 39.1 GiB are held already" in told["small"]["what"]


# The machine -------------------------------------------------------------------------------------------------------


def test_too_few_open_files_hold_a_run_up_and_few_are_told(project: Project) -> None:
    under = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    project.suite(many=shell(PRINTER, plan={"method": "njobs", "n": 20}), one=shell(PRINTER))
    done = project.verb("run", under=under)
    assert (done.code, "a process may have 64 files open" in done.err) == (4, True)
    done = project.verb("run", "--select", "one", under=under)
    assert (done.code, "warning: a process may have 64 files open. " in done.err) == (0, True)
    assert recorded(project)["few-open-files"] == "warning"


def test_few_open_files_are_those_that_benchmarks_get_and_not_the_agents_own(project: Project) -> None:
    project.suite(many=shell(PRINTER, plan={"method": "njobs", "n": 60}))
    soft = ("sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh")
    done = project.verb("doctor", "--json", under=soft)
    found, (told, hard) = findings(done)["few-open-files"], done.json["conditions"]["limits"]["nofile"]
    assert (told, hard) == (256, None if HARD == resource.RLIM_INFINITY else HARD)
    assert (done.code, found["severity"], found["what"]) == (0, "warning", "a process may have 256 files open")


@pytest.fixture
def mounting() -> list[str]:
    """Return what runs a program with a file system of 8 MiB (or ``$SIZE``) in memory mounted at ``$MOUNT``."""
    script = 'mount -t tmpfs -o size=${SIZE:-8m} tmpfs "$MOUNT" && exec "$@"'
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    try:
        done = subprocess.run([*argv, "true"], env={**os.environ, "MOUNT": "/mnt"}, check=False, capture_output=True)
    except OSError:
        pytest.skip(NO_NAMESPACE)
    if done.returncode != 0:
        pytest.skip(NO_NAMESPACE)
    return argv


def test_little_shared_memory_is_told_where_loaders_use_it(project: Project, mounting: list[str]) -> None:
    project.write("loads/main.py", OBSERVED)
    project.suite(loads=folder("loads", install_group="torch", argv={"--num-workers": 4}), printer=shell(PRINTER))
    found = findings(project.verb("doctor", "--json", under=mounting, MOUNT="/dev/shm"))
    assert found["little-shared-memory"]["severity"] == "warning"
    assert "4 workers that load data (loads)" in found["little-shared-memory"]["consequence"]
    alone = findings(project.verb("doctor", "--json", "--select", "printer", under=mounting, MOUNT="/dev/shm"))
    assert "little-shared-memory" not in alone


def test_a_disk_without_room_for_a_run_holds_it_up(project: Project, mounting: list[str]) -> None:
    project.suite(printer=shell(PRINTER))
    project.base.mkdir()
    done = project.verb("run", under=mounting, MOUNT=str(project.base), SIZE="2m")
    assert (done.code, "only 2.0 MiB free where base, runs, data, cache are kept" in done.err) == (4, True)
    assert "the run's directory takes 2.2 MiB" in done.err
    done = project.verb("run", under=mounting, MOUNT=str(project.base), SIZE="4m")
    assert (done.code, "warning: only 4.0 MiB free" in done.err) == (0, True)


def test_a_folder_that_can_neither_be_reached_nor_made_holds_a_run_up(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    project.base.mkdir()
    (project.base / "runs").symlink_to(project.folder / "gone")
    (project.base / "data").symlink_to("x" * 300)
    done = project.verb("doctor", "--json")
    told = [(each["severity"], each["subject"]) for each in done.json["findings"] if "writable" in each["code"]]
    assert (done.code, told) == (4, [("blocking", "runs"), ("warning", "data")])
    done = project.verb("run")
    assert (done.code, f"{project.base / 'runs'} cannot be written to" in done.err) == (4, True)


# Gated -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def llama(plain: Project) -> Project:
    """Return a project with a gated benchmark that fetches its model with a token."""
    plain.write("plain/prepare.py", "import os, sys; sys.exit(0 if os.environ.get('HF_TOKEN') else 'refused: 401')")
    plain.suite(plain=folder("plain", tags=["gated"], url="https://huggingface.co/a/b"), printer=shell(PRINTER))
    plain.environ["HOME"] = str(plain.folder)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"):
        plain.environ.pop(name, None)
    return plain


def test_a_token_that_is_missing_is_told_before_anything_is_installed(llama: Project) -> None:
    done = llama.verb("run", "--all")
    assert done.code == 4
    assert "gated, and there is no token for it: plain (https://huggingface.co/a/b). Ask for access there" in done.err
    assert not (llama.base / "venv").exists()


def test_with_a_token_it_goes_on_and_no_file_holds_it(llama: Project, furnish: Callable[[str], None]) -> None:
    furnish("plain")
    done = llama.verb("run", "--all", HF_TOKEN="hf_0123456789")
    assert done.code == 0, done.err
    assert "hf_0123456789" not in done.out + done.err
    assert "token-missing" not in recorded(llama)
    assert llama.verb("run").code == 0  # what is prepared needs none


def test_a_login_whose_token_benchmarks_do_not_see_is_told_with_what_shows_it_to_them(llama: Project) -> None:
    file = llama.write(".cache/huggingface/token", "hf_0123456789")
    found = findings(llama.verb("doctor", "--json"))["token-missing"]
    assert f"export HF_TOKEN_PATH={file}" in found["remedy"]
    assert "token-missing" not in findings(llama.verb("doctor", "--json", HF_TOKEN_PATH=str(file)))


def test_prepare_tells_a_missing_token_and_prepares_the_others(llama: Project, furnish: Callable[[str], None]) -> None:
    furnish("plain")
    done = llama.verb("prepare")
    assert (done.code, "warning: gated, and there is no token for it: plain" in done.err) == (4, True)
    assert "refused: 401" in done.err


# What a run tells --------------------------------------------------------------------------------------------------


def test_a_run_tells_no_more_than_a_line_for_each_warning_and_one_for_all_notes(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    done = project.verb("run")
    facts = project.run().facts()["preflight"]
    assert done.code == 0
    warnings = [each for each in facts if each["severity"] == "warning"]
    notes = [each for each in facts if each["severity"] == "note"]
    lines = [line for line in done.err.splitlines() if line.startswith("warning: ") or "milabench doctor" in line]
    assert len(lines) == len(warnings) + bool(notes)
    assert json.dumps(facts)
    quiet = project.verb("run", "--quiet")
    assert quiet.err == ""
