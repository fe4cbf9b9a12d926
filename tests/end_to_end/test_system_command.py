"""``milabench system`` on machines with several networks."""

from __future__ import annotations

import subprocess

import pytest

from harness import Project

# A machine with a network and a bridge for containers, whose address comes first in the kernel's table.
_NETWORKS = """
ip link set lo up
ip link add net0 type bridge && ip addr add 192.0.2.2/24 dev net0 && ip link set net0 up
ip link add pods0 type bridge && ip addr add 10.88.0.1/16 dev pods0 && ip link set pods0 up
ip route add default via 192.0.2.1 dev net0 onlink
exec "$@"
"""
_THERE = ["unshare", "--map-root-user", "--net", "sh", "-e", "-c", _NETWORKS, "sh"]


def test_a_machine_has_the_address_of_its_default_route(project: Project) -> None:
    try:
        subprocess.run([*_THERE, "true"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no network namespace can be made here")
    done = project.milabench("system", under=_THERE)
    told = [line.split()[-1] for line in done.out.splitlines() if "ip:" in line]
    assert (done.code, told) == (0, ["192.0.2.2"]), done
