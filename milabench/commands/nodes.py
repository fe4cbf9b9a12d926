"""A command on several nodes, or as a client with its server."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from milabench.commands.base import Change, Command, ListCommand, Rendered, TransparentCommand, Unplaced
from milabench.commands.launchers import (
    AccelerateLaunchCommand,
    TorchrunAllGPU,
    rendezvous_port,
    rendezvous_timeout,
)
from milabench.utils import select_nodes

if TYPE_CHECKING:
    from typing_extensions import Self

    from milabench.pack import BasePackage

_LOOPBACK = ("localhost", "127.0.0.1", "::1")  # the node that the command is for anyway
SILENT = "nolog"  # in a tag: the process measures nothing


class SSHCommand(TransparentCommand):
    """The same command on another node: the one whose name or address is ``host``.

    Which way leads there is the runner's business, so that the ``ssh`` options that milabench's takes do nothing.
    """

    def __init__(self, executor: Command, host: str, *ssh_argv: object, **options: Any) -> None:
        del ssh_argv
        super().__init__(executor, **{key: options[key] for key in options if key not in ("user", "key", "port")})
        self.host = host

    @property
    def options(self) -> dict[str, Any]:
        nodes = self.pack.config["system"]["nodes"]
        named = {node["ip"]: node["name"] for node in reversed(nodes)} | {node["name"]: node["name"] for node in nodes}
        if self.host in named:
            return {**super().options, "node": named[self.host]}
        if self.host in _LOOPBACK:
            return super().options
        raise TypeError(f"SSHCommand: no node has the name or address {self.host}: there are {', '.join(named)}")


class DockerRunCommand(TransparentCommand):
    """The same command: the system's container image is put around every process when the plan is made."""

    def __init__(self, executor: Command, config: object = None, *docker_argv: object, **options: Any) -> None:
        del config, docker_argv
        super().__init__(executor, **options)


class ForeachNode(ListCommand):
    """A command on each of the benchmark's ``num_machines`` nodes, the main one first; the tag ends in a node's name.

    With one node it is the command itself. Subclasses change what a node runs (``make_new_node_executor``) or what
    one node alone does (``single_node``).
    """

    def __init__(self, executor: Command, use_docker: bool = True, **options: Any) -> None:
        del use_docker  # containers are the plan's business
        super().__init__(**options)
        self.executor = executor

    @property
    def pack(self) -> BasePackage:
        return self.executor.pack

    @property
    def options(self) -> dict[str, Any]:
        return {**self.executor.options, **self._options}

    @property
    def nodes(self) -> list[Mapping[str, Any]]:
        config = self.pack.config
        return select_nodes(config["system"]["nodes"], config.get("num_machines", 1))

    @property
    def executors(self) -> tuple[Command, ...]:
        """Made when they are asked for: the package may have been placed since."""
        nodes = self.nodes
        if len(nodes) == 1:
            return (self.single_node(),)
        made = ((node, self.make_new_node_executor(rank, node, self.executor)) for rank, node in enumerate(nodes))
        return tuple(SSHCommand(command, node["name"]) for node, command in made)

    @executors.setter
    def executors(self, commands: tuple[Command, ...]) -> None:
        """They follow from the one command; a list's constructor sets none here."""
        assert not commands

    def single_node(self) -> Command:
        """Return what runs where there is one node."""
        return self.executor

    def make_new_node_pack(self, rank: int, node: Mapping[str, Any], base: Command) -> BasePackage:
        """Return the package as a node sees it: with that node's devices, its ``gpu`` and ``cpu`` in ``system``."""
        silent = [] if rank == 0 else [SILENT]  # the main node's ranks measure for all
        seen = _moved(base.pack, self.nodes[0], node)
        return seen.copy({"tag": [*seen.config["tag"], str(node["name"]), *silent]})

    def make_new_node_executor(self, rank: int, node: Mapping[str, Any], base: Command) -> Command:
        """Return what a node runs."""
        return base.copy(self.make_new_node_pack(rank, node, base))

    def packs(self) -> Iterator[BasePackage]:
        yield from self.executor.packs()

    def with_packs(self, change: Change) -> Self:
        clone = copy.copy(self)
        clone.executor = self.executor.with_packs(change)
        return clone

    def commands(self) -> Iterator[Rendered]:
        """Yield the processes, each with its place among the nodes, how many these are, and its first rank."""
        first_rank, executors = 0, self.executors
        for rank, executor in enumerate(executors):
            for pack, argv, options in executor.commands():
                place = {"rank": options.get("rank", rank), "nodes": len(executors), "first_rank": first_rank}
                yield pack, argv, {**options, **self._options, **place}
                first_rank += options.get("ranks", 0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.executor!r})"


