"""Sentences keep their offsets."""

from __future__ import annotations

import pytest

from llmcli.documents.sentences import find_sentences, sentence_ends
from llmcli.documents.text_cutting import split_at


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
        ("the room is cold. very cold! it smells.", ["the room is cold.", "very cold!", "it smells."]),
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


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Dr. Smith left.  He ran.\n\nEnd", ["Dr. Smith left.  ", "He ran.\n\n", "End"]),
        ("- One\n- Two. Three", ["- One\n", "- Two. ", "Three"]),
        ("\n \n", ["\n \n"]),
        ("", []),
    ],
)
def test_the_ends_of_sentences_divide_a_text(text, pieces):
    """White space belongs to the sentence before it, marks of lists to the one after them."""
    assert split_at(text, sentence_ends(text)) == pieces


def test_a_text_of_many_sentences():
    """A long block is not copied for each of its sentences."""
    text = "A word. " * 200_000
    assert len(sentence_ends(text)) == 200_000
