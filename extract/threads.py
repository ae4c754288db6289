"""Queues, permits and threads that a run can leave at any time: nothing waits for one that hangs."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Generic, TypeVar

from typing_extensions import override

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - no error: the run has ended
    """Raised by a queue whose run has ended, to whoever waits at it."""


class Channel(Generic[T]):
    """A queue between two stages.

    Args:
        room: Items that it holds at most; who puts one more waits. None for any number.
    """

    def __init__(self, room: int | None = None) -> None:
        self._items: deque[T] = deque()
        self._room, self._closed, self._change = room, False, threading.Condition()

    def put(self, item: T) -> None:
        """Add an item, when there is room.

        Raises:
            Closed: The run has ended.
        """
        with self._change:
            self._change.wait_for(lambda: self._closed or self._room is None or len(self._items) < self._room)
            if self._closed:
                raise Closed
            self._items.append(item)
            self._change.notify_all()

    def get(self) -> T:
        """Take the oldest item, when there is one.

        Raises:
            Closed: The run has ended.
        """
        with self._change:
            self._change.wait_for(lambda: self._closed or self._items)
            if self._closed:
                raise Closed
            item = self._items.popleft()
            self._change.notify_all()
            return item

    def __iter__(self) -> Iterator[T]:
        """Items until the run ends."""
        with suppress(Closed):
            while True:
                yield self.get()

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> list[T]:
        """End the run: whoever waits is told. Returns what was in the queue."""
        with self._change:
            self._closed = True
            left = list(self._items)
            self._items.clear()
            self._change.notify_all()
        return left


class Permits:
    """So much of something that threads share.

    Args:
        count: How much of it; who wants more than there is, has all.
    """

    def __init__(self, count: int) -> None:
        self._count = self._left = count
        self._closed, self._change = False, threading.Condition()

    def take(self, count: int) -> int:
        """Take some, when there is as much; returns what is to be given back.

        Raises:
            Closed: The run has ended.
        """
        count = min(count, self._count)
        with self._change:
            self._change.wait_for(lambda: self._closed or self._left >= count)
            if self._closed:
                raise Closed
            self._left -= count
        return count

    def give(self, count: int) -> None:
        """Give some back."""
        with self._change:
            self._left += count
            self._change.notify_all()

    def close(self) -> None:
        """End the run: whoever waits is told."""
        with self._change:
            self._closed = True
            self._change.notify_all()


class Threads(Executor):
    """Daemon threads that call what is submitted. Unlike Python's own, they hold no process that is about to end.

    Args:
        count: How many.
        name: Of the threads.
        busy: Made for each call, which runs in this context: counts how long they work.
    """

    def __init__(self, count: int, name: str, busy: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._calls: Channel[tuple[Future[Any], Callable[[], Any]]] = Channel()
        self._name, self._busy, self._started = name, busy, 0
        for _ in range(count):
            self.start_one()

    def start_one(self) -> None:
        """Start one more, in place of one that hangs."""
        self._started += 1
        threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()

    @override
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        return future

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drop what has not begun. What is under way ends by itself, and is not waited for."""
        for future, _ in self._calls.close():
            future.cancel()
            future.set_running_or_notify_cancel()

    def _work(self) -> None:
        for future, call in self._calls:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                with self._busy():
                    result = call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
                del result  # it would be held until the next call
            del future, call
