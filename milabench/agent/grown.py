"""Files that processes write, read piece by piece as they grow, and what they were at last."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmate.wire import StepsHeader, WireError
from milabench.agent.spool import give_back, is_written_over

PIECE_BYTES: Final = 1 << 17
_HASHED_BYTES: Final = 1 << 20  # at a time: takes a few ms at most
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a process may put anything there


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes at their place; ``cut``: nothing of what was read of the file before counts any more."""

    offset: int
    content: bytes
    cut: bool = False


class Grown:
    """A file of which each part is read once, as long as it only grows; one that was cut or replaced begins anew.

    What is written over what was read already is not noticed, but ``sha256`` of it in the end differs. The room of what
    somebody else has, by its hash, is given back: of that ``sha256`` is what it was then.
    """

    def __init__(self, path: str) -> None:
        self.name = Path(path).name
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._read = self._end = 0
        self._cut = False
        self._hash, self._hashed = hashlib.sha256(), 0
        self._freed, self._hash_of_freed = 0, self._hash.copy()
        self._tells_room = False  # whether the file system tells room from what is written
        self._kept: tuple[int, str] | None = None  # size and hash of what somebody else has
        self._problem = ""
        self._gone = True

    def look(self, *, last: bool = False) -> bool:
        """See how far it has grown, and say whether there is something to read; ``last``: it grows no more."""
        self._problem = ""  # what failed may go well now
        try:
            found = os.lstat(self.path)
        except OSError:  # it is not there yet; or its process has removed it, and wants nobody to have it
            self._gone = True
            return False
        self._gone = False
        if not stat.S_ISREG(found.st_mode):
            self._problem = "it is no file any more"
            return False
        if self._identity is not None and (found.st_dev, found.st_ino) != self._identity:
            self._begin_anew()
        self._identity = found.st_dev, found.st_ino
        self._see(found.st_size, last)
        if last:
            self._leave()
            self._look_at_freed()
        return self.behind

    @property
    def behind(self) -> bool:
        """Whether there is something to read."""
        return not (self._problem or self._gone) and (self._cut or self._read < self._end)

    def read(self) -> Piece | None:
        """Return what comes next; None where it can no longer be read."""
        try:
            return self._next()
        except FileNotFoundError:
            self._gone = True
        except OSError as error:
            self._problem = error.strerror or str(error)
        return None

    def keeps(self, size: int, sha256: str) -> bool:
        """Take it that somebody else has so much of its beginning; return whether there is something to do by that."""
        if self._identity is None or not self._freed < size <= self._read:
            return False
        self._kept = size, sha256
        return True

    def free(self) -> bool:
        """Do a part of what gives that room back, where it is as it is here; return whether more is left."""
        if self._kept is None or self._identity is None:
            return False
        size, sha256 = self._kept
        if self._hash_to(size):
            return True
        try:
            same = self._hashed == size and self._hash.hexdigest() == sha256
            if same and give_back(self.path, size, self._identity):
                self._freed, self._hash_of_freed = size, self._hash.copy()
                self._tells_room = not is_written_over(self.path, size)
        except OSError:  # it is not there any more
            pass
        self._leave()
        return False

    def hash(self) -> bool:
        """Take a further part of the whole into its hash; return whether more is left."""
        return self._hash_to(self._end)

    def again(self) -> Grown:
        """Return it as a file of which nothing is read that is still there."""
        same = type(self)(self.path)
        same._identity, same._tells_room = self._identity, self._tells_room
        same._read = same._hashed = same._freed = self._freed
        same._hash, same._hash_of_freed = self._hash_of_freed.copy(), self._hash_of_freed
        return same

    def _leave(self) -> None:
        """Hash anew what is still there: it may change."""
        self._kept = None
        self._hash, self._hashed = self._hash_of_freed.copy(), self._freed

    def _look_at_freed(self) -> None:
        try:
            if self._freed and self._tells_room and is_written_over(self.path, self._freed):
                self._problem = "what had been sent of it was written over"
        except OSError as error:
            self._problem = error.strerror or str(error)

    def _hash_to(self, end: int) -> bool:
        left = end - self._hashed
        if self._problem or self._gone or left <= 0:
            return False
        try:
            content = self._content(self._hashed, min(left, _HASHED_BYTES))
        except OSError as error:
            self._problem = error.strerror or str(error)
            return False
        if not content:
            self._problem = "it was cut while it was read"
        self._hash.update(content)
        self._hashed += len(content)
        return True

    def account(self) -> dict[str, Any] | None:
        """Return its ``size`` and ``sha256``, or the ``error`` for which it cannot be read; None: it is not there."""
        if self._problem:
            return {"error": self._problem}
        if self._gone:
            return None
        freed = {"freed": self._freed} if self._freed else {}
        return {"size": self._end, "sha256": self._hash.hexdigest(), **freed}

    def _begin_anew(self) -> None:
        self._cut = self._cut or self._read > 0
        self._read = self._freed = 0
        self._hash_of_freed = hashlib.sha256()
        self._leave()

    def _see(self, size: int, last: bool) -> None:
        del last
        if size < self._read:
            self._begin_anew()
        self._end = size

    def _next(self) -> Piece:
        content = self._content(self._read, min(self._end - self._read, PIECE_BYTES))
        piece = Piece(self._read, content, self._cut)
        self._read, self._cut = self._read + len(content), False
        self._end = self._end if content else self._read  # cut since the last look: the next one sees it
        return piece

    def _content(self, offset: int, size: int) -> bytes:
        descriptor = os.open(self.path, _READ)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)


class GrownSteps(Grown):
    """A file of steps: of the room that is made ahead only the rows are read that the header counts.

    The rows come before the header that counts them, so that nobody who reads them elsewhere misses any.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._head = self._read_head = b""
        self._counted = 0  # where the rows end that the header counts

    @property
    def behind(self) -> bool:
        return not (self._problem or self._gone) and (super().behind or self._head != self._read_head)

    def _begin_anew(self) -> None:
        self._cut = self._cut or bool(self._read_head) or self._read > StepsHeader.SIZE
        self._read, self._head, self._read_head = StepsHeader.SIZE, b"", b""

    def _see(self, size: int, last: bool) -> None:
        try:
            head = self._content(0, StepsHeader.SIZE)
            if head != self._head:
                header = StepsHeader.decode(head, self.path)
                self._counted = header.SIZE + header.rows * header.row_size
        except WireError:
            if last:  # whatever it is: it is kept as it is
                self._begin_anew()
                self._read, self._end = 0, size
            return
        except OSError as error:
            self._problem = error.strerror or str(error)
            return
        end = min(size, self._counted)
        if end < self._read:
            self._begin_anew()
        self._head, self._read, self._end = head, max(self._read, StepsHeader.SIZE), end

    def _next(self) -> Piece:
        if self._read < self._end:
            return super()._next()
        piece = Piece(0, self._head, self._cut)
        self._read_head, self._cut = self._head, False
        return piece
