"""Find the agent's zip on this node, or take it from standard input, and run the agent from it.

Every transport sends this program to the Python of a node, where nothing of milabench is yet; any Python 3 can read it,
to be told that it is too old. What it says are lines of standard output, ``milabench <nonce> <word> <detail>``:
``here`` (Python runs), ``want`` (the zip), ``have`` (the agent serves from here on), ``old`` (this Python's version),
``damaged`` (what came is not the zip), ``unwritable`` (why). ``nonce`` tells them apart from what a login shell prints.
"""

import hashlib
import os
import sys
import time

LEAST = (3, 10)
_UNUSED_S = 30 * 24 * 3600.0  # what no agent ran from for so long is removed


def arrive(digest: str, size: int, nonce: str) -> None:
    """Run the agent from the zip of a hash (SHA-256 of its bytes)."""

    def say(word: str, detail: str = "") -> None:
        os.write(1, ("\nmilabench %s %s %s\n" % (nonce, word, detail)).encode("utf-8", "replace"))  # noqa: UP031

    if sys.version_info < LEAST:
        say("old", ".".join(map(str, sys.version_info[:3])))
        sys.exit(3)
    say("here")  # before the home folder is looked at, which may not answer
    try:
        path = _kept(digest)
        if path is None:
            say("want")
            content = _taken(size)
            if hashlib.sha256(content).hexdigest() != digest:
                say("damaged")
                sys.exit(3)
            path = _keep(digest, content)
    except OSError as error:
        say("unwritable", str(error))
        sys.exit(3)
    sys.path.insert(0, path)
    from milabench.agent.serve import main

    say("have")
    main()


def _folder() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return os.path.join(cache, "milabench", "agents")  # noqa: PTH118


def _kept(digest: str) -> "str | None":
    """Return the zip that is there from an earlier time, whole."""
    path = os.path.join(_folder(), digest + ".zip")  # noqa: PTH118
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            if hashlib.sha256(file.read()).hexdigest() != digest:
                return None
        os.utime(path)
    except OSError:
        return None
    return path


def _taken(size: int) -> bytes:
    content = b""
    while len(content) < size:
        chunk = os.read(0, size - len(content))
        if not chunk:
            sys.exit(3)  # nobody is there any more
        content += chunk
    return content


def _keep(digest: str, content: bytes) -> str:
    """Write the zip where the next agent finds it, else into a folder that goes with this one. Raises OSError."""
    import atexit
    import shutil
    import tempfile

    try:
        os.makedirs(_folder(), mode=0o700, exist_ok=True)  # noqa: PTH103
        path = _written(_folder(), digest, content)
        _tidy(_folder())
    except OSError:
        folder = tempfile.mkdtemp(prefix="milabench-agent-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        path = _written(folder, digest, content)
    return path


def _written(folder: str, digest: str, content: bytes) -> str:
    import tempfile

    path = os.path.join(folder, digest + ".zip")  # noqa: PTH118
    descriptor, partial = tempfile.mkstemp(suffix=".partial", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(partial, path)  # noqa: PTH105
    except OSError:
        os.unlink(partial)  # noqa: PTH108
        raise
    return path


def _tidy(folder: str) -> None:
    """Remove what has not been used for long; what cannot be removed stays."""
    for name in os.listdir(folder):  # noqa: PTH208
        path = os.path.join(folder, name)  # noqa: PTH118
        try:
            if time.time() - os.stat(path).st_mtime > _UNUSED_S:  # noqa: PTH116
                os.unlink(path)  # noqa: PTH108
        except OSError:  # noqa: SIM105, PERF203
            pass
