"""What a system file says, checked; the keys it may have are in ``language.py``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from milabench.document import Node
from milabench.options import OPTIONS, Options, Unfit, place_of, read_value
from milabench.problems import Code, Problems, nearest
from milabench.system import containers
from milabench.system.addresses import spelled
from milabench.system.hostkey import is_hostkey
from milabench.system.language import KEYS
from milabench.system.types import ARCHES

IDLE_KEYS: Mapping[str, str] = {
    **dict.fromkeys(("base", "config", "run_name"), "it is an option of the command line"),
    **{
        name.partition(".")[0]: OPTIONS[name].idle
        for name in ("dash", "executor.timeout", "github.path", "noterm", "use_uv")
    },
}
SSH_PORT = 22
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """One node as the file has it; ``port`` is that of SSH, and its devices win over those of ``system.gpu``.

    ``local``: it is known to be this machine, whatever its name and address are.
    """

    name: str
    address: str
    port: int = SSH_PORT
    user: str | None = None
    main: bool = False
    gpu_count: int | None = None
    gpu_capacity_bytes: int | None = None
    cpus: int | None = None
    python: str | None = None
    hostkey: str | None = None
    interface: str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFile:
    """All that a system file says; None is what it does not say."""

    arch: str | None = None
    nodes: tuple[NodeEntry, ...] = ()
    container: str | None = None
    options: Options = field(default_factory=Options)


def read(node: Node, problems: Problems) -> SystemFile:
    """Return what all layers of a system say, in their one form (``layers.read``); what is wrong is noted."""
    return _Reader(problems).system(node)


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._files: dict[str, str] = {}  # what each option is set by: a file, a variable or the command line

    def system(self, node: Node) -> SystemFile:
        entries = self._entries(node, "system", KEYS, idle=IDLE_KEYS)
        if "docker_image" in entries:
            self._text(entries["docker_image"], "system.docker_image")
        options = Options(self._options(entries))
        image = containers.image(options["docker.image"], entries.get("docker_image"))
        containers.check(options.given, image, entries, self._problems)
        return SystemFile(
            arch=self._arch(entries["arch"]) if "arch" in entries else None,
            nodes=self._nodes(entries["nodes"]) if "nodes" in entries else (),
            container=image,
            options=options,
        )

    def _options(self, entries: Mapping[str, Node]) -> dict[str, Any]:
        """Return the values of all options that are given, by their names."""
        given: dict[str, Any] = {}
        for section in ("dirs", "docker", "gpu"):
            inside = KEYS[section].inside
            found = self._entries(entries[section], f"system.{section}", inside) if section in entries else {}
            for key, node in found.items():
                self._option(f"{section}.{key}", node, given)
        if "sshkey" in entries:
            self._option("sshkey", entries["sshkey"], given)
        if "options" in entries and self._is_map(entries["options"], "system.options"):
            leaves = dict(_leaves(entries["options"], ""))
            for name, node in leaves.items():
                self._option(name, node, given)
            self._needs_auto(leaves, given)
        return given

    def _option(self, name: str, node: Node, given: dict[str, Any], where: str | None = None) -> None:
        option, where = OPTIONS.get(name), where or place_of(name)
        if option is None or node.value is None:
            return
        if option.idle:
            message = f"{where} does nothing: {option.idle}"
            self._problems.add(Code.IDLE_SYSTEM_KEY, message, node.key_mark, path=where)
        self._files[name] = node.file
        try:
            given[name] = read_value(option, node)
        except Unfit as error:
            self._wrong(node, where, str(error), error.code)

    def _needs_auto(self, leaves: Mapping[str, Node], given: Mapping[str, Any]) -> None:
        for name in ("sizer.add", "sizer.mult", "sizer.optimized"):
            if given.get(name) and not given.get("sizer.auto"):
                message = f"{name} does nothing without sizer.auto: set that as well"
                self._problems.add(Code.NEEDS_AUTO, message, leaves[name].key_mark, path=place_of(name))

    def _arch(self, node: Node) -> str | None:
        if node.value in ARCHES:
            return str(node.value)
        message = f"system.arch needs one of {', '.join(ARCHES)}, not {node.shown}"
        near = nearest(node.value, ARCHES) if isinstance(node.value, str) else None
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
            else:
                self._is_another(found, item, [other for other, _ in nodes])
            nodes.append((found, item))
        mains = [(entry, item) for entry, item in nodes if entry.main]
        for entry, item in mains[1:]:
            message = f"is main as {mains[0][0].name} is: only one node can be"
            self._wrong(item, f"node {entry.name}", message, Code.TWO_MAINS)
        if nodes and not mains:
            message = f"no node is main: the first one, {nodes[0][0].name}, is taken (write main: true)"
            self._problems.add(Code.NO_MAIN, message, node.mark, path="system.nodes")
        return tuple(sorted((entry for entry, _ in nodes), key=lambda entry: not entry.main))

    def _is_another(self, entry: NodeEntry, item: Node, before: Sequence[NodeEntry]) -> None:
        """See that no node before is the same machine."""
        place = (spelled(entry.address), entry.port)
        if same := next((each.name for each in before if (spelled(each.address), each.port) == place), None):
            at = item.value["ip"] if isinstance(item.value, dict) and "ip" in item.value else item
            message = f"has the address {entry.address} and the port {entry.port} of {same}: a machine is one node"
            self._wrong(at, f"node {entry.name}", message, Code.SAME_MACHINE)

    def _node(self, node: Node, path: str) -> NodeEntry | None:
        entries = self._entries(node, path, KEYS["nodes"].inside)
        if node.value is None:
            self._wrong(node, path, "needs a map, not null")
        if not isinstance(node.value, dict):
            return None
        if "name" not in entries:
            if not any(nearest(key, ["name"]) for key in node.value if key not in KEYS["nodes"].inside):
                self._wrong(node, path, "needs a name", Code.MISSING_KEY)
            return None
        name = self._text(entries["name"], f"{path}.name")
        if not NAME.fullmatch(name):
            message = f"is {name!r}, and ends up in names of files: letters, digits and . _ - are allowed"
            self._wrong(entries["name"], f"{path}.name", message, Code.BAD_NAME)
        gpu: dict[str, Any] = {}
        inside = self._entries(entries["gpu"], f"{path}.gpu", KEYS["gpu"].inside) if "gpu" in entries else {}
        for key, entry in inside.items():
            if self._files.get(f"gpu.{key}", entry.file) == entry.file:  # else a variable or the command line wins
                self._option(f"gpu.{key}", entry, gpu, f"{path}.gpu.{key}")
        port = entries.get("sshport") or entries.get("port")
        main = entries.get("main")
        if main is not None and not isinstance(main.value, bool):
            self._wrong(main, f"{path}.main", f"needs true or false, not {main.shown}")
        return NodeEntry(
            name=name,
            address=self._text(entries["ip"], f"{path}.ip") if "ip" in entries else name,
            port=self._integer(port, f"{path}.port", 1, 65535) if port else SSH_PORT,
            user=self._text(entries["user"], f"{path}.user") if "user" in entries else None,
            main=main is not None and main.value is True,
            gpu_count=gpu.get("gpu.count"),
            gpu_capacity_bytes=gpu.get("gpu.capacity"),
            cpus=self._integer(entries["cpus"], f"{path}.cpus", 1) if "cpus" in entries else None,
            python=self._text(entries["python"], f"{path}.python") if "python" in entries else None,
            hostkey=self._hostkey(entries["hostkey"], f"{path}.hostkey") if "hostkey" in entries else None,
            interface=self._text(entries["interface"], f"{path}.interface") if "interface" in entries else None,
        )

    # Values ------------------------------------------------------------------------------------------------------

    def _entries(
        self, node: Node, path: str, known: Collection[str], idle: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, Node]:
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
                message = f"{where} does nothing: {idle[key]}"
                self._problems.add(Code.IDLE_SYSTEM_KEY, message, entry.key_mark, path=where)
            elif not key.startswith("x-"):
                message = f"{key!r} has no meaning in {path}"
                near = nearest(key, known)
                self._problems.add(Code.UNKNOWN_KEY, message, entry.key_mark, path=where, suggestion=near)
        return found

    def _is_map(self, node: Node, path: str) -> bool:
        if not isinstance(node.value, dict) and node.value is not None:
            self._wrong(node, path, f"needs a map, not {node.shown}")
        return isinstance(node.value, dict)

    def _text(self, node: Node, path: str) -> str:
        if isinstance(node.value, dict | list) or node.value is None or node.value == "":
            self._wrong(node, path, f"needs text, not {node.shown}")
        return node.spelled

    def _hostkey(self, node: Node, path: str) -> str:
        text = self._text(node, path)
        if not is_hostkey(text):
            message = (
                f"needs a public key ('ssh-ed25519 AAAA…') or its fingerprint ('SHA256:…'), not {node.shown}:"
                " `ssh-keyscan` with the node's address prints its keys, each after that address"
            )
            self._wrong(node, path, message, Code.BAD_HOSTKEY)
        return text

    def _integer(self, node: Node, path: str, least: int, most: int = 1_000_000) -> int:
        value = node.value
        if isinstance(value, str) and value.isdecimal() and len(value) < 20:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            self._wrong(node, path, f"needs a whole number, not {node.shown}")
            return least
        if not least <= value <= most:
            self._wrong(node, path, f"needs a number between {least} and {most}, not {node.shown}", Code.OUT_OF_RANGE)
            return least
        return value

    def _wrong(self, node: Node, path: str, message: str, code: Code = Code.WRONG_TYPE) -> None:
        if not self._problems.failed(node.mark):
            self._problems.add(code, f"{path} {message}", node.mark, path=path)


def _leaves(node: Node, prefix: str) -> Iterator[tuple[str, Node]]:
    """Yield the options in nested maps by their dotted names."""
    assert isinstance(node.value, dict)
    for key, entry in node.value.items():
        name = f"{prefix}{key}"
        if isinstance(entry.value, dict) and name not in OPTIONS:
            yield from _leaves(entry, f"{name}.")
        else:
            yield name, entry