class TorchrunAllNodes(ForeachNode):
    """A script under torchrun on every node, a rank per device; rank 0 on the main node."""

    def __init__(self, executor: Command, *torchrun_argv: object, **options: Any) -> None:
        super().__init__(self.make_base_executor(TorchrunAllGPU, executor, *torchrun_argv, **options))

    @staticmethod
    def make_base_executor(
        launcher: type[TorchrunAllGPU], executor: Command, *torchrun_argv: object, **options: Any
    ) -> TorchrunAllGPU:
        """Return what one node runs; ``launcher`` takes torchrun's options."""
        return launcher(executor, *torchrun_argv, **options)

    def make_new_node_executor(self, rank: int, node: Mapping[str, Any], base: Command) -> Command:
        made = super().make_new_node_executor(rank, node, base)
        assert isinstance(made, TorchrunAllGPU)
        if (wanted := base.pack.config.get("devices")) and not made.pack.config.get("devices"):
            main, ids = self.nodes[0]["name"], ", ".join(map(str, wanted))
            lacking = f"{node['name']} has none in the place of {main}'s {ids}"
            raise Unplaced(f"torchrun starts a rank on each device of every node, and {lacking}")
        made.wrapper_argv = [
            *made.wrapper_argv,
            f"--nnodes={len(self.nodes)}",
            "--rdzv-backend=static",  # another one may choose which node has rank 0, and who is the host
            f"--rdzv-endpoint={_endpoint(self.nodes[0]['ip'])}:{rendezvous_port(self)}",
            f"--node-rank={rank}",
            f"--local-addr={node['ip']}",
            *(f"--rdzv-conf={word}" for word in rendezvous_timeout(self)),
        ]
        return made


class AccelerateAllNodes(ForeachNode):
    """A script under ``accelerate launch`` on every node; on one device the script by itself."""

    def single_node(self) -> Command:
        if len(self.pack.config.get("devices") or ()) > 1:
            return AccelerateLaunchCommand(self.executor, 0)
        return self.executor

    def make_new_node_executor(self, rank: int, node: Mapping[str, Any], base: Command) -> Command:
        made = super().make_new_node_executor(rank, node, base)
        here, there = (len(each.pack.config.get("devices") or ()) for each in (base, made))
        if here != there:
            uneven = f"{self.nodes[0]['name']} has {here} for it, {node['name']} has {there}"
            raise Unplaced(f"accelerate starts as many processes on every node, one on each device, and {uneven}")
        return AccelerateLaunchCommand(made, rank)


class ClientServer(ListCommand):
    """A client that measures and a server that it asks: the server starts first and is ended when the client has.

    ``different_nodes``: the server runs on the second of the benchmark's ``num_machines`` nodes (``{nodes[1].ip}``),
    where it has several; with devices of that node in the places of its own.
    """

    def __init__(
        self, pack: BasePackage, client: Command, server: Command, different_nodes: bool = False, **options: Any
    ) -> None:
        nodes = select_nodes(pack.config["system"]["nodes"], pack.config.get("num_machines", 1))
        if different_nodes and len(nodes) > 1:
            server = SSHCommand(server.with_packs(lambda each: _moved(each, nodes[0], nodes[1])), nodes[1]["name"])
        super().__init__(server.set_run_options(service=True), client, **options)
        self._whole = pack

    @property
    def pack(self) -> BasePackage:
        return self._whole

    def with_packs(self, change: Change) -> Self:
        clone = super().with_packs(change)
        clone._whole = change(self._whole)
        return clone

    @staticmethod
    def new_client_pack(pack: BasePackage, has_logs: bool = True) -> BasePackage:
        return _part(pack, "client", has_logs)

    @staticmethod
    def new_server_pack(pack: BasePackage, has_logs: bool = True) -> BasePackage:
        return _part(pack, "server", has_logs)


def _like(ids: Sequence[int], mains: Sequence[int] | None, nodes: Sequence[int] | None) -> list[int]:
    """Return a node's devices for a process that has ``ids`` of the main one's: all for all, else in their places."""
    if mains is None or nodes is None:
        return list(ids)
    if list(ids) == list(mains):
        return list(nodes)
    return [there for here, there in zip(mains, nodes, strict=False) if here in ids]


def _moved(pack: BasePackage, main: Mapping[str, Any], node: Mapping[str, Any]) -> BasePackage:
    """Return a package as another node than the main one sees it: with its devices, ``gpu`` and ``cpu``."""
    config = pack.config
    seen = {key: node[key] for key in ("gpu", "cpu") if key in node}
    return pack.copy(
        {
            "devices": _like(config.get("devices") or [], main.get("devices"), node.get("devices")),
            "system": {**config["system"], **seen},
        }
    )


def _endpoint(address: str) -> str:
    """Return an address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def _part(pack: BasePackage, name: str, has_logs: bool) -> BasePackage:
    return pack.copy({"tag": [*pack.config["tag"], name, *([] if has_logs else [SILENT])]})
