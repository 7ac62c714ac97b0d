"""The probability that a passage supports a sentence.

The features of ``support_features`` and the log-odds of "Yes" against "No" (after the model's prior is taken out, as in
``labels.label_scores``) are standardized and added up with the weights of a logistic regression. A feature that a
backend cannot give counts as average. The weights were fitted to claims about the descriptions of Python packages: true
ones, false ones, and true ones about another package (``benchmarks/check_quality.py``; its figures are those of other
documents).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property

from llmcli.backends.base import Backend
from llmcli.fast_dataclass import fields, frozen, replace
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.claim_verification.claim_terms import ClaimTerms, negate, read_terms
from llmcli.tasks.claim_verification.support_features import (
    RuleFeatures,
    SurprisalFeatures,
    compare_scores,
    compare_terms,
    nearest_sentence,
    read_evidence,
)
from llmcli.tasks.labels.label_scores import label_logprobs
from llmcli.tasks.quotes.quotable_text import PassageSpan, Quote
from llmcli.tasks.runner.answers import Answer
from llmcli.tasks.runner.task_requests import GenerationOptions, count_common_chars, make_request
from llmcli.types import Request

PROMPT, RESTATE_PROMPT = "check", "check.restate"
SUPPORTED_FROM, WEAK_FROM = 0.5, 0.25
"""Probabilities from which a sentence counts as supported, and as weakly supported."""
MAX_ANSWER_ODDS = 8.0
"""Nats of the answer at most."""
_INTERCEPT = -2.89
_WEIGHTS: Mapping[str, tuple[float, float, float]] = {
    "coverage": (0.715, 0.31, 2.55),
    "foreign": (0.526, 0.97, -3.42),
    "misplaced": (0.069, 0.261, -1.21),
    "denial_differs": (0.209, 0.407, -2.13),
    "information": (3.651, 0.94, 0.03),
    "least_information": (-1.617, 1.863, 0.36),
    "likelihood": (-10.97, 6.21, 0.52),
    "affirmation": (0.26, 3.42, 0.24),
    "answer": (0.0, 2.0, 0.4),
}
"""Feature -> its mean, its standard deviation, its weight.

All but that of the answer are fitted: models below half a billion parameters answer by chance (area under the ROC curve
0.51), with log-odds near zero, and an able model's answer, of several nats, is to count.
"""


RULE_FEATURES = tuple(field.name for field in fields(RuleFeatures))
"""The features that need no model."""


class SupportLevel(StrEnum):
    """How well a sentence is supported."""

    SUPPORTED = "supported"
    WEAK = "weak"
    UNSUPPORTED = "unsupported"


def support_level(probability: float) -> SupportLevel:
    """Return the level of a probability."""
    if probability >= SUPPORTED_FROM:
        return SupportLevel.SUPPORTED
    return SupportLevel.WEAK if probability >= WEAK_FROM else SupportLevel.UNSUPPORTED


@frozen
class PassageSupport:
    """How far ``passage`` supports a claim, and its sentence that is nearest to it.

    ``features``: what the probability was computed from, by name.
    """

    passage: PassageSpan
    probability: float
    sentence: Quote
    features: Mapping[str, float]


def support_probability(features: Mapping[str, float]) -> float:
    """Return the probability of the regression; a feature that is missing counts as average."""
    total = _INTERCEPT
    for name, (mean, deviation, weight) in _WEIGHTS.items():
        if name in features:
            total += weight * (features[name] - mean) / deviation
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


class SupportScorer:
    """Scores claims against passages, with two requests for each pair and two for a claim alone.

    A server elsewhere that only estimates the probabilities of labels gets one of each two. If a backend cannot score,
    there are no requests, and only what is compared by rule counts.
    """

    def __init__(self, backend: Backend, prompts: PromptLibrary, generation: GenerationOptions) -> None:
        info = backend.info()
        self._can_score = info.scores
        self._scores_tokens = info.token_scores
        self._generation = generation
        self._check: Prompt = prompts.get(PROMPT)
        self._restate: Prompt = prompts.get(RESTATE_PROMPT)

    @property
    def can_score(self) -> bool:
        """Whether the backend scores."""
        return self._can_score

    def claim_requests(self, prefix: str, claim: Claim) -> list[Request]:
        """Return the requests for what the model says to a claim without a passage; their ids begin with ``prefix``."""
        texts = [(*self._check.content_free, "")[0], (*self._restate.content_free, "")[0]]
        return self._requests(prefix, claim, *texts)

    def passage_requests(self, prefix: str, claim: Claim, passage: PassageSpan) -> list[Request]:
        """Return the requests for a claim and a passage."""
        requests = self._requests(prefix, claim, passage.text, passage.text)
        # both prompts begin with the passage, so its state serves both, and all other claims
        chars = count_common_chars(requests[0].messages, requests[-1].messages) if len(requests) > 1 else 0
        return [replace(each, document_chars=chars) for each in requests]

    def _requests(self, prefix: str, claim: Claim, check_text: str, restate_text: str) -> list[Request]:
        if not self._can_score:
            return []
        asked = self._check.render({"text": check_text, "statement": claim.text})
        answer = make_request(f"{prefix}.answer", asked, self._check, self._generation, candidates=self._check.labels)
        if not self._scores_tokens:
            return [answer]
        messages = self._restate.render({"text": restate_text})
        restated = make_request(
            f"{prefix}.restate", messages, self._restate, self._generation, candidates=claim.variants
        )
        return [answer, replace(restated, logprobs=0)]

    def read(
        self,
        claim: Claim,
        passage: PassageSpan,
        given: Sequence[Answer],
        alone: Sequence[Answer],
    ) -> PassageSupport:
        """Return the support from the answers to ``passage_requests`` and to ``claim_requests``, in their order."""
        evidence = read_evidence(passage.text)
        rules = compare_terms(claim.terms, evidence)
        features = _as_mapping(rules)
        if given and alone:
            features["answer"] = self._answer_odds(given[0]) - self._answer_odds(alone[0])
            features["answer"] = max(-MAX_ANSWER_ODDS, min(MAX_ANSWER_ODDS, features["answer"]))
        if len(given) > 1 and len(alone) > 1:
            surprisal = compare_scores(given[1].scores, alone[1].scores)
            features |= {} if surprisal is None else _as_mapping(surprisal)
        return PassageSupport(passage, support_probability(features), nearest_quote(claim, passage), features)

    def _answer_odds(self, answer: Answer) -> float:
        yes, no = self._check.labels
        logprobs = label_logprobs(answer.scores)
        return logprobs[yes] - logprobs[no]


@frozen
class Claim:
    """A sentence to be checked, with white space of single blanks."""

    text: str

    @cached_property
    def variants(self) -> tuple[str, ...]:
        """The claim, and its negation if it has one."""
        negated = negate(self.text)
        return (self.text,) if negated is None else (self.text, negated)

    @cached_property
    def terms(self) -> ClaimTerms:
        """The terms of the claim."""
        return read_terms(self.text)


def _as_mapping(features: RuleFeatures | SurprisalFeatures) -> dict[str, float]:
    return {field.name: getattr(features, field.name) for field in fields(features)}


def nearest_quote(claim: Claim, passage: PassageSpan) -> Quote:
    """Return the sentence of a passage that has most in common with a claim."""
    evidence = read_evidence(passage.text)
    nearest = evidence[nearest_sentence(claim.terms, evidence)]
    return passage.document.quote(passage.start + nearest.start, passage.start + nearest.end)
