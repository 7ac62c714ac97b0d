"""The records of a shard."""

from __future__ import annotations

import pytest

from llmcli.documents.records.record import Record
from llmcli.documents.records.shard import Shard


def record(index, key):
    """Return a record with a key."""
    return Record(index, "", index + 1, fields={"key": key}, raw=str(key).encode())


@pytest.mark.parametrize("count", [2, 3, 10])
def test_shares_by_a_key_are_even(count):
    """Within 5%: keys that count upwards, as ids do, are no exception."""
    sizes = [0] * count
    shards = [Shard(number, count, "key") for number in range(1, count + 1)]
    for index in range(50_000):
        user = record(index, f"user-{index}")
        owners = [number for number, shard in enumerate(shards) if shard.has(user)]
        assert len(owners) == 1
        sizes[owners[0]] += 1
    assert max(abs(size * count / 50_000 - 1) for size in sizes) < 0.05


def test_the_share_of_a_key_never_changes():
    """Another machine, another day and another version have the same shards; so has a number of another format."""
    shards = [Shard(number, 4, "key") for number in range(1, 5)]

    def owner(key):
        return next(shard.number for shard in shards if shard.has(record(0, key)))

    assert [owner(key) for key in ("a", "b", "user-1", "", "é")] == [3, 1, 2, 3, 3]
    assert owner(7) == owner("7")


def test_a_record_without_the_key_is_in_one_shard():
    """It goes by its bytes."""
    shards = [Shard(number, 3, "nosuch") for number in range(1, 4)]
    assert [sum(shard.has(record(0, key)) for shard in shards) for key in "abc"] == [1, 1, 1]


def test_shares_by_number_are_known_before():
    """Each Nth record, and how many of them there are."""
    shards = [Shard(number, 3) for number in (1, 2, 3)]
    assert [[index for index in range(8) if shard.has(record(index, ""))] for shard in shards] == [
        [0, 3, 6],
        [1, 4, 7],
        [2, 5],
    ]
    assert [shard.share_of(8) for shard in shards] == [3, 3, 2]
    assert Shard(1, 3, "key").share_of(8) is None


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1/99999999"])
def test_other_shards_are_refused(text):
    """A shard is I/N, from 1 to N."""
    with pytest.raises(ValueError, match="expected"):
        Shard.parse(text)
