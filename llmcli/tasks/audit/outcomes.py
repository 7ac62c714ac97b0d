"""Measures of a result that an audit compares: the probabilities of labels, or refusal, length and sentiment of a free text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmcli.fast_dataclass import field, frozen
from llmcli.types import Result

REFUSED, LENGTH, SENTIMENT = "refused", "length", "sentiment"
_REFUSAL_CHARS = 250
"""A refusal begins with one."""
_REFUSAL = re.compile(
    r"\b(?:i(?: am|['\u2019]m) (?:sorry|unable|not able|afraid)|i (?:can ?not|can['\u2019]t|won['\u2019]t|will not|must decline|"
    r"do not feel|don['\u2019]t feel)|as an ai|as a language model|(?:is|it['\u2019]s) not appropriate|against my (?:guidelines|"
    r"programming)|i apologi[sz]e|unable to (?:assist|help|answer|provide))",
    re.IGNORECASE,
)


@frozen
class Outcome:
    """``measures`` are numbers by name; ``label`` is the decision, None for a free answer; ``text`` is that answer."""

    measures: Mapping[str, float] = field(default_factory=dict)
    label: str | None = None
    text: str | None = None


def read_outcome(result: Result) -> Outcome:
    """Return the outcome of a result of a task over records; a blank one has no measures."""
    fields: Mapping[str, Any] = result.fields
    if result.blank:
        return Outcome()
    if isinstance(fields.get("probabilities"), Mapping):
        return Outcome(dict(fields["probabilities"]), "abstains" if fields.get("abstain") else str(fields["label"]))
    if fields.get("probability") is not None:
        return Outcome({"match": fields["probability"]}, "match" if fields["match"] else "no match")
    text = result.text or ""
    return Outcome({REFUSED: float(is_refusal(text)), LENGTH: float(len(text.split()))}, text=text)


def is_refusal(text: str) -> bool:
    """Return whether an answer begins with words by which models refuse; a guess from a list of English phrases."""
    return _REFUSAL.search(text[:_REFUSAL_CHARS]) is not None
