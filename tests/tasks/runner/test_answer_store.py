"""Answers by key are complete when they come back, in memory or from the disk."""

from __future__ import annotations

import pytest

from llmcli.errors import OutputError
from llmcli.errors.incomplete_results import AnswerTruncated
from llmcli.tasks.runner.answer_store import AnswerStore
from llmcli.types import FinishReason, Result, Timings, Usage


@pytest.fixture
def store():
    opened = AnswerStore()
    yield opened
    opened.close()


def test_a_result_comes_back_as_it_was(store):
    """Nested fields, figures, and the reason why it is incomplete."""
    usage, timings = Usage(5, 2, 1), Timings(0.5, 1.5)
    fields = {"label": "a", "probabilities": {"a": 0.1 + 0.2, "b": None}, "aspects": [{"aspect": "\u00e9"}]}
    why = AnswerTruncated(limit="max_tokens")
    result = Result(
        3, "line 4", "text", fields, "m", "p", FinishReason.LENGTH, usage, timings, ("w",), cut=True, incomplete=why
    )
    store.add(b"key", result)
    found = store.get(b"key")
    assert store.get(b"other") is None
    assert type(found.incomplete) is AnswerTruncated and vars(found.incomplete) == vars(why)
    assert str(found.incomplete) == str(why) and found.fields == fields and found.usage == usage
    assert (found.text, found.timings, found.finish_reason, found.warnings) == (
        "text",
        timings,
        FinishReason.LENGTH,
        ("w",),
    )


def test_many_long_answers_are_not_kept_in_memory(store):
    """Those that exceed the cache of the database come back from its file."""
    for number in range(300):
        store.add(b"%d" % number, Result(0, "", f"{number} " * 10_000))
    assert all(store.get(b"%d" % number).text == f"{number} " * 10_000 for number in range(300))


def test_a_full_disk_is_an_output_error(store):
    """It ends the job with its own exit code."""
    store._database.execute("PRAGMA max_page_count = 10")
    with pytest.raises(OutputError, match="temporary file") as raised:
        store.add(b"key", Result(0, "", "x" * 1_000_000))
    assert raised.value.exit_code == 74
