"""The way to another node, as the kernel's files have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from milabench.agent.route import interface, leaving

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
ib0	0000000A	00000000	0001	0	0	0	000000FF	0	0	0
down	0000010A	00000000	0000	0	0	0	0000FFFF	0	0	0
"""
ADDRESSES = """\
00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000007 02 40 00 80       eth1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "proc" / "net"
    folder.mkdir(parents=True)
    (folder / "route").write_text(ROUTES)
    (folder / "if_inet6").write_text(ADDRESSES)
    return tmp_path


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.168.1.7", "eth0"),
        ("10.1.2.3", "ib0"),  # the narrower route is down
        ("8.8.8.8", "eth0"),
        ("127.0.0.1", "lo"),
        ("fd00::1", None),
    ],
)
def test_packets_leave_by_the_narrowest_route_that_is_up(root: Path, address: str, name: str | None) -> None:
    assert leaving(address, root) == name


@pytest.mark.parametrize(
    ("own", "name"), [("fd00::7", "eth1"), ("::1", "lo"), ("fd00::8", None), ("192.168.1.2", None)]
)
def test_an_address_of_ones_own_is_that_of_an_interface(root: Path, own: str, name: str | None) -> None:
    assert interface(own, root) == name


def test_a_kernel_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    assert (leaving("10.0.0.1", tmp_path), interface("fd00::1", tmp_path)) == (None, None)
