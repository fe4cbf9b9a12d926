"""Addresses as people and kernels write them."""

from __future__ import annotations

import functools
from contextlib import suppress
from ipaddress import ip_address


def is_address(text: str) -> bool:
    """Say whether a text is an IP address, be it with the zone of a link."""
    try:
        ip_address(_without_zone(text))
    except ValueError:
        return False
    return True


def is_loopback(text: str) -> bool:
    """Say whether an address is each machine's own."""
    return text == "localhost" or (is_address(text) and ip_address(_without_zone(text)).is_loopback)


@functools.lru_cache(maxsize=1 << 14)
def spelled(text: str) -> str:
    """Return an address as all are compared, since one of IPv6 can be written in many ways; a name as it is."""
    with suppress(ValueError):
        return str(ip_address(text))
    return text


def bare(host: str) -> str:
    """Return a host's name without its domain, as all are compared; an address as it is."""
    return host if is_address(host) else host.casefold().partition(".")[0]


def _without_zone(text: str) -> str:
    return text.partition("%")[0]  # which Python knows of IPv6 alone
