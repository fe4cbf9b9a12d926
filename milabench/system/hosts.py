"""Nodes by the names that people give them: ``[user@]host[:port]``, in a list or a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from milabench.errors import UsageError
from milabench.system.addresses import is_address
from milabench.system.file import NAME, SSH_PORT, NodeEntry

_HOST = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^@:\s\[\]]+|[0-9A-Fa-f:.%]+)(?::(?P<port>\d+))?"
)
_SLOTS = re.compile(r"(?:slots|max_slots|max-slots)=\d+")  # of a file for mpirun: how many processes, which nodes say
_PORTS = 1024  # in a file a lower number is one of processes


def listed(words: Iterable[str]) -> tuple[NodeEntry, ...]:
    """Return the nodes of a list, the first one main; the further ones of an address are named by their ports too.

    Raises UsageError for what names none, or one twice.
    """
    found: dict[str, NodeEntry] = {}
    for number, word in enumerate(words):
        entry = replace(named(word), main=number == 0)
        if entry.name in found and found[entry.name].port != entry.port:
            entry = replace(entry, name=f"{entry.name}-{entry.port}")
        if entry.name in found:
            raise UsageError(f"{word}: {entry.name} is named twice")
        found[entry.name] = entry
    if not found:
        raise UsageError("no node is named: give [user@]host[:port], several with commas between them")
    return tuple(found.values())


def from_file(path: Path, tell: Callable[[str], object]) -> list[str]:
    """Return what a file of nodes names, one a line, each once; ``#`` begins a comment.

    What mpirun is told there of processes is passed over: ``slots=8``, and as MPICH has it a number below 1024 after a
    colon, which ``tell`` is told of: it may have been meant as a port. Raises UsageError for a file that cannot be
    read, or a line that says something else.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--hostfile {path}: {getattr(error, 'strerror', None) or error}") from None
    found: dict[str, None] = {}
    counted: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if any(not _SLOTS.fullmatch(word) for word in words[1:]):
            raise UsageError(f"--hostfile {path}:{number}: {line.strip()!r} is not one node: [user@]host[:port]")
        for word in words[:1]:
            plain = _uncounted(word)
            found[plain] = None
            if plain != word:
                counted[word] = None
    if counted:
        which = next(iter(counted)) + (f" and {len(counted) - 1} more" if len(counted) > 1 else "")
        tell(
            f"--hostfile {path}: {which}: a number below {_PORTS} is how many processes, as in a file for MPICH, and"
            " not used here: give a port so low by --hosts, or in the system file"
        )
    return list(found)


def _uncounted(word: str) -> str:
    """Return a word of a file without its number of processes: no port of SSH, whose own is 22, is so low."""
    match = _HOST.fullmatch(word)
    if match is None or match["port"] is None or int(match["port"]) >= _PORTS or int(match["port"]) == SSH_PORT:
        return word
    return word.rpartition(":")[0]


def named(word: str) -> NodeEntry:
    """Return the node of ``[user@]host[:port]``. Raises UsageError for what is none."""
    match = _HOST.fullmatch(word)
    if match is None or not 0 < int(match["port"] or SSH_PORT) < 65536:
        raise UsageError(f"{word!r} is no node: [user@]host[:port], an IPv6 address with a port in brackets")
    host = match["host"].strip("[]")
    if ":" in host and not is_address(host):
        raise UsageError(f"{word!r} is no node: {host} is no IPv6 address, and of a name one port is given: host:port")
    if not NAME.fullmatch(host) and not is_address(host):
        raise UsageError(f"{word!r} is no node: a name has letters, digits and . _ : -")
    return NodeEntry(
        name=host if NAME.fullmatch(host) else f"node-{host.replace(':', '-').strip('-')}",
        address=host,
        port=int(match["port"] or SSH_PORT),
        user=match["user"],
    )
