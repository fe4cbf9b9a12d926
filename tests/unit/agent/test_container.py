"""What starts, ends and explains a container: exact words for podman, docker and apptainer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from milabench.agent import container as containers
from milabench.agent.container import Container, Inside
from milabench.system.containers import PROGRAMS

PODMAN = Container(executable="podman", image="example.org/bench:1", base="/base")
DOCKER = Container(executable="/usr/bin/docker", image="example.org/bench:1", base="/base")
APPTAINER = Container(executable="apptainer", image="/images/bench.sif", base="/base")
INSIDE = Inside(
    argv=["python3", "main.py", "a b"],
    cwd="/base/code",
    env={"HOME": "/base/home", "A": "1", "EMPTY": ""},
    name="milabench-0-one",
    agent="0:1",
    folders=("/runs/one", "/base/extra"),
    user="1000:100",
    userns="keep-id",
    limits={"nofile": (1024, 4096)},
)


def none(path: str) -> int | None:
    del path
    return None


def groups(**files: int) -> Callable[[str], int | None]:
    return lambda path: files.get(path.rpartition("/")[2])


def test_podman_is_told_all_that_a_process_has_without_a_container() -> None:
    assert containers.started(PODMAN, INSIDE, none) == [
        *("podman", "run", "--rm", "--network=host", "--ipc=host", "--pid=host", "--pull=never", "--log-driver=none"),
        *("--security-opt=label=disable", "--stop-timeout=0", "--replace", "--name=milabench-0-one"),
        "--label=milabench.agent=0:1",
        *("--user=1000:100", "--userns=keep-id", "--ulimit=nofile=1024:4096"),
        *("--volume=/base:/base", "--volume=/runs/one:/runs/one", "--workdir=/base/code"),
        *("--env=HOME=/base/home", "--env=A", "--env=EMPTY="),
        *("--entrypoint=", "example.org/bench:1", "python3", "main.py", "a b"),
    ]


def test_docker_first_removes_what_is_left_of_that_name() -> None:
    shell, option, script, name, *argv = containers.started(DOCKER, INSIDE, none)
    assert (shell, option, name) == ("sh", "-c", "milabench-0-one")
    assert script == '"$1" rm --force "$0" >/dev/null 2>&1; exec "$@"'
    assert argv[:2] == ["/usr/bin/docker", "run"]
    assert not {"--replace", "--userns=keep-id"} & set(argv)
    assert {"--name=milabench-0-one", "--user=1000:100", "--env=A", "--pull=never"} <= set(argv)


def test_apptainer_runs_a_file_with_its_own_words() -> None:
    assert containers.started(APPTAINER, INSIDE, none) == [
        *("apptainer", "exec", "--cleanenv", "--writable-tmpfs", "--home=/base/home"),
        *(
            "--mount=type=bind,source=/base,destination=/base",
            "--mount=type=bind,source=/runs/one,destination=/runs/one",
        ),
        *("--pwd=/base/code", "/images/bench.sif", "python3", "main.py", "a b"),
    ]


def test_a_root_file_system_is_an_overlay() -> None:
    for image in ("/srv/root", "/srv/root:O"):
        argv = containers.started(Container(executable="podman", image=image, base="/base"), INSIDE, none)
        assert argv[-5:] == ["--rootfs", "/srv/root:O", "python3", "main.py", "a b"]


def test_arguments_of_the_operator_come_after_ours_and_before_the_image() -> None:
    more = Container(executable="podman", image="i", base="/base", args=("--user=0:0", "-v", "/d:/d"))
    argv = containers.started(more, INSIDE, none)
    at = argv.index("i")
    assert argv[at - 3 : at] == ["--user=0:0", "-v", "/d:/d"]
    assert argv.index("--user=1000:100") < at - 3


@pytest.mark.parametrize("executable", ["podman", "docker"])
@pytest.mark.parametrize("args", [("--shm-size=16g",), ("-v", "/d:/d", "--shm-size", "16g")])
def test_shared_memory_of_a_size_is_the_containers_own(executable: str, args: tuple[str, ...]) -> None:
    """The node's has a size already: podman refuses another one, and docker passes over it."""
    argv = containers.started(Container(executable=executable, image="i", base="/base", args=args), INSIDE, none)
    assert [word for word in argv if word.startswith("--ipc")] == ["--ipc=private"]


