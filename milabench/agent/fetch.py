"""Fetch a git repository at a branch, tag or commit into ``<folder>/<commit>/<repository>``, without its history.

``<folder>/commit`` then names the commit. Nothing is asked, no hook is run, and what is half fetched has no such name.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from milabench.agent.files import replacing

COMMIT = "commit"
_PARTIAL = "partial"
_REFS = {"branch": "refs/heads/", "tag": "refs/tags/", "commit": ""}
_SETTINGS = (
    *("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.autocrlf=false", "gc.auto=0", "maintenance.auto=false"),
    *("protocol.allow=never", "protocol.https.allow=always", "protocol.ssh.allow=always"),
    *("http.lowSpeedLimit=1000", "http.lowSpeedTime=60", "advice.detachedHead=false"),
)
_ENVIRON = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never", "GCM_INTERACTIVE": "never"}
# These would turn git to another repository: milabench may have been started by a hook of one.
_WITHHELD = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE")
_KEPT_FILTER = "lfs"  # where it is set up, the files of a repository that uses it are meant to come


class CannotFetch(Exception):
    """Why there is nothing to check out, for the user to read."""


class _Git:
    """git in one working tree."""

    def __init__(self, tree: Path, *, local: bool) -> None:
        self._tree = tree
        outer = {name: value for name, value in os.environ.items() if name not in _WITHHELD}
        self._environ = {"GIT_ASKPASS": "", **outer, **_ENVIRON}
        # Submodules may come from this machine's disk where the repository itself does.
        self._settings = [*_SETTINGS, f"protocol.file.allow={'always' if local else 'user'}"]

    def __call__(self, *arguments: str) -> str:
        """Return what git prints. Raises CannotFetch with what it says."""
        done = self.attempt(*arguments)
        if done.returncode != 0:
            raise CannotFetch(f"git {arguments[0]} failed: {_words(done.stderr)}")
        return done.stdout

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        settings = [word for setting in self._settings for word in ("-c", setting)]
        return subprocess.run(
            ["git", *settings, *arguments],
            cwd=self._tree,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def without_filters(self) -> None:
        """Let no program of the user's configuration rewrite files because the repository asks for it."""
        found = self.attempt("config", "--name-only", "--get-regexp", r"^filter\.").stdout.splitlines()
        drivers = {name.split(".", 1)[1].rpartition(".")[0] for name in found}
        for driver in sorted(drivers - {_KEPT_FILTER}):
            values = ("smudge=", "clean=", "process=", "required=false")
            self._settings += [f"filter.{driver}.{value}" for value in values]


def fetch(url: str, kind: str, name: str, folder: Path, repository: str) -> str:
    """Fetch and return the commit. Raises CannotFetch; then nothing has changed but the ``partial`` folder."""
    if shutil.which("git") is None:
        raise CannotFetch("there is no program git on PATH: install git, then type this again")
    partial = folder / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    tree = partial / repository
    tree.mkdir(parents=True)
    git = _Git(tree, local=url.startswith(("/", "file:")))
    git("init", "--quiet", "--template=")
    git("remote", "add", "origin", url)  # where submodules and git-lfs look, too
    wanted = _get(git, url, kind, name)
    git.without_filters()
    git("checkout", "--quiet", "--detach", wanted)
    if (tree / ".gitmodules").exists():
        _submodules(git)
    commit = git("rev-parse", "HEAD").strip()
    _keep(partial, folder / commit, repository)
    with replacing(folder / COMMIT) as pointer:
        pointer.write_text(commit + "\n")
    return commit


def _get(git: _Git, url: str, kind: str, name: str) -> str:
    """Fetch what is wanted and return its name; all history only where a server gives nothing less."""
    reference = _REFS[kind] + name if kind else "HEAD"
    once = git.attempt("fetch", "--quiet", "--no-tags", "--depth=1", "origin", reference)
    if once.returncode == 0:
        return "FETCH_HEAD"
    listed = git.attempt("ls-remote", "--heads", "--tags", "origin")
    if listed.returncode != 0:
        allowed = os.environ.get("GIT_ALLOW_PROTOCOL")
        hint = f" (GIT_ALLOW_PROTOCOL, which --offline sets, is {allowed})" if allowed else ""
        raise CannotFetch(f"{url} cannot be read: {_words(listed.stderr)}{hint}")
    if kind == "commit":
        return _commit(git, url, name, once.stderr)
    _check_listed(url, kind, name, re.findall(r"refs/\S+?(?=\^\{\}|$)", listed.stdout, re.MULTILINE))
    git("fetch", "--quiet", "--no-tags", "origin", reference)
    return "FETCH_HEAD"


def _commit(git: _Git, url: str, commit: str, said: str) -> str:
    """Return a commit that the server does not give by itself, once all branches and tags are there."""
    if "not our ref" not in said:
        git("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
        if git.attempt("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
            return commit
    raise CannotFetch(f"{url} has no commit {commit}: is it pushed there, and of this repository?")


def _check_listed(url: str, kind: str, name: str, references: list[str]) -> None:
    """Raise CannotFetch where a repository does not have a branch or tag, with what is like it."""
    if not kind:
        if not references:
            raise CannotFetch(f"{url} is empty: it has no commit yet")
        return
    names = {
        each: [ref.removeprefix(_REFS[each]) for ref in references if ref.startswith(_REFS[each])]
        for each in ("branch", "tag")
    }
    if name in names[kind]:
        return
    other = "tag" if kind == "branch" else "branch"
    if name in names[other]:
        raise CannotFetch(f"{url} has no {kind} {name}, but a {other} of that name: write {other}: {name}")
    near = difflib.get_close_matches(name, dict.fromkeys(names[kind]), 3)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    raise CannotFetch(f"{url} has no {kind} {name}{hint}")


def _submodules(git: _Git) -> None:
    update = ("submodule", "--quiet", "update", "--init", "--recursive")
    if git.attempt(*update, "--depth=1").returncode != 0:
        git(*update)


def _keep(partial: Path, whole: Path, repository: str) -> None:
    """Give what is complete its name; the same commit, fetched before, stays as it is: a run may be reading it."""
    if (whole / repository).is_dir():
        shutil.rmtree(partial)
    else:
        shutil.rmtree(whole, ignore_errors=True)
        partial.rename(whole)


def _words(said: str) -> str:
    """Return git's own message on one line."""
    lines = [line.strip().removeprefix("fatal: ") for line in said.splitlines() if line.strip()]
    return "; ".join(lines) or "it says nothing"


def main() -> None:
    """Fetch what the arguments name: url, kind, name, folder, repository."""
    url, kind, name, folder, repository = sys.argv[1:]
    try:
        commit = fetch(url, kind, name, Path(folder), repository)
    except CannotFetch as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    sys.stdout.write(f"{url} is at commit {commit}\n")
