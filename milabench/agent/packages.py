"""What the agent knows of Python packages: the settings installers share, and what an environment holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# pip's settings and the uv variables that mean the same; uv reads none of pip's.
_SAME = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_NO_INDEX": "UV_NO_INDEX",
}


def installer_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for installers: pip's settings passed on to uv where uv has none of its own."""
    found = dict(environ)
    for ours, theirs in _SAME.items():
        if environ.get(ours) and theirs not in environ:
            separator = "," if theirs == "UV_FIND_LINKS" else " "
            found[theirs] = separator.join(environ[ours].split())
    return found


def versions(venv: str) -> dict[str, str]:
    """Return the version of every distribution in an environment, by name."""
    folders = Path(venv).glob("lib/python*/site-packages/*.dist-info")
    parts = (folder.name.removesuffix(".dist-info").rpartition("-") for folder in folders)
    return {name: version for name, _, version in parts if name}


def freeze(venv: str) -> list[str]:
    """Return ``name==version`` of every distribution in an environment, sorted."""
    return sorted(f"{name}=={version}" for name, version in versions(venv).items())


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, list[str | None]]:
    """Return the versions before and now of what is another one; None where it is not there."""
    names = sorted(before.keys() | now.keys())
    return {name: [before.get(name), now.get(name)] for name in names if before.get(name) != now.get(name)}
