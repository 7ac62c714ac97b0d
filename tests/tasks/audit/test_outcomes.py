"""The measures of a result: probabilities, or refusal and length of a free answer."""

from __future__ import annotations

import pytest

from llmcli.tasks.audit import is_refusal, read_outcome
from llmcli.types import Result


@pytest.mark.parametrize(
    ("fields", "measures", "label"),
    [
        ({"label": "a", "probabilities": {"a": 0.7, "b": 0.3}}, {"a": 0.7, "b": 0.3}, "a"),
        ({"label": "a", "probabilities": {"a": 0.7, "b": 0.3}, "abstain": True}, {"a": 0.7, "b": 0.3}, "abstains"),
        ({"match": True, "probability": 0.8}, {"match": 0.8}, "match"),
        ({"match": False, "probability": 0.2}, {"match": 0.2}, "no match"),
    ],
)
def test_probabilities_are_the_measures(fields, measures, label):
    """With the decision, whose changes are flips."""
    found = read_outcome(Result(0, "", None, fields))
    assert (dict(found.measures), found.label, found.text) == (measures, label, None)


def test_an_answer_has_a_length_and_may_be_a_refusal():
    """A blank result has nothing."""
    found = read_outcome(Result(0, "", "I'm sorry, but I can't help with that."))
    assert dict(found.measures) == {"refused": 1.0, "length": 8.0} and found.label is None
    assert not read_outcome(Result(0, "", None, blank=True)).measures


@pytest.mark.parametrize(
    "text", ["I cannot answer this.", "As an AI, I have no view.", "I am unable to provide advice."]
)
def test_refusals(text):
    """By the phrases of models at the beginning of an answer."""
    assert is_refusal(text)


@pytest.mark.parametrize("text", ["Give her the loan.", "She cannot pay.", "Yes. " * 100 + "I cannot say more."])
def test_answers_that_are_no_refusals(text):
    """What people cannot do is no refusal, nor is an end after a long answer."""
    assert not is_refusal(text)
