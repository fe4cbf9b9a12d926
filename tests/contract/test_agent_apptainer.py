"""Processes by apptainer, of which there is a stand-in: it takes the words and variables that apptainer documents."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agents import assert_ends, launch, pid_in, talk
from milabench.agent import images
from milabench.agent.container import Container, file_of
from milabench.execute.hosts.local import LocalHost
from milabench.outcome import Exit
from places import TEXTS

STAND_IN = """\
#!{python}
import json, os, sys

words = sys.argv[1:]
options = []
if words[0] == "pull":
    if os.path.exists(words[1]):
        sys.exit(os.write(2, b"FATAL:   image file already exists") and 255)
    sys.exit(open(words[1], "x").write(words[2]) and 0)  # its folder has to be there
assert words.pop(0) == "exec"
while words[0].startswith("--"):
    options.append(words.pop(0))
image = words.pop(0)
if not os.path.exists(image):
    sys.exit(os.write(2, f"FATAL:   could not open image {{image}}\\n".encode()) and 255)
given = {{n.removeprefix("APPTAINERENV_"): v for n, v in os.environ.items() if n.startswith("APPTAINERENV_")}}
home = [word.partition("=")[2] for word in options if word.startswith("--home=")]
with open(image + ".json", "w") as file:
    json.dump(options, file)
os.chdir(next(word.partition("=")[2] for word in options if word.startswith("--pwd=")))
os.execvpe(words[0], words, {{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home[0], **given}})
"""
TELLS = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


@pytest.fixture
def container(tmp_path: Path) -> Container:
    program = tmp_path / "bin/apptainer"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    image = tmp_path / "bench.sif"
    image.touch()
    return Container(executable=str(program), image=str(image), base=str(tmp_path), arch="cuda")


def ended(folder: Path, container: Container, *argv: str, **env: str) -> Exit:
    async def story(host: LocalHost) -> Exit:
        return await (await host.start(launch(folder, "", argv=argv, env=env, container=container))).wait()

    found: Exit = talk(story, NCCL_DEBUG="INFO", CONDA_PREFIX="/conda")
    return found


def test_words_and_variables_arrive_as_they_are(container: Container, tmp_path: Path) -> None:
    env = {f"T{number}": text for number, text in enumerate(TEXTS.values())}
    assert ended(tmp_path, container, sys.executable, "-c", TELLS, *TEXTS.values(), **env).code == 0
    words, found = json.loads((tmp_path / "one.stdout").read_text())
    assert words == [*TEXTS.values()]
    assert {name: value for name, value in found.items() if name in env} == env
    assert (found["NCCL_DEBUG"], found["HOME"], found.get("CONDA_PREFIX")) == (
        "INFO",
        f"{tmp_path}/cache/home",
        None,
    )
    options = json.loads((tmp_path / "bench.sif.json").read_text())
    assert {"--cleanenv", "--nv", f"--pwd={tmp_path}"} <= set(options)
    assert f"--mount=type=bind,source={tmp_path},destination={tmp_path}" in options


def test_its_processes_end_as_a_tree(container: Container, tmp_path: Path) -> None:
    script = "setsid sh -c 'trap \"\" TERM; echo $$ > left; sleep 1000' & echo $$ > pid; touch mark; wait"

    async def story(host: LocalHost) -> Exit:
        process = await host.start(launch(tmp_path, script, container=container))
        while not (tmp_path / "mark").exists() or not (tmp_path / "left").exists():
            await asyncio.sleep(0.02)
        await process.stop("interrupt", 0.3)
        return await process.wait()

    assert talk(story).cause == "interrupt"
    for name in ("pid", "left"):
        assert_ends(pid_in(tmp_path / name))


def test_an_image_that_is_not_there_is_the_reason(container: Container, tmp_path: Path) -> None:
    Path(container.image).unlink()
    assert ended(tmp_path, container, "true").error == (
        f"the container cannot be started: could not open image {container.image} (apptainer, exit code 255)"
    )


def test_an_image_is_fetched_once_for_nodes_that_share_a_base(container: Container, tmp_path: Path) -> None:
    published = replace(container, image="docker://e.org/i:1")
    argv = images.fetched(published)
    assert argv is not None
    for _ in range(2):
        subprocess.run(argv, check=True)
    assert Path(file_of(published.image, str(tmp_path))).read_text() == "docker://e.org/i:1"