@pytest.mark.parametrize(
    ("folder", "word"),
    [
        ("/a, b", "--volume=/a, b:/a, b"),
        ("/a:b", "--mount=type=bind,source=/a:b,target=/a:b"),
        ('/a:b,"c"', '--mount=type=bind,"source=/a:b,""c""","target=/a:b,""c"""'),
    ],
)
def test_folders_are_mounted_whatever_their_names(folder: str, word: str) -> None:
    inside = Inside(argv=["x"], cwd="/", env={}, folders=(folder,))
    assert word in containers.started(PODMAN, inside, none)


CUDA = {"podman": ["--device=nvidia.com/gpu=all"], "docker": ["--gpus=all"], "apptainer": ["--nv"]}
ROCM = {
    "podman": ["--device=/dev/kfd", "--device=/dev/dri", "--group-add=keep-groups"],
    "docker": ["--device=/dev/kfd", "--device=/dev/dri", "--group-add=44", "--group-add=105"],
    "apptainer": ["--rocm"],
}
XPU = {
    "podman": ["--device=/dev/dri", "--group-add=keep-groups"],
    "docker": ["--device=/dev/dri", "--group-add=44", "--group-add=105"],
    "apptainer": [],
}
HPU = {
    "podman": ["--device=/dev/accel", "--cap-add=sys_nice"],
    "docker": ["--runtime=habana", "--env=HABANA_VISIBLE_DEVICES=all", "--cap-add=sys_nice"],
    "apptainer": [],
}


@pytest.mark.parametrize("kind", ["podman", "docker", "apptainer"])
@pytest.mark.parametrize(("arch", "flags"), [("cuda", CUDA), ("rocm", ROCM), ("xpu", XPU), ("hpu", HPU)])
def test_a_container_is_shown_all_devices_of_its_vendor(kind: str, arch: str, flags: dict[str, list[str]]) -> None:
    asked = Container(executable=kind, image="i", base="/base", arch=arch)
    with_devices = containers.started(asked, INSIDE, groups(kfd=44, renderD128=105))
    without = containers.started(Container(executable=kind, image="i", base="/base"), INSIDE, none)
    assert [word for word in with_devices if word not in without] == flags[kind]


def test_infiniband_is_shown_beside_devices_where_the_node_has_it() -> None:
    asked = Container(executable="podman", image="i", base="/base", arch="cuda")
    assert "--device=/dev/infiniband" in containers.started(asked, INSIDE, groups(infiniband=0))
    assert "--device=/dev/infiniband" not in containers.started(PODMAN, INSIDE, groups(infiniband=0))


def test_the_environment_of_the_program_has_the_values_but_for_its_own_variables() -> None:
    inside = Inside(argv=["x"], cwd="/", env={"PATH": "/in", "SECRET": "s", "A": "two\nlines"})
    assert containers.environ(PODMAN, inside, {"PATH": "/out", "A": "0"}) == {
        "PATH": "/out",
        "A": "two\nlines",
        "SECRET": "s",
    }
    words = containers.started(PODMAN, inside, none)
    assert {"--env=PATH=/in", "--env=SECRET", "--env=A"} <= set(words)


def test_apptainer_takes_variables_by_a_prefix() -> None:
    inside = Inside(argv=["x"], cwd="/", env={"PATH": "/in", "HOME": "/h", "A": "1"})
    found = containers.environ(APPTAINER, inside, {"PATH": "/out"})
    assert found == {"PATH": "/out", "APPTAINERENV_PATH": "/in", "APPTAINERENV_A": "1"}
    older = Container(executable="singularity", image="i", base="/base")
    assert "SINGULARITYENV_A" in containers.environ(older, inside, {})


