"""The agent for another machine: one zip of this milabench, and how it gets there and starts."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import secrets
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from milabench.agent import arrive
from milabench.agent.greeting import private_folder
from milabench.errors import PreflightError
from milabench.execute.hosts.transport import Transport
from milabench.resources import benchmate_sources, nvml_binding

ARRIVE_S = 60.0  # so long a node may take from the start of a command to an agent that serves
PATIENCE_S = 10.0  # after so long it is told what is waited for
MOST_NOISE = 1 << 20  # bytes that a login shell may print before
_TIMESTAMP = (2020, 1, 1, 0, 0, 0)  # equal sources make an equal zip
# It reads the program from its input: so any login shell takes it as it is, within single quotes.
_STARTER = 'exec(open(0,"rb",0,closefd=False).readline())'
_ABSENT = ("not found", "no such file", "exit code 127")  # as shells say it
# What of the operator's environment is good for every node: where packages come from, and how to get there.
_PASSED = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "HF_ENDPOINT"),
    *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
)
_PASSED_PREFIXES = ("PIP_", "UV_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The zip of the agent, what is in it, and its SHA-256.

    ``tell`` is told, in a line, of a node whose agent takes long to start.
    """

    archive: Path
    content: bytes = field(repr=False)
    digest: str
    tell: Callable[[str], object] = field(default=lambda _: None, repr=False, compare=False)

    @classmethod
    def made(cls, environ: Mapping[str, str], tell: Callable[[str], object] = lambda _: None) -> Boot:
        """Return the zip of the milabench that runs, made where the user's cache (``environ``) has none of it yet."""
        sources = dict(_sources())
        name = f"built-{_digest_of(sources)}.zip"
        for folder in (functools.partial(_cache, environ), private_folder):
            try:
                path = folder() / name
                if not path.exists():
                    _write(path, sources)
                content = path.read_bytes()
                return cls(archive=path, content=content, digest=hashlib.sha256(content).hexdigest(), tell=tell)
            except OSError as error:
                problem = error
        raise PreflightError(f"the agent for other machines cannot be written: {problem}")

    def command(self, python: str = "python3") -> list[str]:
        """Return what a transport starts on a node; ``start`` talks to it."""
        return [python, "-I", "-S", "-c", _STARTER]

    async def start(self, pipe: Transport, where: str, python: str = "python3") -> None:
        """Have the agent start at the other end of a pipe; ``where`` is the node as messages name it.

        Raises PreflightError with what is wrong there and what to do.
        """
        nonce = secrets.token_hex(8)
        words = _Words(pipe, nonce, _program(self.digest, len(self.content), nonce))
        late = asyncio.get_running_loop().call_later(PATIENCE_S, lambda: self.tell(words.waited_for(where, python)))
        try:
            word, detail = await asyncio.wait_for(self._start(pipe, words), ARRIVE_S)
        except asyncio.TimeoutError:
            raise PreflightError(words.late(where, python)) from None
        finally:
            late.cancel()
        if word != "have":
            raise PreflightError(await _trouble(word, detail, pipe, where, python))

    async def _start(self, pipe: Transport, words: _Words) -> tuple[str, str]:
        pipe.write(words.program)
        word, detail = await words.next()
        if word == "want":
            pipe.write(self.content)
            await pipe.drain()
            word, detail = await words.next()
        return word, detail


