"""Shares of a job: which records of an input one of several machines processes (``--shard I/N``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmcli.documents.records.record import Record, find_field, value_as_text
from llmcli.fast_dataclass import frozen

MAX_SHARDS = 1_000_000
_HASH_KEY = b"llm shard"
_HASH_BYTES = 8


@frozen
class Shard:
    """Share ``number`` of ``count``, from 1: each ``count``-th record, beginning with record ``number``.

    With ``column``, it is the records whose value in that column hashes to it, so that equal values stay together. A
    record without the column goes by its bytes.
    """

    number: int
    count: int
    column: str | None = None

    @classmethod
    def parse(cls, text: str, column: str | None = None) -> Shard:
        """Return the shard that ``I/N`` names. Raises ``ValueError``."""
        match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text)
        if match is None:
            raise ValueError("expected I/N, such as 1/10")
        number, count = int(match[1]), int(match[2])
        if not 1 <= number <= count <= MAX_SHARDS:
            raise ValueError(f"expected a number from 1 to N, and N up to {MAX_SHARDS:,}")
        return cls(number, count, column)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, record: Record) -> bool:
        """Whether the record is in this share; its ``index`` is that in the input."""
        return (record.index if self.column is None else self._hash(record, self.column)) % self.count == (
            self.number - 1
        )

    @staticmethod
    def _hash(record: Record, column: str) -> int:
        """Return a hash that is the same on each machine and in each version (unlike that of Python)."""
        import hashlib

        try:
            key = value_as_text(find_field(record.fields, column)).encode("utf-8", "surrogatepass")
        except KeyError:
            key = record.raw
        return int.from_bytes(hashlib.blake2b(key, key=_HASH_KEY, digest_size=_HASH_BYTES).digest(), "big")

    def share_of(self, total: int) -> int | None:
        """Return how many of ``total`` records it has; None if their values decide."""
        return None if self.column is not None else (total + self.count - self.number) // self.count


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
