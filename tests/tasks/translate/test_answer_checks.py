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
