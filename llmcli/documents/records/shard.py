"""Shares of a job: which records of an input one of several machines processes (``--shard I/N``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmcli.documents.records.record import Record
from llmcli.fast_dataclass import frozen

MAX_SHARDS = 1_000_000


@frozen
class Shard:
    """Share ``number`` of ``count``, from 1: each ``count``-th record, beginning with record ``number``."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that ``I/N`` names. Raises ``ValueError``."""
        match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text)
        if match is None:
            raise ValueError("expected I/N, such as 1/10")
        number, count = int(match[1]), int(match[2])
        if not 1 <= number <= count <= MAX_SHARDS:
            raise ValueError(f"expected a number from 1 to N, and N up to {MAX_SHARDS:,}")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, record: Record) -> bool:
        """Whether the record is in this share; its ``index`` is that in the input."""
        return record.index % self.count == self.number - 1

    def share_of(self, total: int) -> int:
        """Return how many of ``total`` records it has."""
        return (total + self.count - self.number) // self.count


class ShardedInput:
    """The share of an input, and what identifies the whole: the number of records, and the digest of the last one."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.records = 0
        """Records of the input that were read so far, those of other shares too."""
        self.digest = ""
        """The digest of the records that were read so far, in hexadecimal."""

    def select(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records of the share; ``index`` numbers them anew, and ``input_index`` is that in the input.

        The digests of the records must be known (``chain_digests``).
        """
        count, digest = 0, b""
        for record in records:
            self.records, digest = record.index + 1, record.digest
            if self.shard.has(record):
                record.input_index, record.index = record.index, count
                count += 1
                yield record
        self.digest = digest.hex()
