"""The loop around the steps: what is done between two batches, and nothing that could be done elsewhere."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Any, Final, Protocol, TypeVar

from benchmate.batches import Count, checked, counter, spent, whole
from benchmate.device import Accelerator
from benchmate.observations import NEVER
from benchmate.ring import Append, Lane, Ring
from benchmate.wire import GOOD, OVERLAPPED, WARMUP

T = TypeVar("T")

_END: Final[Any] = object()


class Owner(Protocol):
    """Whose loop it is; told of what happens seldom, and what it does then belongs to no step."""

    def pass_begins(self) -> None:
        """Take note that the next step is the first of a pass."""
        ...

    def at_boundary(self) -> bool:
        """Decide how to go on after the step that reached a boundary; True: nothing more is recorded."""
        ...

    def pass_ended(self) -> None:
        """Take note that nothing more is recorded of a pass."""
        ...

    def beyond(self) -> None:
        """Take note that a step was made that is not recorded any more."""
        ...


class Loop:
    """Passes over loaders, each of their steps handed to ``append``.

    No time counts twice where passes lie within each other: a step in which another pass made one is overlapped, which
    a pass knows by the number of good steps. The owner is asked how to go on after ``boundary`` good steps, and where
    the measured time is used up.
    """

    __slots__ = (
        "_accelerator", "_append", "_deadline_ns", "_given_ns", "_last_ns", "_left_ns", "_owner", "_ring",
        "boundary", "count_ns", "over", "phase", "step",
    )  # fmt: skip

    def __init__(self, accelerator: Accelerator, append: Append, owner: Owner) -> None:
        self._accelerator, self._append, self._owner = accelerator, append, owner
        self._ring: Ring | None = None
        self.phase, self.step, self.over = WARMUP, 0, False
        self.boundary = NEVER
        self.count_ns = 0  # what counting the items of a batch takes, where it is not the script that counts
        self._given_ns = NEVER  # how much time is to be measured at most
        self._left_ns = NEVER  # of that; on the host's clock a deadline says the same more cheaply
        self._deadline_ns = NEVER
        self._last_ns = 0  # where the latest good step ended on the host's clock

    def over_batches(self, loader: Iterable[T], count: Count | None = None) -> Generator[T, None, None]:
        """Return a pass that makes a step of every batch; ``count`` returns the items in one."""
        timed = self._on_device if self._accelerator.clock == "device" else self._on_host
        return timed(loader, count)

    def over_groups(self, loader: Iterable[T], batches: int, count: Count | None = None) -> Generator[T, None, None]:
        """Return a pass that makes a step of every so many batches, and a last one of those that are left."""
        items, known = 0, None

        def count_group(_: object) -> int:
            nonlocal items
            counted, items = items, 0
            return counted

        for group in self.over_batches(_groups(loader, batches), count_group):
            for batch in group:
                known = known or self._counting(count, batch)
                items += known(batch)
                yield batch

    def by_hand(self) -> tuple[Generator[None, None, None], Callable[[int], None]]:
        """Begin a pass; return it (it lasts until it is closed), and what ends a step of so many items."""
        items = 0
        steps = self.over_batches(repeat(None), lambda _: items)

        def end_step(count: int = 1) -> None:
            nonlocal items
            items = count
            try:
                next(steps, None)
            except (TypeError, struct.error):
                whole(count, "the end of a step was told of")
                raise

        next(steps, None)
        return steps, end_step

    def limit_time(self, seconds: float) -> None:
        """Let the time that is measured from now on be limited."""
        self._given_ns = self._left_ns = int(seconds * 1e9)
        self._deadline_ns = self._last_ns + self._left_ns

    def measured_ns(self) -> int:
        """Return the time that was measured since it is limited."""
        return self._given_ns - min(self._left_ns, self._deadline_ns - self._last_ns)

    def drain(self) -> None:
        """Wait for the device, if steps are timed by it, and hand on those that were open."""
        if self._ring is not None:
            self._left_ns -= self._ring.drain()

    def stop(self) -> None:
        """Record nothing more; a pass that is under way finds out at the end of its step."""
        self.over = True
        self.step += 1

    def _on_host(self, loader: Iterable[T], count: Count | None) -> Generator[T, None, None]:
        batches, count = self._begin(loader, count)
        if not self.over:
            clock, append = time.monotonic_ns, self._append
            self._owner.pass_begins()
            # Copies, each a third of an attribute's cost: they change at boundaries and in other passes only.
            step, phase, boundary, deadline_ns = self._state()
            start = clock()
            try:
                for batch in batches:
                    yield batch
                    end = clock()
                    if step == self.step:
                        append(start, end, count(batch), phase, GOOD)
                        if start != self._last_ns:
                            deadline_ns = self._pass_over(start)
                        self.step = step = step + 1
                        self._last_ns = start = end
                        if step >= boundary or end >= deadline_ns:
                            if self._owner.at_boundary():
                                break
                            step, phase, boundary, deadline_ns = self._state()
                            start = clock()
                    elif self.over:
                        break
                    else:
                        append(start, end, count(batch), phase, OVERLAPPED)
                        step, phase, boundary, deadline_ns = self._state()
                        start = end
            finally:
                self._owner.pass_ended()
        yield from self._unrecorded(batches)

    def _begin(self, loader: Iterable[T], count: Count | None) -> tuple[Iterator[T], Count]:
        """Make the iterator and fetch its first batch: neither belongs to a step."""
        iterator = iter(loader)
        first = next(iterator, _END)
        if first is _END:
            return iter(()), counter(None)
        return chain((first,), iterator), self._counting(count, first)

    def _counting(self, count: Count | None, batch: object) -> Count:
        """Return what counts the items of batches, which has counted this one. Raises TypeError where it cannot."""
        return self._counter(batch) if count is None else checked(count, batch)

    def _counter(self, batch: object) -> Count:
        """Return what counts the items of batches like this one, and note what it takes."""
        count = counter(batch)
        self.count_ns = self.count_ns or spent(count, batch)
        return count

    def _state(self) -> tuple[int, int, int, int]:
        return self.step, self.phase, self.boundary, self._deadline_ns

    def _pass_over(self, start_ns: int) -> int:
        """Leave the time between the latest good step and the start of one out of the limit; return the deadline."""
        self._deadline_ns += start_ns - self._last_ns
        return self._deadline_ns

    def _on_device(self, loader: Iterable[T], count: Count | None) -> Generator[T, None, None]:
        batches, count = self._begin(loader, count)
        if not self.over:
            self._owner.pass_begins()
            ring = self._ring = self._ring or Ring(self._accelerator, self._append)
            push, resolve, event = ring.push, ring.resolve, self._accelerator.event
            lane, step = Lane(), self.step
            push(event(), lane, None)
            try:
                for batch in batches:
                    yield batch
                    if step == self.step:
                        push(event(), lane, count(batch), self.phase, GOOD)
                        self.step = step = step + 1
                        self._left_ns -= resolve()
                        if step >= self.boundary or self._left_ns <= 0:
                            if self._owner.at_boundary():
                                break
                            lane = Lane()
                            push(event(), lane, None)
                    elif self.over:
                        break
                    else:
                        push(event(), lane, count(batch), self.phase, OVERLAPPED)
                        step = self.step
            finally:
                self._owner.pass_ended()
        yield from self._unrecorded(batches)

    def _unrecorded(self, batches: Iterator[T]) -> Iterator[T]:
        """Hand on what comes after the limit; nothing is left of a pass that was recorded to its end."""
        for batch in batches:
            yield batch
            self._owner.beyond()


def _groups(loader: Iterable[T], batches: int) -> Iterator[Iterator[T]]:
    """Yield groups of so many batches; a batch is fetched when it is asked for."""
    iterator = iter(loader)
    while (first := next(iterator, _END)) is not _END:
        group = chain((first,), islice(iterator, batches - 1))
        del first  # it is not kept for longer than the script keeps it
        yield group