def test_of_a_nodes_environment_a_process_is_told_what_is_not_about_its_folders() -> None:
    node = {
        "PATH": "/out",
        "HOME": "/root",
        "LD_LIBRARY_PATH": "/lib",
        "CUDA_HOME": "/cuda",
        "UV_CACHE_DIR": "/c",
        "PIP_INDEX_URL": "u",
        "https_proxy": "p",
        "NCCL_DEBUG": "INFO",
        "HF_TOKEN": "t",
        "PIP_CONFIG_FILE": "/f",
    }
    assert containers.said(node, {"A": "1", "HF_TOKEN": "own"}, "/base") == {
        "PIP_INDEX_URL": "u",
        "https_proxy": "p",
        "NCCL_DEBUG": "INFO",
        "HF_TOKEN": "own",
        "PYTHONPATH": "",
        "PYTHONHOME": "",
        "PYTHONDONTWRITEBYTECODE": "",
        "HOME": "/base/cache/home",
        "PIP_CACHE_DIR": "/base/cache/pip",
        "UV_CACHE_DIR": "/base/cache/uv",
        "A": "1",
    }


def test_files_that_variables_name_are_found() -> None:
    env = {"PIP_FIND_LINKS": "/wheels file:///more https://example.org/x", "SSL_CERT_FILE": "/ca.pem", "A": "/not"}
    assert [*containers.files_of(env)] == ["/wheels", "/more", "/ca.pem"]
    assert [*containers.files_of({"UV_INDEX": "file:///simple https://x", "PIP_NO_INDEX": "1"})] == ["/simple"]


def test_containers_are_ended_and_removed_by_name() -> None:
    assert containers.ended(PODMAN, "n") == ["podman", "rm", "--force", "--ignore", "n"]
    assert containers.ended(DOCKER, "n") == ["/usr/bin/docker", "rm", "--force", "n"]
    assert containers.ended(APPTAINER, "n") is None


def test_a_name_is_that_of_the_same_process_of_the_same_run_only() -> None:
    name = containers.named("/runs/one", "bert.R1/é x", ["a"])
    assert name == containers.named("/runs/one", "bert.R1/é x", ["a"])
    assert name.startswith("milabench-")
    assert name.endswith("-bert.R1_x")
    others = {("/runs/two", "bert.R1/é x"), ("/runs/one", "bert.R1/e x")}
    assert name not in {containers.named(folder, tag, ["a"]) for folder, tag in others}
    assert len(containers.named("/", "x" * 500, [])) < 64


@pytest.mark.parametrize(
    ("container", "code", "last", "told"),
    [
        (PODMAN, 125, "Error: x: image not known", "the container cannot be started: x: image not known (podman, exit"),
        (PODMAN, 126, "Error: workdir", "its program cannot be run in the container: workdir (podman, exit code 126)"),
        (
            DOCKER,
            125,
            "docker: Error response from daemon: no",
            "cannot be started: Error response from daemon: no (docker",
        ),
        (DOCKER, 127, "docker: Error: exec: \"x\"\n\nRun 'docker run --help'", "its program is not in the container"),
        (APPTAINER, 255, "FATAL:   could not open image", "cannot be started: could not open image (apptainer, exit"),
        (PODMAN, 127, "sh: 1: x: not found", None),
        (PODMAN, 1, "Error: of the process", None),
        (PODMAN, 255, "Error: of the process", None),
        (APPTAINER, 125, "FATAL: of the process", None),
        (PODMAN, 125, "", None),
    ],
)
def test_an_exit_code_of_the_program_is_explained(container: Container, code: int, last: str, told: str | None) -> None:
    found = containers.explained(container, code, last.splitlines())
    assert (found is None) == (told is None)
    assert (told or "") in (found or "")


@pytest.mark.parametrize(
    ("image", "file"),
    [
        ("/a.sif", "/a.sif"),
        ("docker://example.org/bench:1", "/base/cache/images/example.org_bench_1-a643e54806.sif"),
    ],
)
def test_an_image_that_apptainer_fetches_is_a_file_below_the_base(image: str, file: str) -> None:
    assert containers.file_of(image, "/base") == file


def test_systems_name_the_programs_that_are_known_here() -> None:
    assert set(PROGRAMS) == set(containers.PROGRAMS)
