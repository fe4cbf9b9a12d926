"""``definition: {git: URL, branch | tag | commit: …, path: …}``: read as it is written; nothing is fetched here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from milabench.document import Node
from milabench.paths import expanded
from milabench.problems import Code, nearest
from milabench.suite.types import REFERENCES, GitSource, Reference
from milabench.suite.values import Reader

SCHEMES = ("https", "ssh", "file")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)")
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::")  # git would start a program git-remote-…, or the one that ext:: names
_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
# What no branch or tag can be called (git-check-ref-format).
_NO_NAME = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|/\.|\.lock(?:/|$)|^[-./]|[./]$|^@$")


def git_source(read: Reader, node: Node, path: str) -> GitSource | None:
    """Return the repository a map names; what is wrong is noted, and None returned where nothing can be made of it."""
    entries = read.known(node, path, ("git", *REFERENCES, "path"))
    if "git" not in entries:
        read.missing(node, path, "needs git: the URL of a repository")
        return None
    url = _url(read, entries["git"], f"{path}.git")
    kind, name = _reference(read, entries, path)
    folder = entries.get("path")
    return GitSource(
        url=url,
        kind=kind,
        name=name,
        path=_path(read, folder, f"{path}.path") if folder else ".",
        mark=(folder or entries["git"]).mark,
    )


def _url(read: Reader, node: Node, path: str) -> str:
    """Return a URL as git takes it: that of a path on this machine absolute."""
    if not isinstance(node.value, str) or not node.value.strip():
        read.wrong(node, path, f"needs the URL of a repository, not {node.kind if node.value != '' else 'nothing'}")
        return ""
    url = node.value.strip()
    found = _SCHEME.fullmatch(url)
    if url.startswith("-") or _HELPER.match(url) or not url.isprintable():
        read.wrong(node, path, f"cannot be {url!r}: git would take it for something else than a URL", Code.GIT)
    elif found and found[1] not in SCHEMES:
        message = f"cannot be fetched by {found[1]}: give https, ssh, file or a path"
        read.wrong(node, path, message, Code.GIT, nearest(found[1], SCHEMES))
    elif found and "@" in (host := found[2].split("/", 1)[0]) and (found[1] == "https" or ":" in host.split("@")[0]):
        message = "holds a user or password: leave them out, and git takes them from its credential helper"
        read.wrong(node, path, message, Code.SECRET)
    elif not found and not _is_remote(url):
        return _local(node, url)
    return url


def _is_remote(url: str) -> bool:
    """Return whether git takes a URL without a scheme for a machine's: ``git@example.org:me/mine``."""
    return ":" in url.split("/", 1)[0]


def _local(node: Node, url: str) -> str:
    """Return a path without a look at it: what was fetched is there when its repository is gone."""
    file = Path(node.file)
    base = Path.cwd() / file.parent if file.exists() else Path.cwd()
    return os.path.normpath(base / expanded(url))


def _reference(read: Reader, entries: Mapping[str, Node], path: str) -> tuple[Reference | None, str | None]:
    """Return what is wanted of a repository and its name, (None, None) for what its HEAD leads to."""
    given = [kind for kind in REFERENCES if kind in entries]
    if not given:
        return None, None
    kind, *others = given
    if others:
        last = max((entries[each] for each in given), key=lambda entry: (entry.line, entry.column))
        message = f"{path} has {' and '.join(given)}: write one (null drops one that is inherited)"
        read.problems.add(Code.GIT, message, last.key_mark, path=path)
        return None, None
    node, where = entries[kind], f"{path}.{kind}"
    name = node.value if isinstance(node.value, str) else node.text
    if not name or isinstance(node.value, bool):
        read.wrong(node, where, f"needs the name of a {kind}, not {node.kind if node.value != '' else 'nothing'}")
        return None, None
    if kind == "commit":
        return kind, _commit(read, node, name, where)
    if _NO_NAME.search(name):
        read.wrong(node, where, f"cannot be {name!r}: git has no {kind} of such a name", Code.GIT)
    return kind, name


def _commit(read: Reader, node: Node, name: str, path: str) -> str:
    if not _COMMIT.fullmatch(name):
        why = "a short one may come to mean another" if re.fullmatch("[0-9a-fA-F]{4,39}", name) else "not a name"
        message = f"needs all 40 hexadecimal digits of a commit ({why}; git rev-parse prints them), not {name!r}"
        read.wrong(node, path, message, Code.GIT)
    return name.lower()


def _path(read: Reader, node: Node, path: str) -> str:
    """Return a folder within the repository."""
    text = read.text(node, path)
    folder = PurePosixPath(text)
    if isinstance(node.value, str) and text and (folder.is_absolute() or ".." in folder.parts or "\0" in text):
        read.wrong(node, path, f"needs a folder within the repository, not {text!r}", Code.GIT)
    return str(folder)
