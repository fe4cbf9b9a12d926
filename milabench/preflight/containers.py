"""What is found of containers: the program that starts them, and the image, on every node that is to run in one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from milabench.agent.container import Container, file_of, is_root
from milabench.agent.images import pulled
from milabench.plan.site import Image
from milabench.preflight.types import Finding

_TOLD = 3  # nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a node says of its ``program`` and of the image; ``problem`` is what keeps it from being known."""

    program: str | None = None
    version: str = ""
    image: Image | None = None
    problem: str = ""

    @classmethod
    def of(cls, reply: Mapping[str, Any]) -> Found:
        """Return it as an agent replies."""
        image = reply.get("image")
        return cls(
            program=reply.get("program"),
            version=reply.get("version", ""),
            image=None if image is None else Image(**image),
            problem=reply.get("problem", ""),
        )


def findings(container: Container, found: Mapping[str, Found]) -> Iterator[Finding]:
    """Yield what is not there, or not the same everywhere."""
    if lacking := [node for node, each in found.items() if each.program is None]:
        yield _no_program(container, _on(lacking, found))
    for problem in dict.fromkeys(each.problem for each in found.values() if each.problem):
        nodes = [node for node, each in found.items() if each.problem == problem]
        yield _unusable(container, problem, _on(nodes, found))
    there = {node: each for node, each in found.items() if each.program is not None and not each.problem}
    if absent := [node for node, each in there.items() if each.image is None]:
        yield _no_image(container, _on(absent, found))
    images = {node: each.image for node, each in there.items() if each.image is not None}
    if len({each.id for each in images.values()}) > 1:
        yield _differing(container, images)


def _on(nodes: list[str], found: Mapping[str, Found]) -> str:
    """Return where that is, nothing where there is one node alone."""
    if len(found) < 2:
        return ""
    more = f" and {len(nodes) - _TOLD} more" if len(nodes) > _TOLD else ""
    return f" on {', '.join(nodes[:_TOLD])}{more}"


def _no_program(container: Container, where: str) -> Finding:
    return Finding(
        code="no-container-program",
        severity="blocking",
        subject=container.executable,
        what=f"there is no program {container.executable}{where}, which is to start the containers",
        consequence="no benchmark can start",
        remedy="install it there, or name another (docker.executable of the system: podman, docker, apptainer)",
    )


def _unusable(container: Container, problem: str, where: str) -> Finding:
    return Finding(
        code="container-program-fails",
        severity="blocking",
        subject=container.executable,
        what=f"{container.executable} does not say what {container.image} is{where}: {problem}",
        consequence="no benchmark can start",
        remedy=f"see what it says by hand: {shlex.join(_looking(container))}",
    )


def _looking(container: Container) -> list[str]:
    """Return the argv that shows what an image is, or where it is a folder whether its program runs at all."""
    if container.kind == "apptainer":
        return [container.executable, "inspect", file_of(container.image, container.base)]
    return [container.executable, *(["--version"] if is_root(container) else ["image", "inspect", container.image])]


def _no_image(container: Container, where: str) -> Finding:
    argv = pulled(container)
    known = "install fetches it; by hand, type: " + shlex.join(argv) if argv else "put it there, or name another"
    return Finding(
        code="no-image",
        severity="blocking",
        subject=container.image,
        what=f"the container image {container.image} is not there{where}",
        consequence="no benchmark can start",
        remedy=known,
    )


def _differing(container: Container, images: Mapping[str, Image]) -> Finding:
    by_image: dict[str, list[str]] = {}
    for node, image in images.items():
        by_image.setdefault(image.name, []).append(node)
    told = "; ".join(f"{', '.join(nodes[:_TOLD])} {short(name)}" for name, nodes in list(by_image.items())[:_TOLD])
    return Finding(
        code="images-differ",
        severity="blocking",
        subject=container.image,
        what=f"{container.image} is not the same image on all nodes: {told}",
        consequence="their numbers would be of different software",
        remedy=f"fetch it anew on each ({container.executable} pull), or name it by its digest (name@sha256:…)",
    )


def short(digest: str) -> str:
    """Return as much of a digest as tells images apart; the path of a folder as it is."""
    return digest[:19] if digest.startswith("sha256:") else digest
