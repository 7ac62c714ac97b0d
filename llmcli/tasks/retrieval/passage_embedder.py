"""Vectors of texts: the mean hidden states of a model, of length 1, stored as 16-bit floats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmcli.backends.base import Backend
from llmcli.errors import Unsupported
from llmcli.fast_dataclass import frozen
from llmcli.tasks.runner.task_run import ask_all
from llmcli.types import Priority, Request

BATCH_TEXTS = 64
"""Texts that are requested at once."""


@frozen
class QuestionVector:
    """The vector of a question by ``model``; ``dedicated``: a model that was chosen for vectors."""

    vector: bytes
    model: str
    dedicated: bool = False


class PassageEmbedder:
    """Computes vectors with the model of ``backend``; ``model`` identifies it in an index.

    ``dedicated``: it was chosen for vectors, and is not just the model that answers.
    """

    def __init__(self, backend: Backend, *, dedicated: bool = False) -> None:
        self._backend = backend
        self._dedicated = dedicated
        self.model = backend.info().model_id

    def embed(self, texts: Mapping[int, str]) -> Iterator[dict[int, bytes]]:
        """Yield the vectors of texts by their numbers, some at a time.

        Raises ``Unsupported`` if a server reports no hidden states, and the failure of a request.
        """
        numbers = list(texts)
        for first in range(0, len(numbers), BATCH_TEXTS):
            yield self._embed_batch({number: texts[number] for number in numbers[first : first + BATCH_TEXTS]})

    def embed_question(self, question: str) -> QuestionVector:
        """Return the vector of a question. Raises as ``embed`` does."""
        return QuestionVector(next(self.embed({0: question}))[0], self.model, self._dedicated)

    def embed_vector(self, text: str) -> list[float]:
        """Return the components of the vector of a text. Raises as ``embed`` does."""
        import numpy as np

        return [float(each) for each in np.frombuffer(self.embed_question(text).vector, dtype="<f2")]

    def _embed_batch(self, texts: Mapping[int, str]) -> dict[int, bytes]:
        requests = [
            Request(str(number), (), prompt=text, priority=Priority.BULK, hidden_states=True)
            for number, text in texts.items()
        ]
        states = [answer.states for answer in ask_all(self._backend, requests)]
        found = {number: _normalize(each.mean) for number, each in zip(texts, states, strict=True) if each is not None}
        if len(found) < len(texts):
            raise Unsupported("embeddings")
        return found


def _normalize(states: bytes) -> bytes:
    """Return 32-bit floats divided by their Euclidean norm, as 16-bit floats; both little-endian."""
    import numpy as np

    vector = np.frombuffer(states, dtype="<f4")
    norm = float(np.linalg.norm(vector))
    return (vector / norm if norm else vector).astype("<f2").tobytes()


def rank_by_similarity(question: bytes, vectors: Sequence[bytes]) -> list[int]:
    """Return the positions of ``vectors``, the most similar to ``question`` first.

    The similarity is the cosine after the mean of the vectors is subtracted: the hidden states of a generative model
    share a large common part (Mu and Viswanath 2018, All-but-the-Top).
    """
    import numpy as np

    if not vectors:
        return []
    width = len(question) // 2
    rows = np.frombuffer(b"".join(vectors), dtype="<f2").reshape(-1, width).astype(np.float32)
    mean = rows.mean(axis=0)
    rows -= mean
    wanted = np.frombuffer(question, dtype="<f2").astype(np.float32) - mean
    norms = np.linalg.norm(rows, axis=1)
    similarities = rows @ wanted / np.where(norms > 0, norms, 1)
    return [int(each) for each in np.argsort(-similarities, kind="stable")]
