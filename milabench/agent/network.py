"""What an agent looks for on its node's network: a port that is free, another node, a server that is ready."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from contextlib import closing, suppress
from typing import Any

_LAST_PORT = 65535
_LOOK_S = 2.0  # a server that takes longer to answer is not ready
_LOOPBACK = ("127.0.0.1", "::1")


def free_port(lowest: int, taken: Collection[int]) -> int:
    """Return the first port from ``lowest`` on that nothing listens on and that is not ``taken``.

    One that only waits for late packets of an earlier connection is free: who listens next says that it does not mind.
    Raises OSError where there is none.
    """
    for port in range(lowest, _LAST_PORT + 1):
        if port not in taken and _can_listen(port):
            return port
    raise OSError(0, f"no port from {lowest} on is free")


def _can_listen(port: int) -> bool:
    """Say whether one could listen on a port, on all addresses of this machine."""
    dual = socket.has_dualstack_ipv6()
    try:
        made = socket.create_server(
            ("", port),
            family=socket.AF_INET6 if dual else socket.AF_INET,
            reuse_port=False,
            dualstack_ipv6=dual,
        )
    except OSError:
        return False
    made.close()
    return True


def why_unreached(address: str, port: int, within_s: float) -> str:
    """Return why nothing at an address takes connections, in words; empty where something does."""
    try:
        with closing(socket.create_connection((address, port), within_s)):
            return ""
    except TimeoutError:
        return f"no answer within {within_s:g} s"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def why_unready(ready: dict[str, Any], cwd: str) -> str:
    """Return why a server is not ready, in words; empty where it is. ``ready`` names a port, a url or a file."""
    if ready.get("port") is not None:
        whys = [why_unreached(address, ready["port"], _LOOK_S) for address in _LOOPBACK]
        return "" if "" in whys or _listens(ready["port"]) else f"port {ready['port']}: {whys[0]}"
    if ready.get("url") is not None:
        return _why_unanswered(ready["url"])
    path = os.path.join(cwd, ready["file"])  # noqa: PTH118
    return "" if os.path.exists(path) else f"there is no {path}"  # noqa: PTH110


def _listens(port: int) -> bool:
    """Say whether something listens on a port, of one address of this machine alone it may be."""
    wanted = (f"{port:04X}", "0A")  # 0A: it listens
    for table in ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/net/{table}") as lines:  # noqa: PTH123
            if any((words[1].rpartition(":")[2], words[3]) == wanted for words in map(str.split, lines)):
                return True
    return False


def _why_unanswered(url: str) -> str:
    import http.client  # what takes long to load, and few ask for
    import urllib.error
    import urllib.request

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this node, or near
    try:
        with direct.open(url, timeout=_LOOK_S):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return f"{url} answers {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return f"{url}: {(getattr(reason, 'strerror', None) or str(reason)).lower()}"
