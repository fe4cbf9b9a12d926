"""Which way leads to another node: the address it has, the interface that packets leave by, and this one's address."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

_DISCARD = 9  # nothing is sent to it: connecting a datagram socket only asks for the route
ROOT = Path("/")


def route(to: str, root: Path = ROOT) -> dict[str, Any]:
    """Return ``address``, ``own`` and ``interface``; None is not known. ``error`` says why there is no way."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(to, _DISCARD, type=socket.SOCK_DGRAM)[0]
    except OSError as error:  # a name that nobody knows
        return _nowhere(f"{to} is known under no address here: {error.strerror}")
    address = str(where[0])
    try:
        with closing(socket.socket(family, kind)) as asking:
            asking.connect(where)
            own = str(asking.getsockname()[0])
    except OSError as error:
        return _nowhere(f"there is no route to {address} here: {error.strerror}", address)
    return {"address": address, "own": own, "interface": interface(own, root) or leaving(address, root), "error": None}


def interface(own: str, root: Path = ROOT) -> str | None:
    """Return the interface that has an IPv6 address: of others the kernel's files do not say it."""
    wanted = ip_address(own.partition("%")[0])
    with suppress(OSError):
        for line in (root / "proc/net/if_inet6").read_text().splitlines():
            fields = line.split()
            if IPv6Address(int(fields[0], 16)) == wanted:
                return fields[5]
    return None


def leaving(address: str, root: Path = ROOT) -> str | None:
    """Return the interface by which packets for an IPv4 address leave: that of the narrowest route."""
    there = ip_address(address.partition("%")[0])
    if there.version != 4:
        return None
    if there.is_loopback:
        return "lo"
    fitting = [(mask.bit_count(), name) for name, net, mask in _routes(root) if int(there) & mask == net]
    return max(fitting, key=lambda each: each[0])[1] if fitting else None


def _routes(root: Path) -> Iterator[tuple[str, int, int]]:
    """Yield interface, network and mask of each route that is up; the kernel writes numbers as they lie in memory."""
    with suppress(OSError):
        for line in (root / "proc/net/route").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[3], 16) & 1:
                net, mask = (int.from_bytes(bytes.fromhex(fields[n])[::-1], "big") for n in (1, 7))
                yield fields[0], net, mask


def _nowhere(why: str, address: str | None = None) -> dict[str, Any]:
    return {"address": address, "own": None, "interface": None, "error": why}
