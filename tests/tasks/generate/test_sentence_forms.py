"""Sentences that are compared, and names that are spelled alike."""

from __future__ import annotations

import pytest

from llmcli.tasks.generate.name_spelling import NameGlossary
from llmcli.tasks.generate.sentence_forms import (
    SentenceSet,
    join_sentences,
    read_marks,
    split_sentences,
    strip_item,
    trim_dangling,
)


@pytest.mark.parametrize(
    ("one", "other", "is_new"),
    [
        ("The roof loses heat.", "The roof loses heat!", False),
        ("The roof loses heat.", "  the ROOF loses heat [2].", False),
        (
            "The old roof of the house loses much heat in winter.",
            "The roof of the house loses much heat in winter.",
            False,
        ),
        ("The roof loses 40 percent of the heat.", "The roof loses 50 percent of the heat.", True),
        ("The roof loses heat.", "The walls lose warmth in winter.", True),
        (
            "Cats can dream about their dreams, a fact shared by many animals including humans.",
            "Cats can dream of their dreams, a truth shared by many animals including humans.",
            False,
        ),
        ("In winter, the heat pump needs more electricity.", "In summer, the heat pump needs less electricity.", True),
        ("Costs.", "Noise.", True),
    ],
)
def test_sentences_that_say_the_same(one, other, is_new):
    """Case, marks, quotes and a word in ten do not count; a number does."""
    said = SentenceSet([one])
    assert said.add(other) is is_new


def test_many_sentences_are_compared_quickly():
    """By their rarest words: each of five thousand is compared with few."""
    said = SentenceSet()
    for number in range(5000):
        own = " ".join(
            f"{word}{chr(97 + number % 26)}{number // 26 * 'x'}" for word in ("heat", "roof", "wall", "door")
        )
        assert said.add(f"The house of the owner has {own} in it.")


def test_only_the_mark_before_an_item_is_stripped():
    """A number in brackets and a dash inside of a sentence stay."""
    assert (
        strip_item("- On page 99) it says 40 - 50 vans, and 3. Q1) What?")
        == "On page 99) it says 40 - 50 vans, and 3. Q1) What?"
    )


def test_sentences_keep_their_lists():
    """The mark of an item stays with it."""
    text = "Two things matter.\n- The roof. It is old.\n- The walls."
    assert split_sentences(text) == ["Two things matter.", "- The roof.", "It is old.", "- The walls."]
    assert join_sentences(split_sentences(text)) == text


TEXTS = [
    "The study of Viessmann and OpenAI used the refrigerant R290.",
    "Pumps of Viessmann were louder. Then Herrmann came, and with Herrmann the noise of March went.",
    "A Title With Running Costs And Noise",
    "the costs of the march",
]


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        ("We asked viessmann and Openai.", "We asked Viessmann and OpenAI."),
        ("It is r290.", "It is R290."),
        ("The running costs of a march are high.", "The running costs of a march are high."),
        ("VIESSMANN is in capitals.", "VIESSMANN is in capitals."),
    ],
)
def test_names_get_their_case(text, corrected):
    """Words that also stand in small letters, and those of titles, are no names."""
    assert NameGlossary(TEXTS).correct(text) == corrected


def test_addresses_and_code_keep_their_case():
    """They would lead nowhere in another one."""
    text = "[github](https://github.com/a/github.py) and `github.call`, on www.github.com."
    corrected = NameGlossary(["GitHub is here."]).correct(text)
    assert corrected == "[GitHub](https://github.com/a/github.py) and `github.call`, on www.github.com."


def test_names_that_are_nearly_spelled_so():
    """Are reported, not changed: another person may be meant."""
    names = NameGlossary(TEXTS)
    assert names.find_misspelled("The pumps of Viesmann, Viessmann's and Vaillant, and Hermrann.") == [
        "Viesmann may be meant as Viessmann",
        "Hermrann may be meant as Herrmann",
    ]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("It is loud (1). It is old(2), too (3).", "It is loud [1]. It is old [2], too (3)."),
        ("It was built (1987).", "It was built (1987)."),
        ("The act of (2) is none", "The act of [2] is none"),
    ],
)
def test_marks_in_round_brackets(text, read):
    """Are those of quotes, if there are as many."""
    assert read_marks(text, 2) == read


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("what neighbours say about the", "what neighbours say about"),
        ("cost depends,", "cost depends"),
        ("a great example of", "a great example"),
        ("the old roof", "the old roof"),
        ("of the", "of"),
    ],
)
def test_a_line_that_was_cut(line, kept):
    """Ends with a word that needs no other."""
    assert trim_dangling(line) == kept
