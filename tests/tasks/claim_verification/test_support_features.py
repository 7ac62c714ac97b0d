"""Features that are compared by rule, and those that are computed from the scores of a model."""

from __future__ import annotations

import pytest

from llmcli.tasks.claim_verification.claim_terms import negate, read_terms
from llmcli.tasks.claim_verification.support_features import compare_scores, compare_terms, read_evidence, word_logprobs
from llmcli.types import Score

PASSAGE = "The library of Oslo has 1,200 books. It is not open on Sundays. Anna Berg founded it in 1950."


def features(claim):
    return compare_terms(read_terms(claim), read_evidence(PASSAGE))


def test_a_changed_number_or_name_stands_nowhere_in_the_passage():
    """Separators of thousands and case do not matter."""
    assert features("Oslo's library has 1200 books.").foreign == 0
    assert features("The library of Oslo has 1,300 books.").foreign == 1
    assert features("The library of Bergen has 1,200 books.").foreign == 1


def test_a_number_from_another_sentence_is_misplaced():
    """It stands in the passage, but says something else there."""
    found = features("The library of Oslo has 1950 books.")
    assert (found.foreign, found.misplaced) == (0, 1)


def test_a_denial_is_compared_with_the_nearest_sentence():
    """One of both denies."""
    assert features("It is open on Sundays.").denial_differs == 1
    assert features("On Sundays it isn't open.").denial_differs == 0


@pytest.mark.parametrize(
    ("sentence", "negated"),
    [
        ("It is open.", "It is not open."),
        ("It is not open.", "It is open."),
        ("You cannot pay.", "You can pay."),
        ("Works well.", None),
    ],
)
def test_a_sentence_is_negated_at_its_first_verb(sentence, negated):
    """Or its negation is taken out."""
    assert negate(sentence) == negated


def test_the_log_probabilities_of_tokens_are_added_up_by_word():
    """A token belongs to the word that it begins in, or before which it has the blank; characters may have several bytes."""
    score = Score("Zoë is in", -10.0, 5, (-1.0, -2.0, -3.0, -4.0), (3, 1, 3, 3))
    assert word_logprobs(score) == [-3.0, -3.0, -4.0]
    spaced = Score("a b", -3.0, 2, (-1.0, -2.0), (2, 2))
    assert word_logprobs(spaced) == [-1.0, -2.0]
    assert word_logprobs(Score("a b", -3.0, 2)) == []


def test_a_word_that_the_passage_makes_less_likely_is_the_least_informed():
    """The difference to the score without the passage counts, bounded."""

    def score(text, *logprobs):
        return Score(text, sum(logprobs), len(logprobs), logprobs, (1, *[2] * (len(logprobs) - 1)))

    found = compare_scores(
        [score("a b c", -1.0, -9.0, -1.0), score("a n c", -1.0, -20.0, -1.0)],
        [score("a b c", -2.0, -4.0, -30.0), score("a n c", -2.0, -4.0, -30.0)],
    )
    assert found.least_information == -5.0
    assert found.information == pytest.approx((1.0 - 5.0 + 8.0) / 3)
    assert (found.likelihood, found.affirmation) == (-9.0, 8.0)
    assert compare_scores([Score("a", -1.0, 1)], [Score("a", -1.0, 1)]) is None


DATED = "The warehouse opens on 3 February 2026. It was planned in June 2024, and the roof was done by May 5."


@pytest.mark.parametrize(
    ("figure", "stands"),
    [
        ("February 3rd", True),
        ("3. Februar 2026", True),
        ("2026-02-03", True),
        ("03/02/2026", True),
        ("February 2026", True),
        ("2026", True),
        ("June 2024", True),
        ("le 5 mai 2025", True),
        ("March 3rd", False),
        ("3 February 2025", False),
        ("el 4 de febrero", False),
        ("3 June 2024", False),
        ("3 doors", False),
        ("2025", False),
    ],
)
def test_dates_are_compared_whole(figure, stands):
    """A day and a month in any form and language; the year where both have one. The digits of a date are no numbers."""
    claim = features_of_dates(f"The warehouse opens {figure}.")
    assert claim.foreign == (0 if stands else 1)


def features_of_dates(claim):
    """Return what a claim and a text with dates have in common."""
    return compare_terms(read_terms(claim), read_evidence(DATED))
