"""What a system file says, checked: ``KEYS`` is the list of what it may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from milabench import document, expression
from milabench.document import Node, plain
from milabench.interpolation import Interpolator
from milabench.problems import Code, Problems, nearest
from milabench.system.types import ARCHES
from milabench.tokens import ExpressionError

KEYS: Mapping[str, str] = {
    "arch": "architecture of the accelerators: cuda, rocm, xpu, hpu or cpu",
    "dirs": "folders other than those under the base",
    "docker": "container: {executable, image, base, args}",
    "docker_image": "container image that benchmarks run in",
    "gpu": "accelerators of each node that was not probed: {count, capacity}",
    "nodes": "the machines: a list of {name, ip, user, main, port, sshport}",
    "options": "options by their dotted path",
    "sshkey": "key file for SSH",
}
NODE_KEYS = ("name", "ip", "user", "main", "port", "sshport")
DOCKER_KEYS = ("executable", "image", "base", "args")
GPU_KEYS = ("count", "capacity")
IDLE_KEYS = ("base", "config", "dash", "executor", "github", "noterm", "run_name", "use_uv")
SSH_PORT = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """One node as the file has it; ``port`` is that of SSH."""

    name: str
    address: str
    port: int = SSH_PORT
    user: str | None = None
    main: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFile:
    """All that a system file says; None is what it does not say."""

    arch: str | None = None
    nodes: tuple[NodeEntry, ...] = ()
    gpu_count: int | None = None
    gpu_capacity_bytes: int | None = None
    container: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path, environ: Mapping[str, str], problems: Problems) -> SystemFile:
    """Return what a file says, with ``${system.arch}``-like references replaced; what is wrong is noted."""
    root = document.read(path)
    content = root.value if isinstance(root.value, dict) else {}
    if "system" not in content and not any(nearest(key, ["system"]) for key in content):
        message = "an older file without the key 'system:'; its content is read as if it stood under it"
        problems.add(Code.NO_SYSTEM_KEY, message, root.mark)
        content = {"system": root.replaced({key: node for key, node in content.items() if key != "multirun"})}
    for key, node in content.items():
        if key == "multirun":
            message = "'multirun' is not supported yet and ignored"
            problems.add(Code.IDLE_SYSTEM_KEY, message, node.key_mark, path=key)
        elif key != "system" and not key.startswith("x-"):
            message = f"{key!r} has no meaning at the top of a system file"
            problems.add(Code.UNKNOWN_KEY, message, node.key_mark, path=key, suggestion=nearest(key, ["system"]))
    if "system" not in content:
        return SystemFile()
    references = Interpolator(content, content.__getitem__, problems, environ=environ)
    return _Reader(problems).system(references.resolve("system"))


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def system(self, node: Node) -> SystemFile:
        path = "system"
        entries = self._entries(node, path, tuple(KEYS), idle=IDLE_KEYS)
        docker = self._entries(entries["docker"], f"{path}.docker", DOCKER_KEYS) if "docker" in entries else {}
        gpu = self._entries(entries["gpu"], f"{path}.gpu", GPU_KEYS) if "gpu" in entries else {}
        options: dict[str, Any] = {}
        if "options" in entries and self._is_map(entries["options"], f"{path}.options"):
            options.update(plain(entries["options"]))
        for key in ("dirs", "docker"):
            if key in entries and self._is_map(entries[key], f"{path}.{key}"):
                options[key] = plain(entries[key])
        if "sshkey" in entries:
            options["sshkey"] = self._text(entries["sshkey"], f"{path}.sshkey")
        image = docker.get("image") or entries.get("docker_image")
        capacity = gpu.get("capacity")
        return SystemFile(
            arch=self._arch(entries["arch"]) if "arch" in entries else None,
            nodes=self._nodes(entries["nodes"]) if "nodes" in entries else (),
            gpu_count=self._integer(gpu["count"], f"{path}.gpu.count", 0) if "count" in gpu else None,
            gpu_capacity_bytes=self._size(capacity, f"{path}.gpu.capacity") if capacity else None,
            container=self._text(image, f"{path}.docker.image") if image else None,
            options=options,
        )

    def _arch(self, node: Node) -> str | None:
        if node.value in ARCHES:
            return str(node.value)
        word = str(node.value)
        message = f"system.arch needs one of {', '.join(ARCHES)}, not {word!r}"
        near = nearest(word, ARCHES)
        self._problems.add(Code.BAD_CHOICE, message, node.mark, path="system.arch", suggestion=near)
        return None

    def _nodes(self, node: Node) -> tuple[NodeEntry, ...]:
        """Return the nodes, the main one first."""
        if not isinstance(node.value, list):
            self._wrong(node, "system.nodes", f"needs a list of nodes, not {node.kind}")
            return ()
        nodes: list[tuple[NodeEntry, Node]] = []
        for index, item in enumerate(node.value):
            found = self._node(item, f"system.nodes[{index}]")
            if found is None:
                continue
            if any(found.name == other.name for other, _ in nodes):
                self._wrong(item, f"system.nodes[{index}]", f"has the name {found.name} of another", Code.EQUAL_NAMES)
            nodes.append((found, item))
        mains = [(entry, item) for entry, item in nodes if entry.main]
        if len(mains) > 1:
            (first, _), (second, item) = mains[:2]
            message = f"is main as {first.name} is: only one node can be"
            self._wrong(item, f"node {second.name}", message, Code.TWO_MAINS)
        if nodes and not mains:
            message = f"no node is main: the first one, {nodes[0][0].name}, is taken (write main: true)"
            self._problems.add(Code.NO_MAIN, message, node.mark, path="system.nodes")
        return tuple(sorted((entry for entry, _ in nodes), key=lambda entry: not entry.main))

    def _node(self, node: Node, path: str) -> NodeEntry | None:
        entries = self._entries(node, path, NODE_KEYS)
        if not isinstance(node.value, dict):
            return None
        if "name" not in entries:
            self._wrong(node, path, "needs a name", Code.MISSING_KEY)
            return None
        name = self._text(entries["name"], f"{path}.name")
        port = entries.get("sshport") or entries.get("port")
        main = entries.get("main")
        if main is not None and not isinstance(main.value, bool):
            self._wrong(main, f"{path}.main", f"needs true or false, not {main.kind}")
        return NodeEntry(
            name=name,
            address=self._text(entries["ip"], f"{path}.ip") if "ip" in entries else name,
            port=self._integer(port, f"{path}.port", 1, 65535) if port else SSH_PORT,
            user=self._text(entries["user"], f"{path}.user") if "user" in entries else None,
            main=main is not None and main.value is True,
        )

    # Values ------------------------------------------------------------------------------------------------------

    def _entries(self, node: Node, path: str, known: tuple[str, ...], idle: tuple[str, ...] = ()) -> dict[str, Node]:
        """Return the entries with known keys that are not null."""
        found: dict[str, Node] = {}
        if not self._is_map(node, path) or not isinstance(node.value, dict):
            return found
        for key, entry in node.value.items():
            where = f"{path}.{key}"
            if key in known:
                if entry.value is not None:
                    found[key] = entry
            elif key in idle:
                message = f"{where} does nothing: it is an option of the command line"
                self._problems.add(Code.IDLE_SYSTEM_KEY, message, entry.key_mark, path=where)
            elif not key.startswith("x-"):
                message = f"{key!r} has no meaning in {path}"
                near = nearest(key, known)
                self._problems.add(Code.UNKNOWN_KEY, message, entry.key_mark, path=where, suggestion=near)
        return found

    def _is_map(self, node: Node, path: str) -> bool:
        if not isinstance(node.value, dict) and node.value is not None:
            self._wrong(node, path, f"needs a map, not {node.kind}")
        return isinstance(node.value, dict)

    def _text(self, node: Node, path: str) -> str:
        if isinstance(node.value, dict | list) or node.value is None or node.value == "":
            self._wrong(node, path, f"needs text, not {node.kind}")
        return node.text if node.text is not None else str(node.value)

    def _integer(self, node: Node, path: str, least: int, most: int = 1_000_000) -> int:
        value = node.value
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            self._wrong(node, path, f"needs a whole number, not {node.kind}")
            return least
        if not least <= value <= most:
            self._wrong(node, path, f"needs a number between {least} and {most}, not {value}", Code.OUT_OF_RANGE)
            return least
        return value

    def _size(self, node: Node, path: str) -> int | None:
        try:
            return expression.size(node.value if isinstance(node.value, int | float | str) else "")
        except ExpressionError as error:
            self._wrong(node, path, f"is {error.message}: {plain(node)!r}", Code.BAD_UNIT)
            return None

    def _wrong(self, node: Node, path: str, message: str, code: Code = Code.WRONG_TYPE) -> None:
        if not self._problems.failed(node.mark):
            self._problems.add(code, f"{path} {message}", node.mark, path=path)
