"""Steps between the records of a source and a verb: texts, limit, sample, digests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmcli.documents.records.record import TEXT_COLUMN, Record, RecordSchema, find_field, value_as_text
from llmcli.errors import BadDocument, LlmError, UsageError
from llmcli.fast_dataclass import frozen

_DIGEST_BYTES = 16


@frozen
class TextChoice:
    """The text of a record: a template rendered with its fields, or columns joined by newlines.

    ``required`` False: without either, it is all columns of a table.
    """

    columns: tuple[str, ...] = ()
    template: Callable[[Mapping[str, Any]], str] | None = None
    required: bool = True

    def resolve(self, schema: RecordSchema) -> TextChoice:
        """Return the choice with the default column: the only one, or ``text``.

        Raises ``UsageError`` when there is no default, or when a table has no such column.
        """
        if self.template is not None and not self.columns:
            return self
        names = schema.columns
        columns = self.columns
        if not columns and not self.required:
            return self
        if not columns:
            default = names[0] if len(names) == 1 else TEXT_COLUMN
            if default not in names and names:
                raise UsageError("which column holds the text?", detail=_list_columns(names))
            return TextChoice((default,), self.template)
        if schema.format != "jsonl" and names:  # an empty input has no columns
            missing = [column for column in columns if not _has_field(names, column)]
            if missing:
                raise UsageError(f"the input has no column {', '.join(missing)}", detail=_list_columns(names))
        return self

    def apply(self, record: Record) -> None:
        """Set the record's text; a record without the field becomes malformed."""
        if record.error is not None:
            return
        try:
            if self.template is not None:
                record.text = self.template(record.fields)
            elif record.fields:
                names = self.columns or tuple(record.fields)
                texts = [value_as_text(find_field(record.fields, name)) for name in names]
                record.text = texts[0] if len(texts) == 1 else "\n".join(texts)
        except KeyError as error:
            record.error = BadDocument(record.file, line=record.line, detail=f"it has no field {error.args[0]}")
        except LlmError as error:
            record.error = error


def _has_field(names: Sequence[str], column: str) -> bool:
    return column in names or ("." in column and column.partition(".")[0] in names)


def _list_columns(names: Sequence[str]) -> str:
    return f"Try: --column NAME, one of {', '.join(names)}" if names else "Try: --column NAME"


@frozen
class Selection:
    """Which records of an input are processed: the first ``limit``, or ``sample`` random ones, by ``seed``.

    With both, the sample is drawn from the first ``limit`` records.
    """

    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def apply(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the chosen records in the order of the input; ``index`` numbers them anew.

        A sample reads the whole input before it yields the first record, and holds only the sample in memory.
        """
        chosen: Iterable[Record] = itertools.islice(records, self.limit)
        if self.sample is not None:
            chosen = draw_sample(chosen, self.sample, self.seed)
        for index, record in enumerate(chosen):
            record.index = index
            yield record


def draw_sample(records: Iterable[Record], count: int, seed: int) -> list[Record]:
    """Return ``count`` records drawn without replacement, each set with the same probability, in the order of the input.

    Algorithm R (Vitter 1985, Random Sampling with a Reservoir).
    """
    import random

    chance = random.Random(seed)  # noqa: S311 (a sample, no secret)
    reservoir: list[Record] = []
    for number, record in enumerate(records):
        if number < count:
            reservoir.append(record)
        else:
            position = chance.randrange(number + 1)
            if position < count:
                reservoir[position] = record
    return sorted(reservoir, key=lambda record: record.index)


def chain_digests(records: Iterable[Record]) -> Iterator[Record]:
    """Set the digest of each record: a hash of its bytes and of the digest of the record before it."""
    import hashlib

    digest = b""
    for record in records:
        digest = hashlib.blake2b(record.raw, key=digest, digest_size=_DIGEST_BYTES).digest()
        record.digest = digest
        yield record
