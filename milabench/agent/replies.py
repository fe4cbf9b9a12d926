"""Replies on their way to the runner: kept while it does not read, so that nothing here ever waits for it."""

from __future__ import annotations

import os
import selectors
from collections import deque
from collections.abc import Mapping
from typing import Any

from benchmate.wire import frame

# With so much unread the agent takes no further requests: what is kept here is bounded by what was asked for.
FULL_BYTES = 4 << 20
# With so much unread nothing is added that may as well wait: what answers a request shall not stand far behind it.
BUSY_BYTES = 1 << 18


class Replies:
    """A queue before a pipe that is never waited for; what is in it is sent whole and in order, or not at all."""

    def __init__(self, descriptor: int, selector: selectors.BaseSelector) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor, self._selector = descriptor, selector
        self._queue: deque[memoryview] = deque()
        self._bytes = 0
        self._waiting = self._moved = False
        self.gone = False  # nobody will read any more

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        return self._bytes >= FULL_BYTES

    @property
    def moved(self) -> bool:
        """Whether anything was taken since this was last asked."""
        moved, self._moved = self._moved, False
        return moved

    @property
    def busy(self) -> bool:
        return self._bytes >= BUSY_BYTES or self.gone

    def send(self, message: Mapping[str, Any], blob: bytes | None = None) -> None:
        """Send a message, with raw bytes where there are some, as soon as the pipe takes it."""
        if self.gone:
            return
        content = memoryview(frame(message, blob))
        self._queue.append(content)
        self._bytes += len(content)
        if not self._waiting:
            self.flush()

    def flush(self) -> None:
        """Write what the pipe takes now; the selector says when it takes more."""
        try:
            while self._queue:
                self._written(os.write(self._descriptor, self._queue[0]))
        except BlockingIOError:
            self._wait()
        except OSError:  # nobody is there any more: the requests end as well, and with them the agent
            self.gone, self._bytes = True, 0
            self._queue.clear()
        if not self._queue and self._waiting:
            self._selector.unregister(self._descriptor)
            self._waiting = False

    def _written(self, count: int) -> None:
        self._bytes -= count
        self._moved = True
        left = self._queue.popleft()[count:]
        if left:
            self._queue.appendleft(left)

    def _wait(self) -> None:
        if not self._waiting:
            self._selector.register(self._descriptor, selectors.EVENT_WRITE, self.flush)
            self._waiting = True
