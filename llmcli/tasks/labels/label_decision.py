"""The decision about one text: a label, or none, from the probabilities of all labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcli.fast_dataclass import frozen
from llmcli.tasks.labels.label_scores import best_label, margin_of, round_probabilities


@frozen
class LabelDecision:
    """``label`` is None where the decision ``abstain``s; ``margin`` is the lead of the most likely label."""

    label: str | None
    probabilities: Mapping[str, float]
    margin: float
    abstain: bool


def decide(probabilities: Mapping[str, float], threshold: float | None = None) -> LabelDecision:
    """Return the most likely label; with a ``threshold``, only if its probability is at least that."""
    label = best_label(probabilities)
    abstain = threshold is not None and probabilities[label] < threshold
    return LabelDecision(None if abstain else label, probabilities, margin_of(probabilities), abstain)


def probability_column(label: str) -> str:
    """Return the name of the column with a label's probability."""
    return f"p_{label}"


def format_labels(label: str | None, probabilities: Mapping[str, float], digits: int) -> str:
    """Return label and probabilities, separated by tabs: ``positive<TAB>positive=0.9000<TAB>...``.

    The first field is empty where there is no label.
    """
    return "\t".join([label or "", *(f"{name}={share:.{digits}f}" for name, share in probabilities.items())])


def table_values(decision: LabelDecision, *, shows_abstention: bool) -> dict[str, Any]:
    """Return the values of the columns ``label``, ``p_LABEL``, ``margin`` and perhaps ``abstain``."""
    rounded = round_probabilities(decision.probabilities)
    return {
        "label": decision.label,
        **{probability_column(label): share for label, share in rounded.items()},
        "margin": round(decision.margin, 4),
        **({"abstain": decision.abstain} if shows_abstention else {}),
    }
