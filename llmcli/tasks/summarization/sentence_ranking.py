"""Which sentences carry a text: centrality, position and novelty of their vectors.

Centrality is the degree of a sentence in the graph of similar sentences (LexRank: Erkan and Radev 2004, without the power
iteration). Novelty is maximal marginal relevance (Carbonell and Goldstein 1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcli.tasks.summarization.sentence_candidates import SentenceCandidate
from llmcli.tasks.summarization.summary_length import WORDS_TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Scores = NDArray[np.floating[Any]]

_MAX_COMPARED = 2000
"""Sentences that each is compared with: all of a text, or as many at equal distances, so that the time stays linear."""
_BLOCK_ROWS = 1024
_LEAD_WEIGHT, _LEAD_SHARE, _PARAGRAPH_START_WEIGHT = 1.0, 0.03, 0.3
_FOCUS_WEIGHT, _NOVELTY_WEIGHT, _MAX_NOVEL_SIMILARITY = 2.0, 1.5, 0.95
_SHORT_WORDS, _LONG_WORDS, _LENGTH_WEIGHT = 6, 45, 1.0


def choose_sentences(
    sentences: Sequence[SentenceCandidate],
    vectors: Vectors,
    words: int,
    focus: NDArray[np.float32] | None = None,
) -> list[tuple[int, float]]:
    """Return the numbers and scores of the sentences that together have about ``words`` words, in the order of the text.

    ``vectors``: the mean hidden states of the sentences, (sentences, width); ``focus``: those of what the summary is
    to be about, (width,). At least one sentence is chosen. If none is eligible, all are.
    """
    import numpy as np

    normalized, focused = _normalize(vectors, focus)
    scores: Scores = _standardize(_centrality(normalized)) + _position_scores(sentences)
    if focused is not None:
        scores = scores + _FOCUS_WEIGHT * _standardize(normalized @ focused)
    eligible = np.array([each.eligible for each in sentences])
    available = eligible if eligible.any() else np.ones(len(sentences), dtype=bool)
    lengths = np.array([max(1, each.words) for each in sentences])
    chosen = _select(scores, normalized, available, lengths, words)
    return [(number, round(float(scores[number]), 4)) for number in sorted(chosen)]


def _select(
    scores: Scores, vectors: Vectors, available: NDArray[np.bool_], lengths: NDArray[np.int64], words: int
) -> list[int]:
    """Take the best sentence that still fits, until the length is reached; each lowers the rank of similar ones."""
    import numpy as np

    nearest = np.full(len(scores), -1.0)
    available = available.copy()
    chosen: list[int] = []
    total = 0
    while total < words * (1 - WORDS_TOLERANCE / 2):
        fits = available & (lengths <= words * (1 + WORDS_TOLERANCE / 2) - total) & (nearest < _MAX_NOVEL_SIMILARITY)
        if not fits.any():
            break
        marginal = np.where(fits, scores - _NOVELTY_WEIGHT * np.maximum(nearest, 0), -np.inf)
        best = int(marginal.argmax())
        chosen.append(best)
        total += int(lengths[best])
        available[best] = False
        nearest = np.maximum(nearest, vectors @ vectors[best])
    if not chosen:  # all are too long
        chosen = [int(np.where(available, lengths, np.iinfo(lengths.dtype).max).argmin())]
    return chosen


def _normalize(vectors: Vectors, focus: NDArray[np.float32] | None) -> tuple[Vectors, NDArray[np.float32] | None]:
    """Subtract the mean, which all hidden states of a model share (Mu and Viswanath 2018), and scale to length 1."""
    import numpy as np

    rows = np.asarray(vectors, dtype=np.float32)
    mean = rows.mean(axis=0)
    rows = rows - mean
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(norms > 0, norms, 1)
    if focus is None:
        return rows, None
    wanted = focus - mean
    return rows, wanted / (float(np.linalg.norm(wanted)) or 1.0)


def _centrality(vectors: Vectors) -> Scores:
    """Return the sum of each row's positive similarities to the compared rows other than itself."""
    import numpy as np

    step = -(-len(vectors) // _MAX_COMPARED)
    compared = vectors[::step].T
    sums = np.empty(len(vectors))
    for first in range(0, len(vectors), _BLOCK_ROWS):
        similarities = np.maximum(vectors[first : first + _BLOCK_ROWS] @ compared, 0)
        sums[first : first + _BLOCK_ROWS] = similarities.sum(axis=1)
    sums[::step] -= 1
    return sums


def _standardize(values: Scores) -> Scores:
    deviation = float(values.std())
    standardized: Scores = (values - values.mean()) / (deviation or 1.0)
    return standardized


def _position_scores(sentences: Sequence[SentenceCandidate]) -> Scores:
    """Return what position and length add: the beginning of a text and of a paragraph; not very short, not very long."""
    import numpy as np

    count = len(sentences)
    places = np.arange(count) / max(2.0, _LEAD_SHARE * count)
    lead = _LEAD_WEIGHT * np.exp(-places)
    begins = _PARAGRAPH_START_WEIGHT * np.array([float(each.begins_paragraph) for each in sentences])
    lengths = np.array([each.words for each in sentences])
    odd = np.maximum(0, 1 - lengths / _SHORT_WORDS) + np.maximum(0, lengths / _LONG_WORDS - 1)
    scores: Scores = lead + begins - _LENGTH_WEIGHT * odd
    return scores
