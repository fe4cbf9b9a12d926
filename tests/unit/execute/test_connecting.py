"""What is said of a node that cannot be connected to, by how connecting fails."""

from __future__ import annotations

import errno

import asyncssh
import pytest

from milabench.execute.hosts.link import Link, plain, who
from milabench.execute.hosts.login import Login


def failed(number: int, address: str = "10.0.0.1") -> OSError:
    """Return an error as asyncio words it."""
    return OSError(number, f"Connect call failed ('{address}', 22)")


def of_several(*errors: OSError) -> OSError:
    return OSError(f"Multiple exceptions: {', '.join(map(str, errors))}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (failed(errno.EHOSTUNREACH), "cannot be reached (No route to host): see `ip route get`"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "cannot be reached (Network is unreachable)"),
        (failed(errno.ECONNREFUSED), "refuses the connection, nothing listens on that port"),
        (failed(errno.ETIMEDOUT), "gives no answer: the node is down"),
        (failed(errno.EACCES), "cannot be connected to: Permission denied"),
        (of_several(failed(errno.EHOSTUNREACH, "::1"), failed(errno.ECONNREFUSED)), "refuses the connection"),
        (of_several(failed(errno.ENETUNREACH, "::1"), failed(errno.EHOSTUNREACH)), "(Network is unreachable)"),
        (OSError("something else"), "cannot be connected to: something else"),
    ],
)
def test_each_way_is_told_in_the_words_of_the_operating_system(error: OSError, said: str) -> None:
    told = Link(Login(name="n1", address="10.0.0.1"), print)._trouble(plain(error))
    assert said in told
    assert "Connect call" not in told


@pytest.mark.parametrize(
    ("name", "host", "port", "jump", "told"),
    [
        ("n1", "10.0.0.1", 22, None, "node n1 (10.0.0.1)"),
        ("10.0.0.1", "10.0.0.1", 22, None, "node 10.0.0.1"),
        ("n1", "10.0.0.1", 2222, None, "node n1 (10.0.0.1; in ~/.ssh/config 10.0.0.1 port 2222)"),
        ("10.0.0.1", "10.0.0.9", 22, "j", "node 10.0.0.1 (in ~/.ssh/config 10.0.0.9 port 22, through j)"),
    ],
)
def test_what_the_users_configuration_makes_of_a_node_is_told(
    name: str, host: str, port: int, jump: str | None, told: str
) -> None:
    assert who(Login(name=name, address="10.0.0.1"), host, port, jump) == told


def test_a_port_of_the_system_file_is_no_port_of_the_configuration() -> None:
    told = who(Login(name="n1", address="10.0.0.1", port=2222), "10.0.0.1", 2222, None)
    assert told == "node n1 (10.0.0.1 port 2222)"


def test_a_jump_host_that_leads_nowhere_is_told_with_what_forbids_it() -> None:
    link = Link(Login(name="n1", address="10.0.0.1"), print)
    link._jump = "bench@gate"
    forbidden = asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed")
    assert link._trouble(forbidden).startswith("is not led to by bench@gate (open failed): see AllowTcpForwarding")
