"""Ranks the sentences of a text by centrality, position and novelty of their vectors.

Centrality is the degree of a sentence in the graph of similar sentences (LexRank: Erkan and Radev 2004, without the
power iteration). Novelty is maximal marginal relevance (Carbonell and Goldstein 1998). The sentences are read block by
block, so that memory does not depend on the length of the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmcli.fast_dataclass import frozen
from llmcli.interrupt import check_interrupt
from llmcli.tasks.summarize.sentence_candidates import SentenceStore
from llmcli.tasks.summarize.summary_options import WORDS_TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Scores = NDArray[np.floating[Any]]
    Rows = NDArray[np.void]

_MAX_COMPARED = 2000
"""Sentences that each is compared with: all of a text, or as many at equal distances, so that the time stays linear."""
_MAX_RANKED = 2000
"""Sentences with the highest scores, of which those with the most novelty are chosen."""
_MIN_RANKED_WORDS = 3
_MAX_MEMORY_BYTES = 1 << 20
_LEAD_WEIGHT, _LEAD_SHARE, _PARAGRAPH_START_WEIGHT = 1.0, 0.03, 0.3
_FOCUS_WEIGHT, _NOVELTY_WEIGHT, _MAX_NOVEL_SIMILARITY = 2.0, 1.5, 0.95
_SHORT_WORDS, _LONG_WORDS, _LENGTH_WEIGHT = 6, 45, 1.0


@frozen
class ChosenSentence:
    """Sentence ``number`` of a text, which is its part from ``start`` to ``end``."""

    number: int
    start: int
    end: int
    score: float


def choose_sentences(
    sentences: SentenceStore, words: int, focus: NDArray[np.float32] | None = None
) -> list[ChosenSentence]:
    """Return the sentences that together have about ``words`` words, in the order of the text.

    ``focus``: the mean hidden states of what the summary is to be about, (width,). At least one sentence is chosen. If
    none is eligible, all are.
    """
    from tempfile import SpooledTemporaryFile

    mean = _mean_vector(sentences)
    with SpooledTemporaryFile(_MAX_MEMORY_BYTES) as measures_file:
        deviation = _write_centrality(sentences, mean, focus, measures_file)
        best = _find_highest_scores(
            sentences, mean, deviation, measures_file, max(_MAX_RANKED, words // _MIN_RANKED_WORDS)
        )
    return [
        ChosenSentence(
            int(best.numbers[index]),
            int(best.starts[index]),
            int(best.ends[index]),
            round(float(best.scores[index]), 4),
        )
        for index in sorted(_select_novel(best.scores, best.vectors, best.lengths, words))
    ]


class _RankedSentences:
    """The sentences with the highest scores so far, in the order of the text, as columns."""

    _COLUMNS = ("numbers", "starts", "ends", "lengths", "scores", "vectors")

    def __init__(self, **columns: Any) -> None:
        self.numbers, self.starts, self.ends = columns["numbers"], columns["starts"], columns["ends"]
        self.lengths, self.scores, self.vectors = columns["lengths"], columns["scores"], columns["vectors"]

    def merge(self, other: _RankedSentences, count: int) -> _RankedSentences:
        """Return the ``count`` best of both; the sentences of ``other`` stand later in the text."""
        import numpy as np

        joined = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in self._COLUMNS}
        if len(joined["scores"]) > count:
            highest = np.sort(np.argsort(-joined["scores"], kind="stable")[:count])
            joined = {name: column[highest] for name, column in joined.items()}
        return _RankedSentences(**joined)


def _mean_vector(sentences: SentenceStore) -> Vectors:
    """Return the mean, which all hidden states of a model share (Mu and Viswanath 2018)."""
    import numpy as np

    total = sum(rows["vector"].sum(axis=0, dtype=np.float64) for _, rows in sentences.blocks())
    mean: Vectors = np.asarray(total / max(1, len(sentences)), dtype=np.float32)
    return mean


def _normalize(rows: Rows, mean: Vectors) -> Vectors:
    """Return the vectors without the mean, of length 1."""
    import numpy as np

    vectors: Vectors = rows["vector"].astype(np.float32) - mean
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norms > 0, norms, 1)
    return vectors


def _write_centrality(
    sentences: SentenceStore, mean: Vectors, focus: NDArray[np.float32] | None, measures_file: Any
) -> list[tuple[float, float, float]]:
    """Write the centrality of each sentence to ``measures_file``, and its similarity to the focus if there is one.

    Return the weight, the mean and the deviation of each of the two.
    """
    import numpy as np

    step = -(-len(sentences) // _MAX_COMPARED)
    compared = np.concatenate([_normalize(rows[-first % step :: step], mean) for first, rows in sentences.blocks()]).T
    wanted = None
    if focus is not None:
        wanted = focus - mean
        wanted = wanted / (float(np.linalg.norm(wanted)) or 1.0)
    sums = squares = np.zeros(1 if wanted is None else 2)
    for first, rows in sentences.blocks():
        check_interrupt()
        vectors = _normalize(rows, mean)
        measured = [np.maximum(vectors @ compared, 0).sum(axis=1, dtype=np.float64)]
        measured[0][-first % step :: step] -= 1
        if wanted is not None:
            measured.append((vectors @ wanted).astype(np.float64))
        columns = np.stack(measured, axis=1)
        measures_file.write(columns.tobytes())
        sums, squares = sums + columns.sum(axis=0), squares + (columns**2).sum(axis=0)
    means = sums / len(sentences)
    deviations = np.sqrt(np.maximum(squares / len(sentences) - means**2, 0))
    return [
        (weight, float(middle), float(deviation) or 1.0)
        for weight, middle, deviation in zip((1.0, _FOCUS_WEIGHT), means, deviations, strict=False)
    ]


def _find_highest_scores(
    sentences: SentenceStore, mean: Vectors, measures: list[tuple[float, float, float]], measures_file: Any, count: int
) -> _RankedSentences:
    """Return the ``count`` sentences with the highest scores that may stand in a summary."""
    import numpy as np

    best: _RankedSentences | None = None
    measures_file.seek(0)
    for first, rows in sentences.blocks():
        columns = np.frombuffer(measures_file.read(8 * len(measures) * len(rows)), dtype=np.float64).reshape(
            -1, len(measures)
        )
        scores = _position_scores(first, rows, len(sentences))
        for column, (weight, middle, deviation) in zip(columns.T, measures, strict=True):
            scores = scores + weight * (column - middle) / deviation
        chosen = np.flatnonzero(rows["eligible"]) if sentences.eligible else np.arange(len(rows))
        found = _RankedSentences(
            numbers=first + chosen,
            starts=rows["start"][chosen],
            ends=rows["end"][chosen],
            lengths=np.maximum(1, rows["words"][chosen].astype(np.int64)),
            scores=scores[chosen],
            vectors=_normalize(rows[chosen], mean),
        )
        best = found if best is None else best.merge(found, count)
    assert best is not None  # there is a sentence
    return best


def _position_scores(first: int, rows: Rows, count: int) -> Scores:
    """Return what position and length add: the beginning of a text or a paragraph; not very short, not very long."""
    import numpy as np

    places = np.arange(first, first + len(rows)) / max(2.0, _LEAD_SHARE * count)
    lead = _LEAD_WEIGHT * np.exp(-places)
    begins = _PARAGRAPH_START_WEIGHT * rows["begins"].astype(np.float64)
    lengths = rows["words"].astype(np.float64)
    odd = np.maximum(0, 1 - lengths / _SHORT_WORDS) + np.maximum(0, lengths / _LONG_WORDS - 1)
    scores: Scores = lead + begins - _LENGTH_WEIGHT * odd
    return scores


def _select_novel(scores: Scores, vectors: Vectors, lengths: NDArray[np.int64], words: int) -> list[int]:
    """Take the best sentence that still fits, until the length is reached; each lowers the rank of similar ones."""
    import numpy as np

    nearest = np.full(len(scores), -1.0)
    available = np.ones(len(scores), dtype=bool)
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
    return chosen or [int(lengths.argmin())]  # all are too long
