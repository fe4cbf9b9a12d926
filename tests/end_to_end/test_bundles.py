"""A suite packed on one machine is installed, prepared and run on another where there is no network, and none is tried.

The other machine is another base, in a namespace of the kernel without any network, which counts what is sent there.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path
from textwrap import dedent

import pytest

import without_network
from containers import Engine
from harness import OBSERVED, PRINTER, Project, Result, folder, shell
from repository import Repository

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no program git")
# Stands for the data of a model's hub: what is not there is fetched, which fails where there is no network.
PREPARE = """
    import os, pathlib, socket

    made = pathlib.Path(os.environ["MILABENCH_DIR_DATA"], "own", "latest")
    if not made.exists():
        socket.create_server(("127.0.0.1", 0)).close()
        made.parent.mkdir(parents=True, exist_ok=True)
        (made.parent / "blob").write_text("words")
        made.symlink_to("blob")
"""
OWN = """
    import os, pathlib
    import iniconfig

    assert pathlib.Path(os.environ["MILABENCH_DIR_DATA"], "own", "latest").read_text() == "words"
"""
# Derives its data anew each time, and says with what it was measured, and in which version of what comes by git.
DERIVE = """
    import os, pathlib

    own = pathlib.Path(os.environ["MILABENCH_DIR_DATA"], "own")
    (own / "derived").write_text((own / "word").read_text().upper())
"""
TELL = """
    import os, pathlib

    with open(os.path.join(os.environ["MILABENCH_DIR_EXTRA"], "seen"), "a") as seen:
        print(pathlib.Path(os.environ["MILABENCH_DIR_DATA"], "own", "derived").read_text(), file=seen)
"""
NO_NAMESPACE = "no network namespace can be made here"
WITHOUT = (sys.executable, without_network.__file__, "--tried")


@pytest.fixture(scope="module")
def packed(index: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of a suite with a third party's package, data, and a definition by git; what it is of is gone."""
    project = Project(tmp_path_factory.mktemp("packed") / "there")
    project.folder.mkdir()
    repository = Repository(project.folder / "repository")
    repository.commit(main=dedent(OBSERVED))
    project.write("own/main.py", dedent(OWN) + dedent(OBSERVED))
    project.write("own/requirements.in", "iniconfig>=2\n")
    project.write("own/prepare.py", PREPARE)
    project.write("tool/print.sh", PRINTER)
    program = {**shell(""), "command": {"argv": ["sh", "print.sh"], "cwd": "tool"}}
    project.suite(own=folder("own"), external={**folder(""), "definition": {"git": str(repository.path)}}, tool=program)
    bundle = project.folder.with_name("suite.tar")
    for arguments in (("install",), ("prepare",), ("bundle-env", "--data", "-o", str(bundle))):
        done = project.verb(*arguments, **index)
        assert done.code == 0, done.err
    shutil.rmtree(project.folder)
    return bundle


def without(project: Project, *arguments: str) -> Result:
    """Run milabench where there is no network, and assert that nothing has tried to use one."""
    count = project.folder / "tried"
    environ = {"HOME": str(project.folder / "home"), "UV_CACHE_DIR": str(project.folder / "uv"), "PIP_FIND_LINKS": ""}
    done = project.milabench(*arguments, under=(*WITHOUT, str(count)), **environ)
    if done.code == without_network.NOT_HERE:
        pytest.skip(NO_NAMESPACE)
    assert count.read_text() == "0", done.err
    return done


def test_a_bundle_is_installed_prepared_and_run_without_a_network(project: Project, packed: Path) -> None:
    for verb in ("install", "prepare", "run"):
        done = without(project, verb, "--bundle", str(packed), "--offline")
        assert done.code == 0, done.err
    found = project.report()
    assert {name: each["outcomes"] for name, each in found.items()} == {
        "own": {"early_stop": 1},
        "external": {"early_stop": 1},
        "tool": {"early_stop": 1},
    }
    assert (project.base / "data/own/latest").is_symlink()
    frozen = project.run().facts()["environments"]["own"]
    assert [name for name in frozen if name.startswith("iniconfig==")]


def test_pip_installs_from_a_bundle_too(project: Project, packed: Path) -> None:
    done = without(project, "run", "--all", "--bundle", str(packed), "--installer", "pip")
    assert done.code == 0, done.err


def test_what_is_not_in_a_bundle_is_told_before_anything_is_installed(project: Project, packed: Path) -> None:
    without(project, "install", "--bundle", str(packed), "--select", "external")
    (folder_of_bundle,) = (path for path in (project.base / "bundles").iterdir() if path.is_dir())
    (folder_of_bundle / "code/own/requirements.in").write_text("iniconfig>=2\nattrs\n")
    done = without(project, "install", "--bundle", str(packed))
    assert done.code == 4
    assert "own/requirements.in is another since it was packed" in done.err
    assert not (project.base / "venv/own").exists()


