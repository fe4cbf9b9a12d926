"""What a system says of containers: the program that starts them, the image, the arguments of the start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from milabench.document import Node
from milabench.paths import expanded
from milabench.problems import Code, Problems, nearest

PROGRAMS = ("podman", "docker", "apptainer", "singularity")
_OF_FILES = ("apptainer", "singularity")  # an image without a scheme is a file, or a folder
_OF_HOME, _RELATIVE = ("~", "$HOME"), ("./", "../")
_TERMINAL = "there is no terminal"
_REMOVED = "a container is removed in any case"
_IDLE: Mapping[str, str] = {
    **dict.fromkeys(("-i", "-t", "-it", "-ti", "--interactive", "--tty"), _TERMINAL),
    "--rm": _REMOVED,
}
_REFUSED = ("-d", "--detach", "--name", "--replace", "--cidfile")  # a process would be gone before its container
_DETACHED = re.compile(r"-[itPq]*d[itPq]*")  # letters that take no value, put together


def arguments(given: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of a container's start, without those that do nothing."""
    return tuple(word for word in given if word not in _IDLE)


def image(option: str | None, docker_image: Node | None) -> str | None:
    """Return the image that a system names, by ``docker.image`` or else ``docker_image``; a path with its home folder.

    That is the home here, and the same path on each node.
    """
    named = option or (str(docker_image.value) if docker_image is not None else None)
    return str(expanded(named)) if named and named.startswith(_OF_HOME) else named


def check(given: Mapping[str, Any], image: str | None, system: Mapping[str, Node], problems: Problems) -> None:
    """Note what is wrong in the values of the options ``docker.*``, and the ``image``, at their places in a system."""
    docker = system.get("docker")
    entries = docker.value if docker is not None and isinstance(docker.value, dict) else {}
    executable = given.get("docker.executable")
    if image is not None:
        named = "docker.image" if given.get("docker.image") else "docker_image"
        node = entries["image"] if named == "docker.image" else system[named]
        _check_image(image, PurePath(executable or PROGRAMS[0]).name, f"system.{named}", node, problems)
    if executable is not None:
        _check_program(executable, image, entries["executable"], problems)
    if given.get("docker.args"):
        _check_arguments(given["docker.args"], entries["args"], problems)


def _check_image(image: str, program: str, path: str, node: Node, problems: Problems) -> None:
    """Note an image that is a path on nobody knows what folder: processes start in many."""
    is_file = program in _OF_FILES and "://" not in image
    if image.startswith(_RELATIVE) or image in (".", "..") or (is_file and not image.startswith("/")):
        other = ", or an image as docker://…" if program in _OF_FILES else ""
        message = f"{path} needs an absolute path (or one from ~){other}, not {node.shown}"
        problems.add(Code.BAD_CHOICE, message, node.mark, path=path)


def _check_program(executable: str, image: str | None, node: Node, problems: Problems) -> None:
    path, program = "system.docker.executable", PurePath(executable).name
    if program not in PROGRAMS:
        message = f"{path} needs one of {', '.join(PROGRAMS)}, or a path that ends in one, not {node.shown}"
        problems.add(Code.BAD_CHOICE, message, node.mark, path=path, suggestion=nearest(program, PROGRAMS))
    elif program == "docker" and image is not None and image.startswith("/"):
        message = f"{path}: docker starts images, and {image} is a folder: podman starts one (so does apptainer)"
        problems.add(Code.BAD_CHOICE, message, node.mark, path=path)


def _check_arguments(words: Sequence[str], node: Node, problems: Problems) -> None:
    path = "system.docker.args"
    items: Sequence[Node] = node.value if isinstance(node.value, list) else [node] * len(words)
    for word, item in zip(words, items, strict=False):
        if word in _IDLE:
            message = f"{path}: {word} does nothing: {_IDLE[word]}"
            problems.add(Code.IDLE_SYSTEM_KEY, message, item.mark, path=path)
        elif word.partition("=")[0] in _REFUSED or _DETACHED.fullmatch(word):
            message = f"{path}: {word} cannot be: milabench waits for a container, and names it"
            problems.add(Code.BAD_CHOICE, message, item.mark, path=path)
