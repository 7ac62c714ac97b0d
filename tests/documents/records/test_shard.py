"""The records of a shard."""

from __future__ import annotations

import pytest

from llmcli.documents.records.record import Record
from llmcli.documents.records.shard import Shard


def test_shares_are_known_before():
    """Each Nth record, and how many of them there are."""
    shards = [Shard(number, 3) for number in (1, 2, 3)]
    assert [[index for index in range(8) if shard.has(Record(index, "", index + 1))] for shard in shards] == [
        [0, 3, 6],
        [1, 4, 7],
        [2, 5],
    ]
    assert [shard.share_of(8) for shard in shards] == [3, 3, 2]


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1/99999999"])
def test_other_shards_are_refused(text):
    """A shard is I/N, from 1 to N."""
    with pytest.raises(ValueError, match="expected"):
        Shard.parse(text)
