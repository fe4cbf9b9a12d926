"""Processes in containers: what starts one, what ends it, what its program says. Pure.

The program that starts containers (podman, docker, apptainer) is the process that the agent starts in place of a
benchmark's own. The container has the node's network, process numbers and shared memory, as without it: ranks find each
other, no process is the first of its own world (which would not hear SIGTERM), and what a monitor sees is what runs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

Kind = Literal["podman", "docker", "apptainer"]
PROGRAMS: Mapping[str, Kind] = {
    "podman": "podman",
    "docker": "docker",
    "apptainer": "apptainer",
    "singularity": "apptainer",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where an image does not say its own
# The program reads these itself: the process gets them by value. All others it gets by name, out of the program's own
# environment: a value may have lines, and none of them (a secret may be one) is to be seen in a list of processes.
_OF_THE_PROGRAM = frozenset(
    (
        *("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD"),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
        *("DOCKER_HOST", "CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"),
    )
)
# What a node's own environment says to benchmarks and installers, as without a container; its folders are not there.
_SAID_BY_NODE = re.compile(
    r"(PIP|UV|HF|HUGGING_FACE|HUGGINGFACE|TRANSFORMERS|TORCH|TORCHINDUCTOR|PYTORCH|NCCL|RCCL|HCCL|CCL|GLOO|UCX|FI|TP|OMP"
    r"|MKL|KMP|CUDA|HSA|HIP|ROCR|ZE|HABANA|MILABENCH|WANDB|LC)_\w+"
    r"|LANG|TZ|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO"
    r"|(?i:(http|https|ftp|all|no)_proxy)"
)
_NOT_SAID = re.compile(
    r"CUDA_(HOME|PATH|ROOT)|PIP_(REQUIRE_VIRTUALENV|CACHE_DIR|CONFIG_FILE)|UV_(PYTHON|CACHE_DIR|INSTALL_DIR|CONFIG_FILE|TOOL)"
)
_FILES = re.compile(
    r"SSL_CERT_FILE|SSL_CERT_DIR|\w+_CA_BUNDLE|GIT_SSL_CAINFO|PIP_CERT|(PIP|UV)_(FIND_LINKS|\w*INDEX\w*|CONSTRAINT)"
)
# Images set these for their own Python: they would load other modules, or compile all of them at each start.
_EMPTIED = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
_INFINIBAND = "/dev/infiniband"
# What is ended by name has had its grace; podman before 4.0 takes no time when it removes.
_NO_GRACE = "--stop-timeout=0"
_SAFE = re.compile(r"[^A-Za-z0-9_.-]+")
LABEL = "milabench.agent"  # of a container: whose it is
_READABLE = 40  # characters of a tag in a name
# What a container's program says last when it fails itself, and how it begins.
_COMPLAINT = re.compile(r"^(?:Error|FATAL|docker|podman|ERRO\[\d+\])\s*:?\s+(.+)$")
_MEANINGS = {
    125: "the container cannot be started",
    126: "its program cannot be run in the container",
    127: "its program is not in the container",
    255: "the container cannot be started",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """The container of a process. ``executable`` starts it, with ``args`` of the operator's before the ``image``.

    ``base`` and ``folders`` are in it at their own paths. ``arch``: whose devices it is shown. ``digest``: what the
    image was when the plan was made, where it was there.
    """

    executable: str
    image: str
    base: str
    args: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    arch: str = "cpu"
    digest: str | None = None

    @property
    def kind(self) -> Kind:
        return PROGRAMS[PurePath(self.executable).name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A process that is to run in a container; ``env`` is what it gets besides the image's own variables.

    ``name`` is the container's, ``agent`` the mark of what starts it; ``folders`` are there besides the container's.
    ``user`` is ``uid:gid``, ``userns`` how podman maps it; ``limits`` are the node's, by the names that ulimit has for
    them.
    """

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    name: str | None = None
    agent: str | None = None
    folders: Sequence[str] = ()
    user: str = "0:0"
    userns: str = "host"
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def started(container: Container, inside: Inside, group: Callable[[str], int | None]) -> list[str]:
    """Return the argv that runs a process in a container, in the foreground.

    ``group`` tells the group of a device's file, None where there is no such file.
    What is left of an earlier container of that name is removed first.
    """
    if container.kind == "apptainer":
        return _apptainer(container, inside, group)
    rootfs = is_root(container)
    argv = [
        *(
            container.executable,
            "run",
            "--rm",
            "--network=host",
            _shared_memory(container.args),
            "--pid=host",
            "--pull=never",
        ),
        *("--log-driver=none", "--security-opt=label=disable", _NO_GRACE),
        *(["--replace"] if inside.name and container.kind == "podman" else []),
        *([f"--name={inside.name}"] if inside.name else []),
        *([f"--label={LABEL}={inside.agent}"] if inside.agent else []),
        f"--user={inside.user}",
        *([f"--userns={inside.userns}"] if container.kind == "podman" else []),
        *(f"--ulimit={name}={soft}:{hard}" for name, (soft, hard) in inside.limits.items()),
        *(_volume(folder) for folder in _mounted(container, inside)),
        f"--workdir={inside.cwd}",
        *(f"--env={word}" for word in _words(inside.env)),
        *_devices(container, inside, group),
        "--entrypoint=",
        *container.args,
        *(["--rootfs", f"{container.image.removesuffix(':O')}:O"] if rootfs else [container.image]),
        *inside.argv,
    ]
    if inside.name and container.kind == "docker":  # it has no --replace
        return ["sh", "-c", '"$1" rm --force "$0" >/dev/null 2>&1; exec "$@"', inside.name, *argv]
    return argv


