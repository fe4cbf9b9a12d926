"""Send a runner on another machine what processes write here, as they write it.

They write into the spool. Their files are looked at twice a second, since the kernel tells nobody of steps (rows of
mapped memory); what has come is read and sent while the runner keeps up, a piece of each process in turn. So nothing
here waits for the runner, and nothing of the files is kept in memory but the pieces on their way.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from milabench.agent.grown import Grown, GrownSteps
from milabench.agent.replies import Replies
from milabench.agent.spool import Spool

Message = dict[str, Any]
LOOK_S: Final = 0.5
_MOMENT_S: Final = 0.001  # then others have their turn
_FILES: Final = ("stdout", "stderr", "events", "steps")  # of a start request
_PRINTED: Final = (".stdout", ".stderr")  # of them room is given back: the others are read on this node as well
_BESIDE: Final = ("group_events", "group_steps")  # files of another node's process, beside which ranks here write
_RANKS: Final = re.compile(r"(.+)\.rank[0-9]+\.(?:jsonl|steps)")


class Sending:
    """The files of one request on their way, each a piece at a time in turn, and then what else there is to say.

    ``send`` takes messages with their raw bytes.
    """

    def __init__(self, number: int, paths: list[str], send: Callable[[Message, bytes | None], object]) -> None:
        self._number, self._send = number, send
        self._files: dict[str, Grown] = {}
        self._behind: deque[Grown] = deque()
        self._kept: deque[Grown] = deque()
        self._unhashed: deque[Grown] = deque()
        self._reply: Message | None = None
        self.told = False
        for path in paths:
            self.add(path)

    @property
    def paths(self) -> list[str]:
        return [each.path for each in self._files.values()]

    @property
    def ending(self) -> bool:
        """Whether what else there is to say waits for the files."""
        return self._reply is not None and not self.told

    def add(self, path: str) -> None:
        """Send a further file; one that is known already stays as it is."""
        if path not in self._files:
            self._files[path] = GrownSteps(path) if path.endswith(".steps") else Grown(path)

    def again(self, number: int, name: str) -> Sending:
        """Return what sends a file once more for another request, as far as it is there."""
        found = Sending(number, [], self._send)
        found._files = {path: each.again() for path, each in self._files.items() if each.name == name}
        return found

    def keeps(self, name: str, size: int, sha256: str) -> bool:
        """Take it that the runner has so much of a file; return whether there is something to do."""
        for each in self._files.values() if self._reply is None else ():
            if each.name == name and name.endswith(_PRINTED) and each.keeps(size, sha256):
                self._kept.append(each)
        return bool(self._kept)

    def look(self, *, last: bool = False) -> bool:
        """See what has come; return whether there is something to do."""
        for each in self._files.values():
            if each.look(last=last) and each not in self._behind:
                self._behind.append(each)
        return bool(self._behind)

    def end(self, reply: Message) -> None:
        """Send what is left, then the reply with an account of the files: nobody writes to them any more."""
        self._kept.clear()
        self.look(last=True)
        self._reply = reply
        self._unhashed.extend(self._files.values())

    def step(self) -> bool:
        """Do a bounded part of what is to be done; return whether there is more."""
        if self._behind:
            self._send_piece(self._behind.popleft())
        elif self._kept:
            if not self._kept[0].free():
                self._kept.popleft()
        elif self._unhashed:
            if not self._unhashed[0].hash():
                self._unhashed.popleft()
        elif self.ending:
            accounts = {each.name: account for each in self._files.values() if (account := each.account())}
            self.told = True
            self._send({**self._reply, "files": accounts}, None) if self._reply else None
        return bool(self._behind or self._kept) or self.ending

    def _send_piece(self, file: Grown) -> None:
        piece = file.read()
        if piece is not None and (piece.content or piece.cut):
            cut = {"cut": True} if piece.cut else {}
            message = {"id": self._number, "event": "chunk", "file": file.name, "offset": piece.offset, **cut}
            self._send(message, piece.content)
        if file.behind:
            self._behind.append(file)


class Forwarding:
    """All that is sent to a runner on another machine, fairly; ``wake_at`` says when ``work`` is to be called next."""

    def __init__(self, replies: Replies, environ: Mapping[str, str]) -> None:
        self._replies = replies
        self.spool = Spool(environ)
        self._sendings: dict[int, Sending] = {}  # also of what has ended, until it has arrived
        self._tags: dict[str, Sending] = {}  # by the path of their files without what follows the tag
        self._folders: dict[str, int] = {}  # when a file was made there last
        self._ready: deque[Sending] = deque()
        self._look_at: float | None = None

    def __bool__(self) -> bool:
        """Say whether something that has ended waits to be told, and somebody may hear of it."""
        return not self._replies.gone and any(each.ending for each in (*self._sendings.values(), *self._ready))

    def placed(self, request: Message) -> Message:
        """Return a start or monitor request with its files in the spool. Raises OSError."""
        names = [name for name in ("path", *_FILES, *_BESIDE) if request.get(name)]
        return {**request, **{name: self.spool.place(request[name]) for name in names}}

    def begin(self, request: Message) -> None:
        """Send from now on what the files of a request hold, whose paths are placed."""
        paths = [request[name] for name in ("path", *_FILES) if request.get(name)]
        sending = self._sendings[request["id"]] = Sending(request["id"], paths, self._replies.send)
        for path in paths:
            self._folders.setdefault(str(Path(path).parent), 0)
            self._tags[str(Path(path).with_suffix(""))] = sending
        if request.get("group_events"):
            self._tags[str(Path(request["group_events"]).with_suffix(""))] = sending
        self._look_at = self._look_at or time.monotonic() + LOOK_S

    def end(self, number: int, reply: Message) -> None:
        """Send a reply when all that a request's process wrote is sent; without such a request at once.

        That a process has ended is told at once also where what it wrote takes a while.
        """
        sending = self._sendings.get(number)
        if sending is None or sending.told or sending.ending:
            self._replies.send(reply)
            return
        if reply["event"] == "exit":
            self._replies.send({**reply, "event": "gone"})
        self._folders.update((str(Path(path).parent), 0) for path in sending.paths)
        self._find_ranks()
        full = {"full_disk": self.spool.folder} if self.spool.full() else {}
        sending.end({**reply, **full})
        self._make_ready(sending)

    def fetch(self, request: Message) -> None:
        """Send a file of a process that has ended once more, as far as it is here."""
        sending = self._sendings.get(request["target"]) or Sending(0, [], self._replies.send)
        again = sending.again(request["id"], request["file"])
        again.end({"id": request["id"], "event": "fetched"})
        self._ready.append(again)

    def kept(self, request: Message) -> None:
        """Give back the room of what the runner has of a file."""
        sending = self._sendings.get(request["target"])
        if sending is not None and sending.keeps(request["file"], request["size"], request["sha256"]):
            self._make_ready(sending)

    def arrived(self, request: Message) -> None:
        """Remove the files of a process that has ended: the runner has them."""
        sending = self._sendings.pop(request["target"], None)
        if sending is None:
            return
        self._tags = {tag: each for tag, each in self._tags.items() if each is not sending}
        for path in sending.paths:
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108
        if not self._sendings:
            self._look_at = None

    def work(self) -> None:
        """Look at the files where it is time to, and send for a moment what there is while the runner keeps up."""
        now = time.monotonic()
        if self._look_at is not None and now >= self._look_at:
            self._look()
        while self._ready and not self._replies.busy:
            sending = self._ready.popleft()
            if sending.step():
                self._ready.append(sending)
            if time.monotonic() - now > _MOMENT_S:
                return

    @property
    def wake_at(self) -> float | None:
        return 0.0 if self._ready and not self._replies.busy else self._look_at

    def close(self) -> None:
        """Remove what was written here."""
        self.spool.close()

    def _look(self) -> None:
        self._find_ranks()
        for sending in self._sendings.values():
            if not (sending.told or sending.ending) and sending.look():
                self._make_ready(sending)
        self._look_at = time.monotonic() + LOOK_S

    def _make_ready(self, sending: Sending) -> None:
        if sending not in self._ready:
            self._ready.append(sending)

    def _find_ranks(self) -> None:
        """Find the files of further ranks, which appear beside those of their leaders."""
        for folder, before in self._folders.items():
            with suppress(OSError):
                changed = os.stat(folder).st_mtime_ns  # noqa: PTH116
                if changed == before:
                    continue
                self._folders[folder] = changed
                for name in os.listdir(folder):  # noqa: PTH208
                    found = _RANKS.fullmatch(name)
                    if found and (sending := self._tags.get(f"{folder}/{found[1]}")) is not None:
                        sending.add(f"{folder}/{name}")
