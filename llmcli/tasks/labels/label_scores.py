"""From the scores of labels to probabilities: pure functions on natural-log probabilities by label.

The steps, in their order:

1. ``label_logprobs``: a label's score is log P(label | prompt), summed over all its tokens. Where one label continues
   another ("New York", "New York City"), the probability of the longer one is taken out of the shorter one's.
2. ``correct_prior``: the score minus the label's prior, log P(label | prompt with a text without content). This is
   contextual calibration (Zhao et al. 2021, Calibrate Before Use: Improving Few-Shot Performance of Language Models,
   section 5, with W = diag(prior)^-1 and b = 0), and also the pointwise mutual information of label and text that
   Holtzman et al. 2021 (Surface Form Competition, PMI_DC) compare.
3. ``sharpen``: the scores divided by the prompt file's ``label_temperature`` (temperature scaling, Guo et al. 2017, On
   Calibration of Modern Neural Networks): a prompt with many examples makes small models too unsure.
4. ``to_probabilities``: softmax over the labels.

Length needs no further term. A sum over tokens is the model's own probability of the label, whereas a mean over tokens
would favour long labels, since their later tokens are nearly certain. What a long or rare spelling costs is the same
with and without the text, so that step 2 removes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmcli.fast_dataclass import frozen
from llmcli.types import PROBABILITY_DIGITS, Score


def log_sum_exp(values: Iterable[float]) -> float:
    """Return log(sum(exp(v))) of one value or more; values may be -inf."""
    known = list(values)
    best = max(known)
    if math.isinf(best):
        return best
    return best + math.log(math.fsum(math.exp(value - best) for value in known))


def normalize(logprobs: Mapping[str, float]) -> dict[str, float]:
    """Return the log-probabilities given that the answer is one of the labels: exp of them sums to 1."""
    total = log_sum_exp(logprobs.values())
    if math.isinf(total):  # every label is impossible: none is preferred
        return dict.fromkeys(logprobs, -math.log(len(logprobs)))
    return {label: value - total for label, value in logprobs.items()}


def to_probabilities(logprobs: Mapping[str, float]) -> dict[str, float]:
    """Return softmax(logprobs), which sums to 1."""
    return {label: math.exp(value) for label, value in normalize(logprobs).items()}


def label_logprobs(scores: Sequence[Score]) -> dict[str, float]:
    """Return the normalized log-probability of each label before prior correction; see ``exclude_continuations``."""
    return normalize(exclude_continuations({score.candidate: score.logprob for score in scores}))


def exclude_continuations(logprobs: Mapping[str, float]) -> dict[str, float]:
    """Return for each label the log-probability that the answer is the label and not a longer label that begins so.

    The tokens of "New York" also begin "New York City", so P("New York") contains P("New York City"); the difference of
    both is the probability of the short label alone. Only labels that continue after the end of a word are taken out:
    "Newark" has other tokens than "New" in nearly all vocabularies. If a longer label scores more than the shorter one,
    their tokens do not begin alike, and it is left in.
    """
    exclusive = {}
    for label, value in logprobs.items():
        rest = 1.0
        for other, longer in logprobs.items():
            if _continues(label, other) and longer < value and not _has_between(label, other, logprobs):
                rest -= math.exp(longer - value)
        exclusive[label] = value + math.log(rest) if rest > 0 else value
    return exclusive


def _continues(label: str, other: str) -> bool:
    return len(other) > len(label) and other.startswith(label) and not other[len(label)].isalnum()


def _has_between(label: str, other: str, labels: Iterable[str]) -> bool:
    """Whether a third label continues ``label`` and is continued by ``other``, which it then already contains."""
    return any(_continues(label, third) and _continues(third, other) for third in labels)


def correct_prior(logprobs: Mapping[str, float], prior: Mapping[str, float] | None) -> dict[str, float]:
    """Return the normalized log-probabilities after the prior (log-probabilities by label; None: none) is taken out."""
    if prior is None:
        return normalize(logprobs)
    return normalize({label: value - prior[label] for label, value in logprobs.items()})


def sharpen(logprobs: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Return the normalized log-probabilities after division by ``temperature``: below 1, they become more certain."""
    return normalize({label: value / temperature for label, value in logprobs.items()})


def mean_prior(logprobs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the prior from the normalized log-probabilities of several content-free texts: the mean log-probability.

    Zhao et al. average probabilities. The mean of logarithms (a geometric mean) is used here since the correction is a
    difference of logarithms: one text with an extreme score then does not outweigh the others.
    """
    return normalize({label: math.fsum(each[label] for each in logprobs) / len(logprobs) for label in logprobs[0]})


def best_label(probabilities: Mapping[str, float]) -> str:
    """Return the most likely label, the first one of equals."""
    return max(probabilities, key=lambda label: probabilities[label])


def margin_of(probabilities: Mapping[str, float]) -> float:
    """Return by how much the most likely label leads the second one, 0 to 1."""
    first, second = sorted(probabilities.values(), reverse=True)[:2]
    return first - second


def round_probabilities(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Round probabilities so that they still sum to 1 as printed (largest remainder method)."""
    whole = 10**PROBABILITY_DIGITS
    scaled = {name: share * whole for name, share in probabilities.items()}
    units = {name: int(share) for name, share in scaled.items()}
    by_remainder = sorted(scaled, key=lambda name: units[name] - scaled[name])
    for name in by_remainder[: whole - sum(units.values())]:
        units[name] += 1
    return {name: count / whole for name, count in units.items()}


@frozen
class LabelDecision:
    """``label`` is None where the decision ``abstain``s; ``margin`` is the lead of the most likely label."""

    label: str | None
    probabilities: Mapping[str, float]
    margin: float
    abstain: bool


def decide(probabilities: Mapping[str, float], threshold: float | None) -> LabelDecision:
    """Return the most likely label; with a ``threshold``, only if its probability is at least that."""
    label = best_label(probabilities)
    abstain = threshold is not None and probabilities[label] < threshold
    return LabelDecision(None if abstain else label, probabilities, margin_of(probabilities), abstain)


def probability_column(label: str) -> str:
    """Return the name of the column with a label's probability."""
    return f"p_{label}"


def format_labels(label: str | None, probabilities: Mapping[str, float]) -> str:
    """Return label and probabilities, separated by tabs: ``positive<TAB>positive=0.9000<TAB>...``.

    The first field is empty where there is no label.
    """
    return "\t".join(
        [label or "", *(f"{name}={share:.{PROBABILITY_DIGITS}f}" for name, share in probabilities.items())]
    )


def table_values(decision: LabelDecision, *, shows_abstention: bool) -> dict[str, Any]:
    """Return the values of the columns ``label``, ``p_LABEL``, ``margin`` and perhaps ``abstain``."""
    rounded = round_probabilities(decision.probabilities)
    return {
        "label": decision.label,
        **{probability_column(label): share for label, share in rounded.items()},
        "margin": round(decision.margin, 4),
        **({"abstain": decision.abstain} if shows_abstention else {}),
    }
