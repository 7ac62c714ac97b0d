"""Coroutines without an event loop: values that come later, work done concurrently, and its end."""

from __future__ import annotations

import pytest

from llmcli.tasks.runner.coroutines import ConcurrentMap, CoroutineLoop, Pending, gather


def test_a_coroutine_goes_on_when_its_value_comes():
    """With the value, or with the error that came in its place."""
    loop, value, error = CoroutineLoop(), Pending(), Pending()
    seen = []

    async def wait():
        seen.append(await value)
        try:
            await error
        except ValueError as raised:
            seen.append(raised)
        return "end"

    spawned = loop.spawn(wait())
    loop.run()
    assert seen == [] and not spawned.done
    value.resolve(1)
    loop.run()
    assert seen == [1] and not spawned.done
    error.fail(ValueError("late"))
    loop.run()
    assert spawned.value == "end" and [str(each) for each in seen] == ["1", "late"]


def test_a_value_comes_once():
    """Later ones are ignored, and those who ask late get the first."""
    value = Pending()
    value.resolve(1)
    value.resolve(2)
    value.fail(ValueError())
    called = []
    value.when_done(lambda: called.append(value.value))
    assert called == [1]


def test_gathered_values_keep_their_order():
    """Whatever the order in which they come; of none there is an empty list."""
    loop, values = CoroutineLoop(), [Pending() for _ in range(3)]

    async def wait(value):
        return await value

    spawned, empty = loop.spawn(gather(loop, map(wait, values))), loop.spawn(gather(loop, []))
    loop.run()
    for number in (2, 0, 1):
        values[number].resolve(number)
        loop.run()
    assert spawned.value == [0, 1, 2] and empty.value == []


def test_the_first_error_ends_the_others():
    """Their ``finally`` blocks run, and the error is raised at once."""
    loop, values, ended = CoroutineLoop(), [Pending() for _ in range(3)], []

    async def wait(number):
        try:
            return await values[number]
        finally:
            ended.append(number)

    spawned = loop.spawn(gather(loop, map(wait, range(3))))
    loop.run()
    values[1].fail(ValueError("bad"))
    loop.run()
    assert isinstance(spawned.error, ValueError) and sorted(ended) == [0, 1, 2]
    values[0].resolve(None)  # the coroutine that waited has ended
    loop.run()


class Room:
    """Room for ``size`` values that have not come."""

    def __init__(self, size):
        self.size, self.waiting, self.values = size, [], {}

    def has_room(self):
        return sum(not value.done for value in self.values.values()) < self.size

    async def work(self, item):
        self.values[item] = Pending()
        return await self.values[item]

    def loop_over(self, loop, source, limit=100):
        return ConcurrentMap(
            loop,
            source,
            self.work,
            limit=limit,
            total=None,
            has_room=self.has_room,
            wait_for_room=self.waiting.append,
        )


async def collect(values, into):
    async for value in values:
        into.append(value)


def test_items_are_taken_while_there_is_room():
    """And their values come in the order of the items."""
    loop, room, found = CoroutineLoop(), Room(2), []
    taken = []
    source = (taken.append(number) or number for number in range(5))
    values = room.loop_over(loop, source)
    spawned = loop.spawn(collect(values, found))
    loop.run()
    assert taken == [0, 1] and room.waiting == [values]
    room.values[1].resolve("b")
    assert room.waiting.pop().resume()
    loop.run()
    assert taken == [0, 1, 2] and found == []
    room.values[0].resolve("a")
    loop.run()
    assert found == ["a", "b"] and taken == [0, 1, 2, 3]
    for number, value in zip((2, 3, 4), "cde", strict=True):
        room.values[number].resolve(value)
        loop.run()
    assert spawned.done and found == [*"abcde"] and not values.remaining


def test_few_values_are_unread():
    """However long the first one takes: no further item is taken."""
    loop, room, found = CoroutineLoop(), Room(100), []
    loop.spawn(collect(room.loop_over(loop, range(100), limit=4), found))
    loop.run()
    assert [*room.values] == [0, 1, 2, 3]
    for number in (1, 2, 3):
        room.values[number].resolve(number)
    loop.run()
    assert [*room.values] == [0, 1, 2, 3] and found == []
    room.values[0].resolve(0)
    loop.run()
    assert found == [0, 1, 2, 3] and len(room.values) == 8


def test_an_error_is_raised_before_its_turn():
    """The loop ends with it, although earlier values have not come."""
    loop, room = CoroutineLoop(), Room(10)
    spawned = loop.spawn(collect(room.loop_over(loop, range(3)), []))
    loop.run()
    room.values[2].fail(ValueError("bad"))
    loop.run()
    with pytest.raises(ValueError, match="bad"):
        _ = spawned.value


def test_what_is_to_come_is_known_of_a_sized_source():
    """Of another source, only that there is more."""
    loop, room = CoroutineLoop(), Room(1)
    sized, unsized = room.loop_over(loop, [1, 2, 3]), room.loop_over(loop, iter([1, 2, 3]))
    assert (sized.remaining, unsized.remaining) == (3, 1)
    loop.spawn(collect(sized, []))
    loop.run()
    assert sized.remaining == 2
