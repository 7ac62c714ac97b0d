"""Sentences and passages keep their offsets."""

from __future__ import annotations

import pytest

from llmcli.tasks.quotation.quotable_text import QuotableDocument
from llmcli.tasks.support.sentence_spans import cut_passages, find_sentences, sentences_around


def sentences(text):
    return [text[start:end] for start, end in find_sentences(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One line\nof two. Next!", ["One line\nof two.", "Next!"]),
        ("# Title\n\nText here.\n- item one\n- item two", ["Title", "Text here.", "item one", "item two"]),
        (
            "Dr. Smith, e.g. J. Smith, paid 3.5 euros. Then he left.",
            ["Dr. Smith, e.g. J. Smith, paid 3.5 euros.", "Then he left."],
        ),
        ('He said "no." She left.', ['He said "no."', "She left."]),
        ("これは本です。それも本です。", ["これは本です。", "それも本です。"]),
        ("---\n\n***\n", []),
        ("", []),
    ],
)
def test_a_sentence_ends_with_its_mark_or_its_block(text, found):
    """Not with a line, an abbreviation or a decimal point; marks of lists and headings are left out."""
    assert sentences(text) == found


def test_a_run_without_an_end_is_cut():
    """A table without sentences would be one passage."""
    assert [len(each.split()) for each in sentences("word " * 450)] == [200, 200, 50]


@pytest.mark.parametrize("text", ["x" * 40_000, "\u4e2d\u6587" * 4000, "\u4e2d\u6587\u5b57\u3002" * 2000])
def test_passages_of_text_without_spaces_are_limited_too(text):
    """A run of characters is no single word."""
    passages = cut_passages(QuotableDocument("a", text))
    assert "".join(passage.text for passage in passages) == text
    assert max(len(passage.text) for passage in passages) <= 6000


def test_passages_are_whole_sentences_of_limited_length():
    """All sentences are in a passage, in order."""
    text = " ".join(f"Sentence number {n} has seven words." for n in range(50))
    passages = cut_passages(QuotableDocument("a", text), max_words=30)
    assert all(len(passage.text.split()) <= 30 for passage in passages)
    assert " ".join(passage.text for passage in passages) == text


def test_the_sentences_around_a_quote_are_whole():
    """A quote may begin in one and end in the next."""
    text = "First one. Second one here. Third one. Fourth."
    passage = QuotableDocument("a", text).whole()
    quote = passage.locate("one here. Third")
    assert sentences_around(passage, quote.start, quote.end).text == "Second one here. Third one."
