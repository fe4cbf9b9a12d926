"""Run a command where there is no network but the loopback: ``python without_network.py COMMAND…``.

``--tried FILE`` before it: there is no loopback either, and the kernel's count of what was sent all the same, a look
for a name among it, is written to the file. Exits with 77 where the kernel lets nobody make a network namespace.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

NOT_HERE = 77
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def enter() -> bool:
    """Move this process into a new network namespace, as root of one of its own where it is not root."""
    flags = _CLONE_NEWNET if os.getuid() == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    return ctypes.CDLL(None, use_errno=True).unshare(flags) == 0


def bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH", b"lo", 0)
        flags = struct.unpack("16sH", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request.ljust(40, b"\0"))[:18])[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH", b"lo", flags | _IFF_UP).ljust(40, b"\0"))


def tried() -> int:
    """Return how often anything in this namespace has found no route: a try to connect over IPv4, or to send."""
    names, values = (line.split() for line in Path("/proc/self/net/snmp").read_text().splitlines()[:2])
    return int(dict(zip(names, values, strict=True))["OutNoRoutes"])


def main(command: list[str], count: str | None) -> None:
    try:
        if not enter():
            sys.exit(NOT_HERE)
        if count is None:
            bring_loopback_up()
    except OSError:
        sys.exit(NOT_HERE)
    if count is None:
        os.execvp(command[0], command)
    code = subprocess.run(command, check=False).returncode
    Path(count).write_text(str(tried()))
    sys.exit(code)


if __name__ == "__main__":
    counted = sys.argv[1] == "--tried"
    main(sys.argv[3:] if counted else sys.argv[1:], sys.argv[2] if counted else None)
