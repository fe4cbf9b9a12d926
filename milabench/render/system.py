"""A system as each node tells of itself → a system file with what was found as comments, and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from milabench.amounts import size
from milabench.document import dump
from milabench.system.file import SSH_PORT
from milabench.system.types import Node, System
from milabench.untrusted import one_line

_HEAD = """\
# What each node said of itself stands in comments: it is asked again whenever nodes are used.
# Keys: docs/reference/system.md. Give it by --system.
"""
_OF_JOB = """\
# These nodes are those of the Slurm job {job}. Within it no file is needed: they are reached by srun then, and by SSH
# where a file names them.
"""
_HERE = ("environ", "ips", "indexes")  # what is of no use in a file


def text(system: System) -> str:
    """Return a system file that describes the nodes."""
    return "".join(f"{line}\n" for line in _lines(system))


def document(system: System) -> str:
    """Return the same system, and what each node said of itself, as JSON."""
    probed = {
        name: {key: value for key, value in facts.items() if key not in _HERE} for name, facts in system.probed.items()
    }
    return json.dumps({"version": 1, "system": _top(system), "nodes": probed}, indent=1) + "\n"


def _top(system: System) -> dict[str, Any]:
    given = system.options.given
    key = {"sshkey": given["sshkey"]} if "sshkey" in given else {}
    ssh = {name: value for name, value in given.items() if name.startswith("ssh.")}
    options = {"options": ssh} if ssh else {}
    return {"arch": system.arch, **key, **options, "nodes": [_node(node) for node in system.nodes]}


def _node(node: Node) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": node.name, "ip": node.address}
    if node.main:
        entry["main"] = True
    if node.user is not None:
        entry["user"] = node.user
    if node.port != SSH_PORT:
        entry["port"] = node.port
    return entry


def _lines(system: System) -> Iterator[str]:
    yield from _HEAD.splitlines()
    if system.allocation is not None:
        yield from _OF_JOB.format(job=system.allocation.job).splitlines()
    yield "system:"
    top = _top(system)
    nodes = top.pop("nodes")
    yield from (f"  {line}" for line in dump(top).splitlines())
    yield "  nodes:"
    for node, entry in zip(system.nodes, nodes, strict=True):
        first, *rest = dump(entry).splitlines()
        yield f"    - {first}"
        yield from (f"      {line}" for line in rest)
        yield from (f"      # {one_line(line)}" for line in _told(node, system.probed.get(node.name, {})))


def _told(node: Node, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a node said of itself: devices, processor, software, base."""
    devices = Counter((str(each.get("name")), each.get("memory_bytes")) for each in facts.get("devices") or ())
    for (name, memory), count in devices.items():
        driver = f", driver {facts['driver']}" if facts.get("driver") else ""
        yield f"{count} × {name}{f' ({size(memory)})' if memory else ''}{driver}"
    memory = f", {size(facts['memory_bytes'])} of memory" if facts.get("memory_bytes") else ""
    yield f"{facts.get('cpus')} cores ({facts.get('cpu_name')}){memory}"
    python = f", Python {node.python_version} ({node.python})" if node.python_version else ""
    here = ", this machine" if node.local else ""
    yield f"{facts.get('hostname')}: {facts.get('platform')}{python}{here}"
    if node.shares_base is not None:
        yield f"has the base of {node.shares_base or 'the machine that milabench runs on'}"