class _Words:
    """What the program says, among what else is printed on its way; ``nonce`` tells them apart."""

    def __init__(self, pipe: Transport, nonce: str, program: bytes) -> None:
        self.program = program
        self._pipe, self._mark, self._heard = pipe, f"\nmilabench {nonce} ".encode(), b"\n"
        self._came = False

    async def next(self) -> tuple[str, str]:
        """Return the next word with its detail, else ``end`` or ``noise`` with the last line of what came instead."""
        while True:
            while (found := self._said()) is not None:
                if found[0] != "here":
                    return found
                self._came = True
            chunk = await self._pipe.read()
            self._heard += chunk
            if not chunk or len(self._heard) > MOST_NOISE:
                return "noise" if chunk else "end", self._printed()

    def waited_for(self, where: str, python: str) -> str:
        """Return what is said of a node that has not been ready for a while."""
        return f"waiting for {where}: {self._state(python)} after {PATIENCE_S:.0f} s{self._last()}"

    def late(self, where: str, python: str) -> str:
        """Return what is wrong with a node that was not ready in time, as far as that is known."""
        if self._came:
            why = "the home folder may not answer, or the way there be very slow"
        elif self._echoed():
            why = (
                "its login shell gives back what is sent to it: a start-up file reads standard input (`cat` or `read`,"
                " say): make it do so for terminals only"
            )
        else:
            why = (
                "a start-up file of the login shell may wait for something or never end, or the home folder not answer:"
                f" see whether `{python} -V` comes back over there"
            )
        return f"{where}: {self._state(python)} within {ARRIVE_S:.0f} s{self._last()}: {why}"

    def _state(self, python: str) -> str:
        return f"{python} is there, and the agent has not started" if self._came else f"{python} has not come up there"

    def _last(self) -> str:
        said = self._printed() or self._pipe.complaint
        return f" (printed last: {said!r})" if said else ""

    def _echoed(self) -> bool:
        return self.program.strip() in self._heard

    def _said(self) -> tuple[str, str] | None:
        """Return the next word of what has come, which is taken from it with all before; None: it is not there yet."""
        _, found, after = self._heard.partition(self._mark)
        line, end, rest = after.partition(b"\n")
        if not (found and end):
            return None
        self._heard = b"\n" + rest
        word, _, detail = line.decode(errors="replace").partition(" ")
        return word, detail

    def _printed(self) -> str:
        """Return the last line that came and is no word of the program."""
        lines = self._heard.replace(self.program.strip(), b"").decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:200]


async def _trouble(word: str, detail: str, pipe: Transport, where: str, python: str) -> str:
    """Return what keeps the agent from starting, and what to do."""
    if word == "old":
        return (
            f"{where}: {python} there is Python {detail}, and 3.10 or newer is needed: install one, and name it with"
            " `python:` of the node if it is called otherwise"
        )
    if word == "unwritable":
        return f"{where}: neither the home folder nor a temporary one can be written: {detail}: make room"
    if word == "damaged":
        return f"{where}: the agent did not come there as it was sent: try again, and see what is in between"
    if word == "noise":
        await pipe.kill()
        return f"{where}: its login shell prints without end ({detail!r}), instead of starting {python}"
    pipe.close_input()
    how = await pipe.ended()
    if any(words in how.lower() for words in _ABSENT):
        return f"{how}: install Python 3.10 or newer there, or name it with `python:` of the node"
    said = f", and it printed {detail!r}" if detail else ""
    return f"{how}{said}: see whether that user may run commands there, and whether `{python} -V` works"


def passed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the operator's environment that goes to every node: indexes, proxies, certificates."""
    return {name: value for name, value in environ.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)}


def _program(digest: str, size: int, nonce: str) -> bytes:
    """Return the program as the one line that the starter reads."""
    call = f"{_source_of_program()}\narrive({digest!r}, {size}, {nonce!r})\n"
    return f"exec({call!r}, {{'__name__': 'arrive'}})\n".encode()


@functools.cache
def _source_of_program() -> str:
    return Path(arrive.__file__).read_text()


def _sources() -> Iterator[tuple[str, bytes]]:
    for package in (Path(__file__).parents[2], benchmate_sources()):
        for path in sorted(package.rglob("*.py")):
            name = path.relative_to(package)
            if name.parts[0] != "data" or package.name != "milabench":  # of a wheel: suites and benchmarks
                yield f"{package.name}/{name}", path.read_bytes()
    if binding := nvml_binding():
        yield "pynvml.py", Path(binding).read_bytes()


def _digest_of(sources: Mapping[str, bytes]) -> str:
    found = hashlib.sha256()
    for name, content in sources.items():
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:32]


def _cache(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/nonexistent"), ".cache")).joinpath(
        "milabench", "agents"
    )


def _write(path: Path, sources: Mapping[str, bytes]) -> None:
    """Write the zip by a rename: others may be making the same one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in sources.items():
                    archive.writestr(zipfile.ZipInfo(name, _TIMESTAMP), content, zipfile.ZIP_DEFLATED)
            file.flush()
            os.fsync(file.fileno())  # a zip that is cut after a power failure would be taken for whole
            os.replace(file.name, path)  # noqa: PTH105
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
