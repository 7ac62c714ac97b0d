"""Vectors of texts: the mean hidden states after a model's layer for vectors, of length 1, as 16-bit floats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from llmcli.backends.base import Backend
from llmcli.errors import Unsupported
from llmcli.fast_dataclass import frozen
from llmcli.state_layers import vector_layers
from llmcli.tasks.runner.task_run import ask_all
from llmcli.types import Priority, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH_TEXTS = 64
"""Texts that are requested at once."""
_LAYER_MARK = "@"


@frozen
class QuestionVector:
    """The vector of a question by ``model``; ``dedicated``: a model that was chosen for vectors."""

    vector: bytes
    model: str
    dedicated: bool = False


class PassageEmbedder:
    """Computes vectors with the model of ``backend``; ``model`` identifies it and the layer in an index.

    ``dedicated``: it was chosen for vectors, and is not just the model that answers.
    """

    def __init__(self, backend: Backend, *, dedicated: bool = False) -> None:
        self._backend = backend
        self._dedicated = dedicated
        info = backend.info()
        self._model_id, self._layers = info.model_id, vector_layers(info)
        self.model = _LAYER_MARK.join([info.model_id, *map(str, self._layers)])

    def outdated(self, models: Iterable[str]) -> list[str]:
        """Return those ``models`` of an index that are this one after another layer, so that they do not compare."""
        return [each for each in models if each != self.model and each.partition(_LAYER_MARK)[0] == self._model_id]

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
            Request(str(number), (), prompt=text, priority=Priority.BULK, hidden_states=True, state_layers=self._layers)
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


_SHRINKAGE_ROWS = 10
"""A variance from so many vectors counts as much as the median of all components."""


def shrunk_deviations(variances: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the standard deviations of components from their variances over ``count`` vectors; none is 0.

    Variances of few vectors are shrunk towards their median.
    """
    import numpy as np

    common = float(np.median(variances)) or 1.0
    return np.asarray(np.sqrt((count * variances + _SHRINKAGE_ROWS * common) / (count + _SHRINKAGE_ROWS)))


def rank_by_similarity(question: bytes, vectors: Sequence[bytes]) -> list[int]:
    """Return the positions of ``vectors``, the most similar to ``question`` first.

    The similarity is the cosine after the mean of the vectors is subtracted, since the hidden states of a generative
    model share a large common part (Mu and Viswanath 2018, All-but-the-Top), and after each component is divided by its
    deviation, since a few of them are larger than all others together (Timkey and van Schijndel 2021, All Bark and No
    Bite).
    """
    import numpy as np

    if not vectors:
        return []
    width = len(question) // 2
    rows = np.frombuffer(b"".join(vectors), dtype="<f2").reshape(-1, width).astype(np.float32)
    mean = rows.mean(axis=0)
    deviations = shrunk_deviations(rows.var(axis=0, dtype=np.float64), len(rows)).astype(np.float32)
    rows = (rows - mean) / deviations
    wanted = (np.frombuffer(question, dtype="<f2").astype(np.float32) - mean) / deviations
    norms = np.linalg.norm(rows, axis=1)
    similarities = rows @ wanted / np.where(norms > 0, norms, 1)
    return [int(each) for each in np.argsort(-similarities, kind="stable")]
