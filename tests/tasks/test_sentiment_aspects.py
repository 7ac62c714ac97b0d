"""Aspects and opinions are phrases of the text."""

from __future__ import annotations

import pytest

from llmcli.tasks.noun_phrases import phrase_patterns
from llmcli.tasks.sentiment_aspects import (
    Aspect,
    aspect_grammar,
    is_aspect,
    is_opinion,
    parse_aspects,
)

TEXT = (
    "The camera is excellent, but the 3.5 inch screen of this phone broke in the very first week! Ann\u2019s "
    "staff-service was so-so.\nThe food: good. \u98df\u7269\u5f88\u597d\u5403\u3002\u4f46\u662f\u670d\u52a1\u592a\u6162\u4e86"
)


ENGLISH = phrase_patterns("The camera is excellent")


def allows(text: str, source: str = TEXT) -> bool:
    """Whether the grammar of a source admits a text as a whole answer."""
    from llguidance import LLMatcher, LLTokenizer

    matcher = LLMatcher(LLTokenizer("byte"), LLMatcher.grammar_from_lark(aspect_grammar(source)), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return all(map(matcher.consume_token, text.encode())) and matcher.is_accepting()


@pytest.mark.parametrize(
    "line",
    [
        "NONE",
        "camera | excellent | positive",
        "3.5 inch screen | broke in the very first week | negative",
        "staff-service | so-so | neutral\nfood | good | positive",
        "\u98df\u7269 | \u5f88\u597d\u5403 | positive",
    ],
)
def test_the_grammar_admits_phrases_of_the_text(line):
    """Up to five words, and six for the opinion."""
    assert allows(line)


@pytest.mark.parametrize(
    "line",
    [
        "3.5 inch screen of this phone | broke | negative",
        "screen | phone broke in the very first week | negative",
        "first week! Ann\u2019s | so-so | negative",
        "food: good | good | positive",
        "3 | good | positive",
        "staff | so-so | neutral",
        "zebra | good | positive",
        "\u98df\u7269\u5f88\u597d\u5403\u3002\u4f46\u662f | \u5f88 | positive",
        "camera | excellent",
        "The camera is excellent | excellent | positive",
        "The camera | excellent | positive",
        "screen of | broke | negative",
        "camera | is | positive",
        "3.5 | broke | negative",
    ],
)
def test_the_grammar_admits_nothing_else(line):
    """No longer span, no part of two sentences, no clause, no function words or numbers alone, and no other words."""
    assert not allows(line)


@pytest.mark.parametrize(
    ("words", "short"),
    [
        ("battery life", True),
        ("b c d e f", True),
        ("b c d e f g", False),
        ("The food was good. The staff", False),
        ("version 3.5 of Vim", True),
        ("\u667a\u80fd\u624b\u673a", True),
        ("\u98df\u7269\u5f88\u597d\u5403\u4f46\u662f\u670d\u52a1\u592a\u6162\u4e86", False),
        ("\u0e2d\u0e32\u0e2b\u0e32\u0e23\u0e2d\u0e23\u0e48\u0e2d\u0e22", True),
        ("a" * 1000, False),
        ("aaaa bbbb " * 100, False),
        ("", False),
    ],
)
def test_a_phrase_is_short(words, short):
    """In scripts without spaces, too; a long text is no phrase at once."""
    assert is_aspect(words, ENGLISH) is short
    assert not short or is_opinion(words, ENGLISH)


@pytest.mark.parametrize(
    ("words", "aspect", "opinion"),
    [
        ("quality of the sound", True, True),
        ("Carnahan's crime drama", True, True),
        ("dies too fast", True, True),  # only a parser knows that it has no noun
        ("is excellent", False, True),
        ("they sent me", False, False),
        ("If you use software", False, False),
        ("it's faintly amusing", False, False),
        ("doesn\u2019t work", False, True),
        ("of the sound", False, True),
        ("sound, but", False, False),
        ("my", False, False),
        ("so very", False, False),
        ("107", False, False),
        ("in-built camera", True, True),
        ("Theme", True, True),
    ],
)
def test_an_aspect_is_a_noun_phrase_and_an_opinion_no_clause(words, aspect, opinion):
    """As far as English function words tell."""
    assert (is_aspect(words, ENGLISH), is_opinion(words, ENGLISH)) == (aspect, opinion)


@pytest.mark.parametrize(
    ("source", "phrases", "clause"),
    [
        (
            "Das Zimmer war sauber, aber das Personal am Empfang hat uns nicht begr\u00fc\u00dft.",
            "Personal am Empfang | nicht begr\u00fc\u00dft | negative",
            "das Personal hat | nicht begr\u00fc\u00dft | negative",
        ),
        (
            "La chambre \u00e9tait propre, mais l'accueil de la r\u00e9ception est tr\u00e8s froid.",
            "l'accueil de la r\u00e9ception | tr\u00e8s froid | negative",
            "chambre \u00e9tait propre | tr\u00e8s froid | negative",
        ),
        (
            "La habitaci\u00f3n estaba limpia, pero el personal no nos ayud\u00f3 en nada.",
            "habitaci\u00f3n | limpia | positive",
            "personal no nos ayud\u00f3 | nada | negative",
        ),
    ],
    ids=["German", "French", "Spanish"],
)
def test_the_words_of_clauses_are_those_of_the_language(source, phrases, clause):
    """An English list would admit these clauses, and refuse "am" and "an" in the phrases."""
    assert allows(phrases, source)
    assert not allows(clause, source)


def test_an_opinion_is_not_its_aspect_and_has_one_polarity():
    """Small models repeat words, and lines."""
    lines = (
        "music | music | positive\nsound quality | quality | positive\nfood | good | positive\nFood | good | negative"
    )
    assert parse_aspects(lines) == [Aspect("food", "good", "positive")]


def test_marks_around_a_phrase_are_not_part_of_it():
    """A line without words is no aspect."""
    assert parse_aspects("Food. | good! | Positive.\n-- | bad | negative") == [Aspect("Food", "good", "positive")]
