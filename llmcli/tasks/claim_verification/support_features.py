"""Features for and against a sentence, given a passage: by rule, and by the log-probabilities of a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from llmcli.documents.sentences import find_sentences
from llmcli.fast_dataclass import frozen
from llmcli.tasks.claim_verification.claim_terms import (
    ClaimTerms,
    dice_coefficient,
    missing_names,
    missing_numbers,
    read_terms,
)
from llmcli.types import Score

MAX_INFORMATION = 8.0
"""Nats by which a passage changes the log-probability of a word, at most: one strange token shall not decide."""


@frozen
class EvidenceSentence:
    """A sentence of a passage: its offsets in it, and its terms."""

    start: int
    end: int
    terms: ClaimTerms


def read_evidence(passage: str) -> list[EvidenceSentence]:
    """Return the sentences of a passage."""
    return [EvidenceSentence(start, end, read_terms(passage[start:end])) for start, end in find_sentences(passage)]


def nearest_sentence(claim: ClaimTerms, evidence: Sequence[EvidenceSentence]) -> int:
    """Return the index of the sentence that has most in common with a claim (Dice coefficient of their words)."""
    return max(
        range(len(evidence)), key=lambda index: (dice_coefficient(claim.words, evidence[index].terms.words), -index)
    )


@frozen
class RuleFeatures:
    """What is compared by rule.

    ``coverage`` is the share of the claim's words that the passage has. ``foreign``: numbers and names of the claim
    that the passage has not;
    ``misplaced``: that it has, but not its nearest sentence. ``denial_differs``: exactly one of claim and nearest
    sentence denies.
    """

    coverage: float
    foreign: float
    misplaced: float
    denial_differs: float


def compare_terms(claim: ClaimTerms, evidence: Sequence[EvidenceSentence]) -> RuleFeatures:
    """Return what a claim and the sentences of a passage, at least one, have in common."""
    near = evidence[nearest_sentence(claim, evidence)].terms
    everywhere = [sentence.terms for sentence in evidence]
    known = frozenset[str]().union(*(terms.words for terms in everywhere))
    foreign = missing_numbers(claim, everywhere) + missing_names(claim, everywhere)
    return RuleFeatures(
        len(claim.words & known) / max(1, len(claim.words)),
        float(foreign),
        float(missing_numbers(claim, [near]) + missing_names(claim, [near]) - foreign),
        float(claim.denies != near.denies),
    )


@frozen
class SurprisalFeatures:
    """What a passage tells a model about a claim, in nats.

    ``information``: the mean, over the claim's words, of log P(word | passage, words before) - log P(word | words
    before); ``least_information``: that of the word with the least, among words with a letter or digit.
    ``likelihood``: the lowest log P(word | passage, words before). ``affirmation``: log P(claim) - log P(the claim
    negated), by how much the passage changes it; 0 where there is nothing to negate.
    """

    information: float
    least_information: float
    likelihood: float
    affirmation: float


def compare_scores(given: Sequence[Score], alone: Sequence[Score]) -> SurprisalFeatures | None:
    """Return the features from the scores of a claim and its negation (if any), with the passage and without it.

    None if the scores do not report their tokens.
    """
    with_passage, without = (word_logprobs(scores[0]) for scores in (given, alone))
    if not with_passage or len(with_passage) != len(without):
        return None
    words = given[0].candidate.split()
    information = [
        max(-MAX_INFORMATION, min(MAX_INFORMATION, one - other))
        for one, other in zip(with_passage, without, strict=True)
    ]
    telling = [index for index, word in enumerate(words) if any(map(str.isalnum, word))] or list(range(len(words)))
    affirmation = 0.0
    if len(given) > 1 and len(alone) > 1:
        affirmation = (given[0].logprob - given[1].logprob) - (alone[0].logprob - alone[1].logprob)
    return SurprisalFeatures(
        sum(information) / len(information),
        min(information[index] for index in telling),
        min(with_passage[index] for index in telling),
        max(-MAX_INFORMATION, min(MAX_INFORMATION, affirmation)),
    )


def word_logprobs(score: Score) -> list[float]:
    """Return the log-probability of each word (between spaces) of a candidate, summed over the tokens that begin in it.

    A token that begins with the blank before a word belongs to the word. Empty if the tokens are not reported.
    """
    if not score.token_logprobs:
        return []
    data = score.candidate.encode()
    ends = accumulate(score.token_bytes)
    extra = sum(score.token_bytes) - len(data)  # a space before the text
    words = [0.0] * len(score.candidate.split())
    owner: list[int] = []  # of each byte: its word, the next one for a blank
    word, inside = -1, False
    for byte in data:
        is_blank = bytes([byte]).isspace()
        word += not is_blank and not inside
        inside = not is_blank
        owner.append(word if inside else word + 1)
    for end, size, logprob in zip(ends, score.token_bytes, score.token_logprobs, strict=True):
        at = min(max(0, end - size - extra), len(owner) - 1)
        words[min(owner[at], len(words) - 1)] += logprob
    return words
