"""The parts of a job as one output: they are checked, then their rows are joined in the order of the input."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from llmcli.child_processes import raise_descriptor_limit
from llmcli.documents.records.job_state import find_differences, load_job
from llmcli.documents.records.part_file import CompletePart, index_path
from llmcli.documents.records.shard import Shard
from llmcli.errors import BadDocument, InputError, MissingError, UsageError
from llmcli.errors.incomplete_results import MAX_NAMED_PARTS, format_rest
from llmcli.errors.saved_state_errors import PartMismatch

PARQUET = "parquet"
_CHUNK_BYTES = 1 << 17
_PER_SHARD = "--shard"
"""The entry of a manifest that differs from part to part."""


class MergedParts:
    """All parts of one job, ``parts`` by the number of their shard; ``info`` is what they have in common."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Read what the parts are.

        Raises ``MissingError`` for a missing file or part, ``InputError`` for a file that is no part or a job that is
        not complete, ``BadDocument`` for a damaged index, ``PartMismatch``, and ``UsageError`` for two parts of one shard.
        """
        read = [_open_part(path) for path in paths]
        first = read[0]
        for part in read[1:]:
            differences = find_differences(first.info.manifest, part.info.manifest)
            if names := tuple(name for name in differences if name != _PER_SHARD):
                raise PartMismatch(part.path, first.path, names)
        by_number: dict[int, CompletePart] = {}
        count = Shard.parse(first.info.shard).count
        for part in read:
            shard = Shard.parse(part.info.shard)
            if shard.count != count:
                raise PartMismatch(part.path, first.path, (f"the N of --shard ({count}, {shard.count})",))
            other = by_number.setdefault(shard.number, part)
            if other is not part:
                raise UsageError(f"{other.path} and {part.path} are both of --shard {shard}", detail="Leave one out.")
            theirs = part.info.records, part.info.input_digest
            if theirs != (first.info.records, first.info.input_digest):
                raise PartMismatch(part.path, first.path, ("input",))
        if missing := tuple(number for number in range(1, count + 1) if number not in by_number):
            numbers = ", ".join(f"{number}/{count}" for number in missing[:MAX_NAMED_PARTS]) + format_rest(missing)
            one = len(missing) == 1
            raise MissingError(
                "a part",
                kind="part",
                message=f"the part{'' if one else 's'} of --shard {numbers} {'is' if one else 'are'} missing",
                advice="Name all parts; run the shards that have none, or go on with --resume.",
                type_name="PartsIncomplete",
            )
        self.parts = [by_number[number] for number in range(1, count + 1)]
        self.info = first.info

    @property
    def failed(self) -> int:
        """The number of records that failed."""
        return sum(part.info.failed for part in self.parts)

    @property
    def incomplete(self) -> int:
        """The number of results that were cut."""
        return sum(part.info.incomplete for part in self.parts)

    @property
    def summaries(self) -> list[Mapping[str, Any]]:
        """The states of the summaries of the parts, none if the verb has no summary."""
        return [part.info.summary for part in self.parts if part.info.summary is not None]

    def require_unchanged(self, check: Callable[[], None]) -> None:
        """Raise ``BadDocument`` if a part is not what its job has written; ``check`` is called before each."""
        for part in self.parts:
            check()
            part.require_unchanged()

    def rows(self) -> Iterator[bytes]:
        """Yield the merged output in pieces. Raises ``BadDocument`` for an index that does not fit its part."""
        raise_descriptor_limit()  # each part is open
        if self.info.format == PARQUET:
            from llmcli.documents.records.formats.parquet import interleave_tables

            return interleave_tables([part.path for part in self.parts], self._order())
        return self._text_rows()

    def _order(self) -> Iterator[tuple[int, int]]:
        """Yield for each record of the input the number of its part, from 0, and the length of its row."""
        expected = 0
        for index, number, length in heapq.merge(*map(_numbered_entries, self.parts, itertools.count())):
            if index != expected:
                raise _misplaced(self.parts[number], expected)
            expected += 1
            yield number, length
        if expected != self.info.records:
            raise _misplaced(self.parts[-1], expected)

    def _text_rows(self) -> Iterator[bytes]:
        with ExitStack() as stack:
            files = [stack.enter_context(part.open()) for part in self.parts]
            heads = [file.read(self.info.head_bytes) for file in files]
            for part, head in zip(self.parts, heads, strict=True):
                if head != heads[0]:
                    raise PartMismatch(part.path, self.parts[0].path, ("columns",))
            pieces, size = [heads[0]], len(heads[0])
            reads = [file.read for file in files]
            for number, length in self._order():
                if not length:
                    continue
                pieces.append(reads[number](length))
                size += length
                if size >= _CHUNK_BYTES:
                    yield b"".join(pieces)
                    pieces, size = [], 0
            yield b"".join(pieces)


def _misplaced(part: CompletePart, index: int) -> BadDocument:
    detail = f"record {index + 1:,} of the input is in no part, or in two"
    return BadDocument(str(index_path(Path(part.path))), detail=detail)


def _numbered_entries(part: CompletePart, number: int) -> Iterator[tuple[int, int, int]]:
    return ((index, number, length) for index, length in part.entries())


def _open_part(path: str) -> CompletePart:
    """Return a part if its job is complete. Raises as ``MergedParts`` does."""
    job = load_job(Path(path))
    if job is not None and not job.progress.complete:
        raise InputError(
            path,
            message=f"the job of {{subject}} is not complete: {job.progress.done:,} records are done",
            advice="Repeat its command with --resume.",
            type_name="UnfinishedPart",
        )
    if Path(path).exists() and not index_path(Path(path)).exists():
        raise InputError(
            path,
            message="{subject} is not the output of --shard: {subject}.shard is missing",
            advice="Copy both files of each part, and merge outputs of --shard only.",
            type_name="NotAPart",
        )
    return CompletePart(path)