def environ(container: Container, inside: Inside, own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the program that starts the container; ``own`` is the node's."""
    if container.kind != "apptainer":
        return {**own, **{name: value for name, value in inside.env.items() if name not in _OF_THE_PROGRAM}}
    prefix = "SINGULARITYENV_" if PurePath(container.executable).name == "singularity" else "APPTAINERENV_"
    return {**own, **{f"{prefix}{name}": value for name, value in inside.env.items() if name != "HOME"}}


def said(node: Mapping[str, str], given: Mapping[str, str], base: str) -> dict[str, str]:
    """Return the variables of a process in a container: what it is given, over what the node's environment says."""
    kept = {name: value for name, value in node.items() if _SAID_BY_NODE.fullmatch(name) and not _NOT_SAID.match(name)}
    caches = {"HOME": home(base), "PIP_CACHE_DIR": f"{base}/cache/pip", "UV_CACHE_DIR": f"{base}/cache/uv"}
    return {**kept, **dict.fromkeys(_EMPTIED, ""), **caches, **given}


def home(base: str) -> str:
    """Return the home folder of processes in containers, which an image may not have for who runs them."""
    return f"{base}/cache/home"


def files_of(env: Mapping[str, str]) -> Iterator[str]:
    """Yield the files and folders that variables name by their paths: certificates, folders of packages."""
    for name, value in env.items():
        if _FILES.fullmatch(name):
            words = (word.removeprefix("file://") for word in re.split(r"[\s,]+", value))
            yield from (word for word in words if word.startswith("/"))


def ended(container: Container, name: str) -> list[str] | None:
    """Return the argv that ends a container with all that is in it, and removes it; none where it is a process tree."""
    match container.kind:
        case "podman":
            return [container.executable, "rm", "--force", "--ignore", name]
        case "docker":
            return [container.executable, "rm", "--force", name]
        case "apptainer":
            return None


def named(folder: str, tag: str, argv: Sequence[str]) -> str:
    """Return the name of the container of a process: the same for the same process of the same run."""
    digest = hashlib.sha256("\0".join((folder, tag, *argv)).encode(errors="surrogateescape")).hexdigest()
    return f"milabench-{digest[:10]}-{_SAFE.sub('_', tag)[:_READABLE]}"


def explained(container: Container, code: int | None, last: Sequence[str]) -> str | None:
    """Return why a container could not be started, by its program's exit code and last words.

    None where they are those of the process in it: its code is the program's then.
    """
    if code not in _MEANINGS or (code == 255) != (container.kind == "apptainer"):
        return None
    complaints = (match[1] for line in reversed(last) if (match := _COMPLAINT.match(line.strip())))
    told = next(complaints, None)
    if told is None:
        return None
    return f"{_MEANINGS[code]}: {told} ({PurePath(container.executable).name}, exit code {code})"


def is_root(container: Container) -> bool:
    """Say whether the image is a root file system: a folder of the node."""
    return container.kind == "podman" and container.image.startswith("/")


def file_of(image: str, base: str) -> str:
    """Return the file, or the folder, of an apptainer image: one that has to be pulled is kept below the base."""
    if "://" not in image:
        return image
    digest = hashlib.sha256(image.encode()).hexdigest()[:10]
    return f"{base}/cache/images/{_SAFE.sub('_', image.partition('://')[2])[:_READABLE]}-{digest}.sif"


def _apptainer(container: Container, inside: Inside, group: Callable[[str], int | None]) -> list[str]:
    home = inside.env.get("HOME")
    return [
        *(container.executable, "exec", "--cleanenv", "--writable-tmpfs"),
        *(["--no-home"] if home is None else [f"--home={home}"]),
        *(f"--mount={_mount(folder, 'destination')}" for folder in _mounted(container, inside)),
        f"--pwd={inside.cwd}",
        *_devices(container, inside, group),
        *container.args,
        file_of(container.image, container.base),
        *inside.argv,
    ]


def _shared_memory(args: Sequence[str]) -> str:
    """Return whose shared memory a container has: the node's, or one that can have the size that is asked for.

    One that is named by hand wins, since the last word counts.
    """
    return "--ipc=private" if any(word.partition("=")[0] == "--shm-size" for word in args) else "--ipc=host"


def _mounted(container: Container, inside: Inside) -> list[str]:
    """Return the folders that are in the container, without those that lie in another of them."""
    folders = dict.fromkeys((container.base, *container.folders, *inside.folders))
    return [each for each in folders if not any(PurePath(each).is_relative_to(o) for o in folders if o != each)]


def _volume(folder: str) -> str:
    return f"--mount={_mount(folder)}" if ":" in folder else f"--volume={folder}:{folder}"


def _mount(folder: str, target: str = "target") -> str:
    """Return a mount of a folder at its own path; the words are those of a line of CSV."""
    words = ("type=bind", f"source={folder}", f"{target}={folder}")
    return ",".join('"' + word.replace('"', '""') + '"' if {",", '"'} & set(word) else word for word in words)


def _words(env: Mapping[str, str]) -> Iterator[str]:
    for name, value in env.items():
        yield f"{name}={value}" if name in _OF_THE_PROGRAM or not value else name


def _devices(container: Container, inside: Inside, group: Callable[[str], int | None]) -> Iterator[str]:
    """Yield what shows a container the accelerators: all of them, since variables choose among them by number."""
    kind = container.kind
    match container.arch:
        case "cuda":
            flags = {"podman": "--device=nvidia.com/gpu=all", "docker": "--gpus=all", "apptainer": "--nv"}
            yield flags[kind]
        case "rocm" if kind == "apptainer":
            yield "--rocm"
        case "rocm":
            yield from ("--device=/dev/kfd", "--device=/dev/dri", *_groups(inside, kind, group))
        case "xpu" if kind != "apptainer":
            yield from ("--device=/dev/dri", *_groups(inside, kind, group))
        case "hpu" if kind == "docker":
            yield from ("--runtime=habana", "--env=HABANA_VISIBLE_DEVICES=all", "--cap-add=sys_nice")
        case "hpu" if kind == "podman":
            yield from ("--device=/dev/accel", "--cap-add=sys_nice")
    if container.arch != "cpu" and kind != "apptainer" and group(_INFINIBAND) is not None:
        yield f"--device={_INFINIBAND}"


def _groups(inside: Inside, kind: Kind, group: Callable[[str], int | None]) -> Iterator[str]:
    """Yield what lets a user at devices that belong to groups; the node's numbers, since an image has other names."""
    if kind == "podman":
        yield from ["--group-add=keep-groups"] if inside.userns != "host" else []
        return
    found = (group(path) for path in ("/dev/kfd", "/dev/dri/renderD128"))
    yield from dict.fromkeys(f"--group-add={number}" for number in found if number is not None)