def test_each_bundle_on_a_base_measures_its_own_data_and_commit(project: Project) -> None:
    repository = Repository(project.folder / "repository")
    project.write("own/main.py", dedent(TELL) + dedent(OBSERVED))
    project.write("own/prepare.py", dedent(DERIVE))
    project.suite(own=folder("own"), external={**folder(""), "definition": {"git": str(repository.path)}})
    for word in ("one", "two"):
        repository.commit(main=dedent(TELL).replace("read_text()", f"read_text(), '{word}'") + dedent(OBSERVED))
        project.write("base/data/own/word", word)
        for arguments in (("install", "--refresh"), ("prepare",), ("bundle-env", "--data", "-o", f"{word}.tar")):
            done = project.verb(*arguments)
            assert done.code == 0, done.err
    other = project.folder / "other"
    for word in ("one", "two", "one"):
        done = project.milabench("run", "--all", "--bundle", f"{word}.tar", "--base", str(other))
        assert done.code == 0, done.err
    assert (other / "extra/own/seen").read_text().split() == ["ONE", "TWO", "ONE"]
    assert (other / "extra/external/seen").read_text().splitlines() == ["ONE one", "TWO two", "ONE one"]
    done = project.milabench("run", "--bundle", "two.tar", "--select", "own", "--base", str(other))
    assert (done.code, "not prepared, or with other arguments: own" in done.err) == (4, True)


def test_data_that_no_bundle_brought_is_not_written_over(project: Project) -> None:
    project.write("own/main.py", OBSERVED)
    project.suite(own=folder("own"))
    project.write("base/data/own/word", "packed")
    assert project.verb("bundle-env", "--data", "-o", "suite.tar").code == 0
    mine = project.write("other/data/own/word", "mine")
    done = project.milabench("install", "--bundle", "suite.tar", "--base", "other")
    assert (done.code, f"no bundle brought them: {mine}: move what is yours away" in done.err) == (4, True)
    assert mine.read_text() == "mine"


def test_a_try_to_use_the_network_is_seen(project: Project) -> None:
    count = project.folder / "tried"
    tries = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), 5)\nexcept OSError: pass"
    argv = [*WITHOUT, str(count), sys.executable, "-c", tries]
    code = os.spawnv(os.P_WAIT, argv[0], argv)
    if code == without_network.NOT_HERE:
        pytest.skip(NO_NAMESPACE)
    assert (code, count.read_text()) == (0, "1")


def test_data_that_is_not_prepared_is_not_packed(project: Project) -> None:
    project.write("own/main.py", OBSERVED)
    project.write("own/prepare.py", "")
    project.suite(own=folder("own"))
    done = project.verb("bundle-env", "--data", "-o", "suite.tar")
    assert (done.code, "not prepared: own. Type: milabench prepare" in done.err) == (4, True)
    assert not (project.folder / "suite.tar").exists()


def test_a_package_that_cannot_be_had_makes_no_bundle(project: Project) -> None:
    project.write("own/main.py", OBSERVED)
    project.write("own/requirements.in", "no-such-package-for-milabench\n")
    project.suite(own=folder("own"))
    done = project.verb("bundle-env", "-o", "suite.tar", PIP_NO_INDEX="1")
    assert (done.code, "no-such-package-for-milabench" in done.err) == (4, True)
    assert not list(project.folder.glob("*.tar*"))
    assert [path.name for path in (project.base / "cache/packing").iterdir()] == [".lock"]


def test_what_is_packed_in_a_container_is_installed_in_one(project: Project, podman: Engine) -> None:
    project.environ.update(podman.environ)
    system = {"system": {"docker": {"executable": podman.program, "image": podman.image}}}
    project.environ["MILABENCH_SYSTEM"] = str(project.write("system.yaml", json.dumps(system)))
    project.write("plain/main.py", OBSERVED)
    project.suite(plain=folder("plain"))
    done = project.verb("bundle-env", "-o", "suite.tar")
    assert done.code == 0, done.err
    version = re.search(r" with Python (3\.\d+)$", done.err, re.MULTILINE)
    assert version, done.err
    done = project.milabench("install", "--bundle", "suite.tar", "--base", "other")
    assert done.code == 0, done.err
    assert _of_another_python(project.folder / "suite.tar", project.folder / "old.tar") == version[1]
    done = project.milabench("install", "--bundle", "old.tar", "--base", "third")
    assert (done.code, f"it is for Python 3.9, and the image has {version[1]}" in done.err) == (4, True), done.err
    assert not (project.folder / "third/venv").exists()


def _of_another_python(bundle: Path, old: Path) -> str:
    """Write a bundle that says it is for Python 3.9; return what it says it is for as it is."""
    with tarfile.open(bundle) as packed, tarfile.open(old, "w") as repacked:
        for member in packed:
            content = packed.extractfile(member)
            if member.name == "manifest.json":
                assert content is not None
                manifest = json.load(content)
                python = str(manifest["about"]["python"])
                manifest["about"]["python"] = "3.9"
                content = io.BytesIO(json.dumps(manifest).encode())
                member.size = len(content.getbuffer())
            repacked.addfile(member, content)
    return python


def test_packages_are_those_of_the_vendor_that_the_system_names(project: Project) -> None:
    project.write("system.yaml", "system: {arch: cuda, nodes: [{name: far, ip: 192.0.2.1, main: true}]}")
    project.write("plain/main.py", OBSERVED)
    project.write("plain/requirements.cpu.txt", "no-such-package-for-milabench\n")
    project.write("plain/requirements.cuda.txt", "")
    project.suite(plain=folder("plain"))
    done = project.verb("bundle-env", "--system", "system.yaml", "-o", "suite.tar")
    assert done.code == 0, done.err
    assert "for cuda on" in done.err
