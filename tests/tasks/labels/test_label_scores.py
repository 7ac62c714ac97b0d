"""Scores become probabilities: sums, priors, labels that begin alike."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.tasks.labels.label_scores import (
    best_label,
    correct_prior,
    exclude_continuations,
    label_logprobs,
    margin_of,
    mean_prior,
    normalize,
    round_probabilities,
    to_probabilities,
)
from llmcli.types import Score

logprob_lists = st.lists(st.floats(-900, 0), min_size=2, max_size=6)


def named(values):
    return {f"l{index}": value for index, value in enumerate(values)}


def probabilities_of(**shares):
    return {label.replace("_", " "): math.log(share) for label, share in shares.items()}


@given(logprob_lists)
def test_probabilities_sum_to_one(values):
    """However small the scores are, the probabilities sum to 1 and keep the order of the scores."""
    found = to_probabilities(label_logprobs([Score(name, value, 1) for name, value in named(values).items()]))
    assert math.fsum(found.values()) == pytest.approx(1)
    assert max(found.values()) == found[max(named(values), key=named(values).__getitem__)]


@given(logprob_lists, st.floats(-50, 50))
def test_a_constant_does_not_matter(values, shift):
    """Only differences of scores count, so that a batch or a longer prompt cannot scale them."""
    here, there = to_probabilities(named(values)), to_probabilities(named([value + shift for value in values]))
    assert here == pytest.approx(there, abs=1e-9)


@given(logprob_lists)
def test_the_prior_itself_becomes_uniform(values):
    """A text that scores like the content-free ones says nothing about the labels."""
    prior = normalize(named(values))
    corrected = to_probabilities(correct_prior(named(values), prior))
    assert corrected == pytest.approx(dict.fromkeys(corrected, 1 / len(values)))


def test_no_prior_changes_nothing():
    """Without a prior, the scores are only normalized."""
    assert correct_prior({"a": -1.0, "b": -1.0}, None) == pytest.approx({"a": math.log(0.5), "b": math.log(0.5)})


def test_the_prior_of_several_texts_is_their_mean():
    """The mean of the log-probabilities, normalized."""
    prior = mean_prior([probabilities_of(a=0.8, b=0.2), probabilities_of(a=0.2, b=0.8)])
    assert {label: math.exp(value) for label, value in prior.items()} == pytest.approx({"a": 0.5, "b": 0.5})


def test_long_labels_are_not_favoured():
    """The number of tokens of a label does not matter: its log-probability covers all of them."""
    assert label_logprobs([Score("a", -2.0, 1), Score("b", -2.0, 7)]) == pytest.approx(probabilities_of(a=0.5, b=0.5))


def test_a_spelling_costs_nothing_after_correction():
    """A label of many rare tokens loses the same with and without a text."""
    spelled = correct_prior({"ok": -1.0, "unsatisfactory": -9.0}, {"ok": -1.0, "unsatisfactory": -9.0})
    assert spelled["ok"] == pytest.approx(spelled["unsatisfactory"])


def test_a_label_does_not_count_those_that_continue_it():
    """P("New York") covers both answers; the longer one is taken out of it, once."""
    found = exclude_continuations(probabilities_of(New=0.5, New_York=0.4, New_York_City=0.3, Paris=0.2))
    shares = {label: math.exp(value) for label, value in found.items()}
    assert shares == pytest.approx({"New": 0.1, "New York": 0.1, "New York City": 0.3, "Paris": 0.2})


def test_words_that_only_begin_alike_are_apart():
    """The label Newark does not continue New, nor does a label that scores more than its beginning."""
    apart = probabilities_of(New=0.5, Newark=0.4)
    assert exclude_continuations(apart) == apart
    more = probabilities_of(New=0.3, New_York=0.4)
    assert exclude_continuations(more) == more


def test_impossible_labels_are_equal():
    """If no label is possible, none is preferred."""
    assert to_probabilities({"a": -math.inf, "b": -math.inf}) == pytest.approx({"a": 0.5, "b": 0.5})


def test_the_margin_is_the_lead():
    """Of the first label over the second; equals have none, and the first of them is the best."""
    assert margin_of({"a": 0.6, "b": 0.3, "c": 0.1}) == pytest.approx(0.3)
    assert margin_of({"a": 0.5, "b": 0.5}) == 0 and best_label({"a": 0.5, "b": 0.5}) == "a"


@given(logprob_lists)
def test_rounded_probabilities_sum_to_one(values):
    """As printed."""
    rounded = round_probabilities(to_probabilities(named(values)))
    assert sum(round(share * 10_000) for share in rounded.values()) == 10_000
