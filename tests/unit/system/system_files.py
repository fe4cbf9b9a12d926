"""A system file as tests write it, and what a machine with two devices says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from milabench.system import System, resolve

GIB = 1024**3
FACTS: Mapping[str, Any] = {
    "hostname": "here",
    "ips": ["192.168.11.11"],
    "arch": "cuda",
    "cpus": 32,
    "cpu_name": "Some CPU",
    "memory_bytes": 256 * GIB,
    "environ": {"HOME": "/home/user", "PATH": "/bin"},
    "devices": [
        {"id": 0, "name": "GPU", "uuid": "GPU-0", "memory_bytes": 80 * GIB, "numa": 0},
        {"id": 1, "name": "GPU", "uuid": "GPU-1", "memory_bytes": 80 * GIB, "numa": 1},
    ],
}
CPU_FACTS = {**FACTS, "arch": "cpu", "devices": []}
OVERVIEW = """\
system:
   arch: cuda                 # Default arch
   sshkey: ~/.ssh/id_ed25519  # sshkey used in remote milabench operations
   # Docker image to use
   docker_image: ghcr.io/mila-iqia/milabench:${system.arch}-nightly

   # Nodes list
   nodes:
      # Alias used to reference the node
      - name: manager
        ip: 192.168.11.11
        port: 5000
        main: true     # Use this node as the rank=0 node or not
        user: manager  # User to use in remote milabench operations

      - name: node1
        ip: 192.168.11.12
        main: false
        user: username
"""


def from_file(folder: Path, text: str, facts: Mapping[str, Any] = FACTS, **overrides: Any) -> System:
    path = folder / "system.yaml"
    path.write_text(text)
    return resolve(path, facts, overrides)
