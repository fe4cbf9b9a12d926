"""The process that waits beside a container and ends it by its name: asked to by the agent, or when that is gone.

An agent that is killed ends nothing any more, and the end of the program that started a container need not be the
container's. So each container has a shell beside it, whose input the agent alone keeps open: it hears of the agent's
end however that comes, and holds meanwhile the files that the agent held.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

_SCRIPT: Final = """\
trap "" HUP INT TERM
read -r asked || echo "milabench: the agent that ran this is gone: the container is ended"
for second in 1 2 3 4 5; do
  "$@" >/dev/null 2>&1 && exit 0
  left=$("$1" ps --all --quiet --filter "name=^$0\\$" 2>/dev/null) && test -z "$left" && exit 0
  sleep 1
done
test -n "$asked" || echo "milabench: the container $0 could not be ended; try it by hand: $*"
exit 1
"""


class Begin(Protocol):
    """What starts a process of the agent's own, by its argv and environment. Raises OSError.

    ``ended`` is told its exit status, ``files`` are its standard input and output.
    """

    def __call__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        ended: Callable[[int], object],
        files: tuple[int, int],
    ) -> object: ...


class Ender:
    """Such a process, from before its container starts; ``argv`` is what ends that, ``log`` is told why.

    ``left``: the container is there still. Raises OSError where it cannot be started.
    """

    def __init__(self, name: str, argv: Sequence[str], environ: Mapping[str, str], *, log: str, begin: Begin) -> None:
        self._argv, self._environ, self._begin = ["sh", "-c", _SCRIPT, name, *argv], environ, begin
        self._log = log
        self._over: Callable[[], object] | None = None
        self._asking: int | None = None
        self.left = False
        self._start()

    def ask(self, over: Callable[[], object]) -> None:
        """Have the container ended; ``over`` is called when it is gone, or ``left``."""
        self._over = over
        try:
            if self._asking is None:  # somebody has killed the process that waited
                self._start()
        except OSError:
            self.left = True
            over()
            return
        if self._asking is not None:
            with suppress(BrokenPipeError):  # so has somebody now, and it is started again when that is known
                os.write(self._asking, b"end\n")
            self._let_go()

    def _start(self) -> None:
        waiting, self._asking = os.pipe()
        try:
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                self._begin(self._argv, self._environ, self._ended, (waiting, log))
            finally:
                os.close(log)
        except OSError:
            self._let_go()
            raise
        finally:
            os.close(waiting)

    def _ended(self, status: int) -> None:
        self._let_go()
        if self._over is None:
            return
        if os.WIFSIGNALED(status):
            self.ask(self._over)
            return
        self.left = status != 0
        self._over()

    def _let_go(self) -> None:
        if self._asking is not None:
            os.close(self._asking)
            self._asking = None


def is_ender(pid: int) -> bool:
    """Say whether a process is one of these: who ends all that an agent left waits for them."""
    with suppress(OSError):
        return _SCRIPT.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
