"""What a system says of containers: the program that starts them, the image, the arguments of the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from milabench.document import Node
from milabench.problems import Code, Problems, nearest

PROGRAMS = ("podman", "docker", "apptainer", "singularity")
_TERMINAL = "there is no terminal"
_REMOVED = "a container is removed in any case"
_IDLE: Mapping[str, str] = {
    **dict.fromkeys(("-i", "-t", "-it", "-ti", "--interactive", "--tty"), _TERMINAL),
    "--rm": _REMOVED,
}
_REFUSED = ("-d", "--detach", "--name", "--replace", "--cidfile")  # a process would be gone before its container


def arguments(given: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of a container's start, without those that do nothing."""
    return tuple(word for word in given if word not in _IDLE)


def check(given: Mapping[str, Any], docker: Node | None, problems: Problems) -> None:
    """Note what is wrong in the values of the options ``docker.*``; ``docker`` is where the file has them."""
    entries = docker.value if docker is not None and isinstance(docker.value, dict) else {}
    executable, image = given.get("docker.executable"), given.get("docker.image")
    if executable is not None:
        _check_program(executable, image, entries["executable"], problems)
    if given.get("docker.args"):
        _check_arguments(given["docker.args"], entries["args"], problems)


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
        elif word.partition("=")[0] in _REFUSED:
            message = f"{path}: {word} cannot be: milabench waits for a container, and names it"
            problems.add(Code.BAD_CHOICE, message, item.mark, path=path)
