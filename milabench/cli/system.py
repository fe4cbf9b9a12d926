"""``milabench system``."""

from __future__ import annotations

import sys
from typing import Any

import click

from milabench.cli.shared import arch_option, base_option, carry_out, connection_options, read_options
from milabench.errors import UsageError


@click.command()
@click.option("--hosts", metavar="A,B,…", help="Nodes by SSH: [user@]host[:port] each, the main one first.")
@click.option(
    "--hostfile", metavar="FILE", help="The same, one a line; a file for mpirun will do (`slots=8`, MPICH's `:8`)."
)
@click.option("--slurm", is_flag=True, help="The nodes of the Slurm allocation that milabench runs in.")
@click.option("--override", multiple=True, metavar="KEY=VALUE", help="Such as system.sshkey=~/.ssh/id_cluster.")
@base_option
@arch_option
@connection_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def system(hosts: str | None, hostfile: str | None, slurm: bool, as_json: bool, **values: Any) -> int:
    """Print a system file: of this machine, or of nodes that are asked what they are. Changes nothing on them.

    \b
    milabench system --hosts node1,node2,admin@node3:2222 > cluster.yaml
    milabench run --all --config standard --system cluster.yaml
    """
    if slurm and (hosts or hostfile):
        raise UsageError("--slurm: the allocation says which nodes: leave out --hosts and --hostfile")
    from milabench.app.system import Asked, describe
    from milabench.console import Console
    from milabench.render import system as page

    named = tuple(word.strip() for word in (hosts or "").split(",") if word.strip())
    if hosts is not None and not named:
        raise UsageError("--hosts: no node is named: give [user@]host[:port], several with commas between them")
    asked = Asked(hosts=named, hostfile=hostfile, slurm=slurm)
    found = carry_out(describe(asked, read_options(values), Console()))
    sys.stdout.write(page.document(found) if as_json else page.text(found))
    return 0
