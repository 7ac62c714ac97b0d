"""The labelled examples that are nearest to a text: by hidden states, or by the words that both contain."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcli.backends.base import Backend
from llmcli.errors import RequestRejected, Unsupported
from llmcli.tasks.runner.task_run import ask_all
from llmcli.types import Message, Priority, Request, Role

if TYPE_CHECKING:
    from llmcli.tasks.labels.label_scorer import Examples

_WORD = re.compile(r"\w+")


class ExampleChooser:
    """Chooses the ``count`` nearest of ``examples`` for a text; the nearest one comes last.

    Similar examples, the most similar one next to the text, help more than fixed ones (Liu et al. 2022, What Makes Good
    In-Context Examples for GPT-3?). The similarity is the cosine of the mean hidden states of the texts, without their
    common part (the mean over the examples), where the backend reports them; else ``word_similarity``.
    """

    def __init__(self, examples: Examples, count: int, vectors: Sequence[bytes] | None = None) -> None:
        self._examples = list(examples)
        self._count = count
        self._vectors = None if vectors is None else _VectorTable(vectors)
        self._words = [_count_words(text) for text, _ in self._examples]
        self._weights = _word_weights(self._words)

    @property
    def needs_hidden_states(self) -> bool:
        """Whether ``choose`` needs the hidden states of a text."""
        return self._vectors is not None

    @staticmethod
    def states_request(request_id: str, text: str) -> Request:
        """Return the request for the hidden states of a text alone."""
        message = Message(Role.USER, text)
        return Request(request_id, (message,), priority=Priority.BULK, hidden_states=True)

    def choose(self, text: str, states: bytes | None = None) -> Examples:
        """Return the nearest examples; ``states`` are the mean hidden states of the text."""
        if self._vectors is not None and states is not None:
            similar = self._vectors.similarities(states)
        else:
            words = _count_words(text)
            similar = [word_similarity(words, each, self._weights) for each in self._words]
        nearest = sorted(range(len(similar)), key=lambda index: (-similar[index], index))[: self._count]
        return [self._examples[index] for index in reversed(nearest)]


def make_chooser(backend: Backend, examples: Examples, count: int) -> ExampleChooser:
    """Return a chooser by hidden states if the backend reports them, else by words. Raises the failure of a request."""
    requests = [ExampleChooser.states_request(str(number), text) for number, (text, _) in enumerate(examples)]
    try:
        states = [answer.states for answer in ask_all(backend, requests)]
    except (Unsupported, RequestRejected):
        return ExampleChooser(examples, count)
    vectors = [each.mean for each in states if each is not None]
    return ExampleChooser(examples, count, vectors if len(vectors) == len(states) else None)


def word_similarity(text: Counter[str], example: Counter[str], weights: dict[str, float]) -> float:
    """Return the cosine of two texts' word counts, each damped by a logarithm and weighted by how rare the word is.

    This is tf-idf with the weights (1 + log tf) * log(1 + N / df) (Manning, Raghavan and Schuetze 2008, Introduction to
    Information Retrieval, section 6.4).
    """
    dot = math.fsum(
        _weigh(count, weights.get(word, 0.0)) * _weigh(text[word], weights.get(word, 0.0))
        for word, count in example.items()
        if word in text
    )
    return dot / (_norm(text, weights) * _norm(example, weights)) if dot else 0.0


def _weigh(count: int, weight: float) -> float:
    return (1 + math.log(count)) * weight


def _norm(words: Counter[str], weights: dict[str, float]) -> float:
    rare = max(weights.values(), default=1.0)
    return math.sqrt(math.fsum(_weigh(count, weights.get(word, rare)) ** 2 for word, count in words.items()))


def _count_words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.casefold()))


def _word_weights(texts: Sequence[Counter[str]]) -> dict[str, float]:
    frequency = Counter(word for words in texts for word in words)
    return {word: math.log1p(len(texts) / count) for word, count in frequency.items()}


class _VectorTable:
    """Hidden states of the examples, centred and with norm 1, as rows of a matrix."""

    def __init__(self, vectors: Sequence[bytes]) -> None:
        import numpy as np

        matrix = np.stack([np.frombuffer(each, "<f4") for each in vectors])
        self._mean = matrix.mean(axis=0)
        self._rows: Any = self._unit(matrix - self._mean)

    @staticmethod
    def _unit(rows: Any) -> Any:
        import numpy as np

        norms = np.linalg.norm(rows, axis=-1, keepdims=True)
        return rows / np.where(norms == 0, 1, norms)

    def similarities(self, states: bytes) -> list[float]:
        """Return the cosine of each row and a vector of little-endian 32-bit floats."""
        import numpy as np

        vector = self._unit(np.frombuffer(states, "<f4") - self._mean)
        found: list[float] = (self._rows @ vector).tolist()
        return found
