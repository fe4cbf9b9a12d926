"""SSH keys of hosts as people write them into a system file."""

from __future__ import annotations

import base64
import re

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")


def is_hostkey(text: str) -> bool:
    """Say whether a text has the form of a public key, as in known_hosts (``ssh-ed25519 AAAA…``), or a fingerprint.

    A key's bytes begin with its kind, which stands before them (RFC 4253, 6.6); what else is in them is not looked at.
    """
    if _FINGERPRINT.fullmatch(text):
        return True
    kind, word, *_ = [*text.split(), "", ""]
    try:
        content = base64.b64decode(word, validate=True)
    except ValueError:
        return False
    size = len(kind)
    return content[: 4 + size] == size.to_bytes(4, "big") + kind.encode() and len(content) > 4 + size
