"""The size of a job, estimated before it starts, to choose the weights for it."""

from __future__ import annotations

from llmcli.weights.weights_times import BATCH_ROWS, REPRESENTATIVE_JOBS, JobSize

_CHARACTERS_PER_TOKEN = 4
_UNKNOWN_CHARACTERS = 4000
"""Characters of an input that is read while it arrives."""
_INSTRUCTION_TOKENS = 60
_FEW_SHOT_TOKENS = 250
"""Tokens that all prompts of a classification share."""
_ANSWER_TOKENS = {"summarize": 512, "chat": 512}
_DEFAULT_ANSWER_TOKENS = 256
_SEGMENT_CHARACTERS = 300
_LABELLING_VERBS = frozenset({"sentiment", "classify", "filter"})
_TRANSLATION_GROWTH = 1.3
"""Tokens of prompts and answers for each token of a document: instructions repeat, and other languages take more."""


def estimate_job(verb: str, characters: int | None, max_tokens: int | None) -> JobSize:
    """Return the size of a job of a command; ``characters`` of its input, None if unknown."""
    if verb == "serve":
        return REPRESENTATIVE_JOBS["16 at once"]
    size = _UNKNOWN_CHARACTERS if characters is None else characters
    tokens = size // _CHARACTERS_PER_TOKEN
    if verb in _LABELLING_VERBS:
        return JobSize(_FEW_SHOT_TOKENS + tokens, 0, BATCH_ROWS)
    if verb == "translate":
        grown = int(_TRANSLATION_GROWTH * tokens)
        return JobSize(_INSTRUCTION_TOKENS + grown, grown, min(BATCH_ROWS, 1 + size // _SEGMENT_CHARACTERS))
    answer = _ANSWER_TOKENS.get(verb, _DEFAULT_ANSWER_TOKENS)
    return JobSize(_INSTRUCTION_TOKENS + tokens, min(answer, max_tokens or answer))
