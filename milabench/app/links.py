"""How each node of a system is reached: by ``srun`` in a Slurm allocation, else by SSH."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from milabench.app.fleet import Opens
from milabench.app.options import Options
from milabench.execute.hosts import Host
from milabench.execute.hosts.boot import Boot
from milabench.paths import expanded
from milabench.system.file import SSH_PORT
from milabench.system.types import Allocation, Node, System

if TYPE_CHECKING:
    from milabench.execute.hosts.login import Login

_SILENCE = 12  # times the interval in which a node is asked whether it is there


def opens(options: Options, tell: Callable[[str], object]) -> Opens:
    """Return what opens the pipe to a node that is not this machine; the agent is packed when the first one asks.

    ``tell`` is told of each host key that is new and trusted, and of a node whose agent takes long to start.
    """

    @functools.cache
    def boot() -> Boot:
        return Boot.made(options.environ, tell)

    def open_(node: Node, system: System) -> AbstractAsyncContextManager[Host]:
        if system.allocation is not None:
            return _by_slurm(node, system.allocation, boot, options)
        from milabench.execute.hosts.ssh import SSHHost  # asyncssh takes a while to import

        silence_s = _SILENCE * float(system.options["ssh.keepalive"])
        return SSHHost(login(node, system, options), boot(), options.environ, silence_s, tell)

    return open_


def login(node: Node, system: System, options: Options) -> Login:
    """Return how a node is logged into."""
    from milabench.execute.hosts.login import Login

    key = system.options["sshkey"]
    return Login(
        name=node.name,
        address=node.address,
        port=None if node.port == SSH_PORT else node.port,
        user=node.user,
        key=expanded(key) if key else None,
        hostkey=node.hostkey,
        accept_new=options.accept_new_host_keys,
        python=node.python or "python3",
        connect_s=float(system.options["ssh.connect"]),
        keepalive_s=float(system.options["ssh.keepalive"]),
    )


def _by_slurm(
    node: Node, allocation: Allocation, boot: Callable[[], Boot], options: Options
) -> AbstractAsyncContextManager[Host]:
    from milabench.execute.hosts.slurm import Placed, SlurmHost

    placed = Placed(job=allocation.job, node=node.name, python=node.python or "python3")
    return SlurmHost(placed, boot(), options.environ)
