"""What is said of a node that cannot be connected to, by how connecting fails."""

from __future__ import annotations

import errno

import pytest

from milabench.execute.hosts.link import Link, plain
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
