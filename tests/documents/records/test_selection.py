"""The records that are processed, and their texts."""

from __future__ import annotations

import collections
from itertools import count, islice

import pytest

from llmcli.documents.records.record import Record, RecordSchema
from llmcli.documents.records.record_source import RecordSelection, TextChoice, chain_digests, draw_sample
from llmcli.errors import BadDocument, UsageError

TABLE = RecordSchema("csv", ("id", "title", "body"))


def records(number):
    return (Record(index, str(index), index + 1, raw=str(index).encode()) for index in range(number))


def chosen(text_choice, **fields):
    record = Record(0, "", 1, fields=fields)
    text_choice.apply(record)
    return record


def test_the_text_is_a_column():
    """A named one, several joined, the only one, or the one called text."""
    assert chosen(TextChoice(("body",)).resolve(TABLE), id=1, body="b").text == "b"
    assert chosen(TextChoice(("id", "body")).resolve(TABLE), id=1, body="b").text == "1\nb"
    assert TextChoice().resolve(RecordSchema("csv", ("x",))).columns == ("x",)
    assert TextChoice().resolve(RecordSchema("csv", ("x", "text"))).columns == ("text",)
    assert chosen(TextChoice(required=False).resolve(TABLE), id=1, body="b").text == "1\nb"


def test_a_text_that_is_not_there():
    """A table without the column is refused before anything runs; a JSON object without it fails alone."""
    for choice in (TextChoice(("nope",)), TextChoice()):
        with pytest.raises(UsageError) as raised:
            choice.resolve(TABLE)
        assert "id, title, body" in raised.value.detail
    jsonl = RecordSchema("jsonl", ("a",))
    assert isinstance(chosen(TextChoice(("b.c",)).resolve(jsonl), a=1).error, BadDocument)
    assert chosen(TextChoice(("b.c",)).resolve(jsonl), b={"c": None}).text == ""
    assert chosen(TextChoice(("a",))).text == ""  # a blank line


def test_a_template_makes_the_text():
    """It needs no column."""
    choice = TextChoice(template=lambda fields: f"<{fields['id']}>").resolve(TABLE)
    assert chosen(choice, id=1).text == "<1>"


def test_a_limit_reads_no_further():
    """The input may be endless."""
    endless = (Record(index, "", index + 1) for index in count())
    assert [record.index for record in RecordSelection(limit=3).apply(endless)] == [0, 1, 2]


def test_a_sample_keeps_the_order_and_is_repeatable():
    """The same seed draws the same records; they are numbered anew."""
    first = list(RecordSelection(sample=5, seed=7).apply(records(100)))
    assert [record.text for record in first] == [
        record.text for record in RecordSelection(sample=5, seed=7).apply(records(100))
    ]
    assert [record.index for record in first] == [0, 1, 2, 3, 4]
    lines = [record.line for record in first]
    assert lines == sorted(lines) and len(set(lines)) == 5
    assert [r.text for r in RecordSelection(sample=5, seed=8).apply(records(100))] != [r.text for r in first]
    assert len(list(RecordSelection(sample=5).apply(records(3)))) == 3
    assert max(record.line for record in RecordSelection(limit=10, sample=5).apply(records(100))) <= 10


def test_each_record_is_drawn_as_often():
    """Vitter's algorithm R is fair."""
    drawn = collections.Counter(r.text for seed in range(2000) for r in draw_sample(records(10), 3, seed))
    assert all(500 < drawn[str(index)] < 700 for index in range(10))


def test_a_digest_covers_all_records_before():
    """It differs if any byte before it differs."""
    first = [record.digest for record in chain_digests(records(3))]
    assert first == [record.digest for record in islice(chain_digests(records(9)), 3)]
    changed = list(records(3))
    changed[0].raw = b"x"
    assert all(a != b.digest for a, b in zip(first, chain_digests(changed), strict=True))
