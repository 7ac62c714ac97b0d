"""Coroutines without an event loop of the standard library, whose import takes a third of a warm ``llm ask``.

A coroutine waits for a ``Pending`` value. Its resolution makes the coroutine ready, and ``CoroutineLoop.run`` resumes
the ready ones. One thread at a time resumes the coroutines of one loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator, Sized
from typing import Any, Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S")


class Pending(Generic[T]):
    """A value that will come, or an error in its place. Coroutines wait for it with ``await``."""

    def __init__(self) -> None:
        self.done = False
        self.error: Exception | None = None
        self._value: T | None = None
        self._callbacks: list[Callable[[], object]] = []

    def __await__(self) -> Generator[Pending[Any], None, T]:
        if not self.done:
            yield self
        return self.value

    @property
    def value(self) -> T:
        """The value once it is there. Raises the error that came in its place."""
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]  # it is set, to None where T allows that

    def resolve(self, value: T) -> None:
        """Set the value; nothing happens if it is set already."""
        if not self.done:
            self._value = value
            self._end()

    def fail(self, error: Exception) -> None:
        """Set an error in place of the value."""
        if not self.done:
            self.error = error
            self._end()

    def when_done(self, callback: Callable[[], object]) -> None:
        """Call a function when the value comes, at once if it is there."""
        if self.done:
            callback()
        else:
            self._callbacks.append(callback)

    def _end(self) -> None:
        self.done = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class Spawned(Pending[T]):
    """A coroutine that runs on its own; its value is what the coroutine returns."""

    def __init__(self, loop: CoroutineLoop, coroutine: Coroutine[Any, Any, T]) -> None:
        super().__init__()
        self._loop = loop
        self._coroutine = coroutine

    def resume(self) -> None:
        """Run until the coroutine waits for a value that is not there, or ends."""
        while not self.done:
            try:
                awaited: Pending[Any] = self._coroutine.send(None)
            except StopIteration as end:
                self.resolve(end.value)
            except Exception as error:  # noqa: BLE001 (raised again where its value is awaited)
                self.fail(error)
            else:
                if not awaited.done:
                    awaited.when_done(lambda: self._loop.make_ready(self))
                    return

    def close(self) -> None:
        """End the coroutine where it waits. Its ``finally`` blocks run; callbacks are not called."""
        if not self.done:
            self.done = True
            self._coroutine.close()


class CoroutineLoop:
    """The coroutines that run, and those that are ready to go on."""

    def __init__(self) -> None:
        self._ready: deque[Spawned[Any]] = deque()

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Spawned[T]:
        """Let a coroutine run beside the others; it begins at the next ``run``."""
        spawned = Spawned(self, coroutine)
        self._ready.append(spawned)
        return spawned

    def make_ready(self, spawned: Spawned[Any]) -> None:
        """Resume a coroutine at the next ``run``, after those that are ready already."""
        self._ready.append(spawned)

    def run(self) -> None:
        """Resume coroutines until all that are left wait."""
        while self._ready:
            self._ready.popleft().resume()


async def gather(loop: CoroutineLoop, works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines concurrently and return their values in order.

    Raises the first error at once; then the others end.
    """
    children = [loop.spawn(work) for work in works]
    finished: Pending[None] = Pending()
    left = len(children)

    def note(child: Spawned[T]) -> None:
        nonlocal left
        left -= 1
        if child.error is not None:
            finished.fail(child.error)
        elif not left:
            finished.resolve(None)

    for child in children:
        child.when_done(lambda child=child: note(child))  # type: ignore[misc]  # mypy cannot infer the type of a lambda's default
    try:
        if children:
            await finished
        return [child.value for child in children]
    finally:
        for child in children:
            child.close()


class ConcurrentMap(AsyncIterator[T], Generic[S, T]):
    """The values of ``work`` for the items of ``source``, in their order, several at a time.

    An item is taken from the source when there is room: fewer than ``limit`` values are unread, and ``has_room``. The
    caller calls ``resume`` when there is room again. ``total``: the number of items, if it is known.
    """

    def __init__(
        self,
        loop: CoroutineLoop,
        source: Iterable[S],
        work: Callable[[S], Coroutine[Any, Any, T]],
        *,
        limit: int,
        total: int | None,
        has_room: Callable[[], bool],
        wait_for_room: Callable[[ConcurrentMap[Any, Any]], object],
    ) -> None:
        self._loop = loop
        self._items: Iterator[S] | None = iter(source)
        self._work = work
        self._limit = limit
        self.has_room = has_room
        self._wait_for_room = wait_for_room
        self._total = len(source) if isinstance(source, Sized) else total
        self._num_started = 0
        self._running: deque[Spawned[T]] = deque()
        self._failed: Spawned[T] | None = None
        self._changed: Pending[None] = Pending()

    @property
    def remaining(self) -> int:
        """How many items are still to come, at least."""
        if self._items is None:
            return 0
        return 1 if self._total is None else self._total - self._num_started

    def __aiter__(self) -> ConcurrentMap[S, T]:
        return self

    async def __anext__(self) -> T:
        while True:
            if self._failed is not None:
                return self._failed.value  # raises
            if self._running and self._running[0].done:
                return self._running.popleft().value
            if self._start_next():
                continue
            if not self._running and self._items is None:
                raise StopAsyncIteration
            self._changed = Pending()
            if self._items is not None and len(self._running) < self._limit:
                self._wait_for_room(self)
            await self._changed

    def resume(self) -> bool:
        """Go on, since there may be room; return whether it waited."""
        waited = not self._changed.done
        self._changed.resolve(None)
        return waited

    def _start_next(self) -> bool:
        """Start the work for the next item, if there is room; return whether it did, or found that there is no item."""
        if self._items is None or len(self._running) >= self._limit or not self.has_room():
            return False
        try:
            item = next(self._items)
        except StopIteration:
            self._items = None
            return True
        self._num_started += 1
        child = Spawned(self._loop, self._work(item))
        self._running.append(child)
        child.when_done(lambda: self._note_end(child))
        child.resume()  # so that its request counts before there is room for another one
        return True

    def _note_end(self, child: Spawned[T]) -> None:
        if child.error is not None and self._failed is None:
            self._failed = child
        if child.error is not None or child is self._running[0]:
            self._changed.resolve(None)

    def close(self) -> None:
        """End the work that still runs."""
        self._items = None
        for child in self._running:
            child.close()
