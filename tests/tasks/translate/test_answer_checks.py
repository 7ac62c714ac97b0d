"""The checks find the faults of an answer as the translation of a text."""

from __future__ import annotations

import pytest

from llmcli.documents.protected_spans import find_spans
from llmcli.tasks.languages import parse_language
from llmcli.tasks.translate.answer_checks import AnswerRequirements, find_problems
from llmcli.tasks.translate.masking import mask_spans

TEXT = "See https://example.org/a_(b) for the whole story of the house."


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("Siehe [#1] für die ganze Geschichte des Hauses.", ""),
        ("Die ganze Geschichte des Hauses steht unter [#1].", ""),
        (
            "Siehe [#1]für die ganze Geschichte des Hauses.",
            "the address https://example.org/a_(b) needs a blank after it",
        ),
        (
            "Siehe [#1]/für die ganze Geschichte des Hauses.",
            "the address https://example.org/a_(b) needs a blank after it",
        ),
    ],
)
def test_words_do_not_become_a_part_of_an_address(answer, problem):
    """The address in the translation is the one of the source."""
    masked = mask_spans(TEXT, find_spans(TEXT, {"url"}))
    expected = AnswerRequirements(masked, parse_language("en"), parse_language("de"), (), None, emphasis=False)
    assert (
        find_problems(masked.text, answer.replace("[#1]", masked.text.split()[1]), expected)
        == [problem][: bool(problem)]
    )


@pytest.mark.parametrize(
    ("target", "text", "answer", "added"),
    [
        ("fr", "The old house.", "La vieille \u202emaison.", "U+202E"),
        ("fr", "The old house.", "\u2067La vieille maison.\u2069", "U+2067 U+2069"),
        ("fr", "The old house.", "La vieille maison.\u200f", "U+200F"),
        ("fr", "The \u202aold\u202c house.", "La \u202avieille\u202c maison.", ""),
        ("ar", "The old house.", "البيت القديم.\u200f", ""),
        ("ar", "The old house.", "البيت \u202eالقديم.", "U+202E"),
    ],
)
def test_added_bidirectional_controls_are_refused(target, text, answer, added):
    """Unless the source has them; marks of direction may be needed in a language of a right-to-left script."""
    expected = AnswerRequirements(mask_spans(text, []), parse_language("en"), parse_language(target))
    problem = f"bidirectional controls are not in the source text: {added}"
    assert find_problems(text, answer, expected) == [problem][: bool(added)]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("Le vieil homme a 5 voitures.", ["numbers are missing: 3", "numbers are not in the source text: 5"]),
        ("Le vieil homme a trois voitures.", []),
        ("Le vieil homme a trois voitures et 2 vélos.", ["numbers are not in the source text: 2"]),
        ("El viejo tiene 3 coches.", ["the answer is not in French"]),
    ],
)
def test_a_wrong_number_or_language_is_a_problem(answer, problem):
    """Each problem says what is wrong, since the next request tells the model."""
    text = "The old man has 3 cars."
    expected = AnswerRequirements(mask_spans(text, []), parse_language("en"), parse_language("fr"))
    assert find_problems(text, answer, expected) == problem
