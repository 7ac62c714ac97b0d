"""The sentences and words that may be asked about."""

from __future__ import annotations

import pytest

from llmcli.documents.reading.document import Document
from llmcli.tasks.quiz.source_sentences import SourceText, stands_alone

TEXT = """# Compost guide

![badge](https://img.example/b.svg) [Build](https://ci.example/x)

Compost improves the structure of heavy clay soil in every garden.
It also feeds the worms that live in the soil of the garden.
See the table above for the worms that live in heavy clay soil.
Gregor Mendel sowed peas in 1856 in the garden of a monastery in Brno.
The `dig()` function of the soil object returns a `Worm` or `None` of `Garden`.

    worms = garden.soil.dig(depth=3)  # worms live in the soil

- worms and soil
"""


def blanks(text):
    source = SourceText(Document("a.md", text))
    return {
        sentence.text: [(blank.answer, blank.is_exact) for blank in source.find_blanks(sentence)]
        for sentence in source.sentences
    }


def test_a_sentence_stands_for_itself():
    """No badges, code, headings, references to what was said before or to something on the page."""
    assert list(blanks(TEXT)) == [
        "Compost improves the structure of heavy clay soil in every garden.",
        "Gregor Mendel sowed peas in 1856 in the garden of a monastery in Brno.",
    ]


def test_a_word_is_one_of_the_subject():
    """Numbers, names, and words that the document uses often; none of the heading, and not the first one."""
    found = blanks(TEXT)
    assert found["Gregor Mendel sowed peas in 1856 in the garden of a monastery in Brno."] == [
        ("Mendel", True),
        ("1856", True),
        ("garden", False),
        ("Brno", True),
    ]
    words = [word for word, _ in found["Compost improves the structure of heavy clay soil in every garden."]]
    assert "soil" in words and "garden" in words and "Compost" not in words and "every" not in words


def test_a_gap_keeps_the_first_letter_of_a_word():
    """A number has none."""
    source = SourceText(Document("a.md", TEXT))
    questions = {blank.answer: blank.question for each in source.sentences for blank in source.find_blanks(each)}
    assert "peas in ____ in the garden" in questions["1856"]
    assert "monastery in B____." in questions["Brno"]
    assert questions["soil"] == "Compost improves the structure of heavy clay s____ in every garden."


def test_the_quote_is_the_text_of_the_document():
    """Markup is taken out of the question only."""
    text = "Most gardeners use **two** kinds of [compost](https://a.example) for heavy clay soil.\n"
    (sentence,) = SourceText(Document("a.md", text)).sentences
    assert sentence.text == "Most gardeners use two kinds of compost for heavy clay soil."
    assert text[sentence.quote.start : sentence.quote.end] == sentence.quote.text == text.strip()


@pytest.mark.parametrize(
    "sentence",
    [
        "They crack when a dry week is followed by heavy watering.",
        "tomatoes crack when a dry week is followed by heavy watering.",
        "Tomatoes crack when a dry week is followed by heavy watering:",
        "Tomatoes crack when a dry week is followed by heavy watering (as shown.",
        "Tomatoes crack as described in the following list of cases.",
        "I lost most tomatoes when a dry week was followed by rain.",
        "Tomatoes: They crack when a dry week is followed by rain.",
        "TOMATOES CRACK when a dry week IS FOLLOWED BY HEAVY WATERING.",
        "Tomatoes crack when a [dry week][1] is followed by heavy watering.",
        "When do tomatoes crack after a dry week and heavy watering?",
    ],
)
def test_what_needs_the_text_around_it_is_left_out(sentence):
    """Pronouns, pointers, halves of sentences, titles, questions, personal remarks, capitals, and markup that is left."""
    assert not stands_alone(sentence)
    assert stands_alone("Tomatoes crack when a dry week is followed by heavy watering.")


def test_a_wrong_choice_is_not_one_letter_away_from_the_answer():
    """It would be a trap."""
    text = "".join(
        f"The first garden of {name} was laid out beside the river in spring.\n\n"
        for name in ("Brenno", "Brendno", "Padua")
    )
    source = SourceText(Document("a.md", text))
    (blank,) = [each for each in source.find_blanks(source.sentences[0]) if each.answer == "Brenno"]
    assert source.rivals(blank, 5) == ["Padua"]
