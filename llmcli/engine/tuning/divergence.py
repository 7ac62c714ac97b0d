"""The divergence of a model's weights in some type from exact evaluation of its file.

Exact: the weights of the file, dequantized to F16 (or BF16, where evaluating in F16 overflows) and evaluated in that
type. llama.cpp itself deviates from that with quantized weights, since it rounds activations to 8 bits. The measure is
the mean over the tokens of a text of the Kullback-Leibler divergence D(P || Q) = sum P (log P - log Q) of the
next-token distribution Q from the exact P, in nats: that of llama.cpp's ``llama-perplexity --kl-divergence``, which
averages over the second half of each chunk only.

``divergence_text.txt`` consists of passages in English, German and French that are in the public domain: C. Darwin, On
the Origin of Species (1859); J. Austen, Persuasion (1817); H. Melville, Moby-Dick (1851); J. and W. Grimm, Der
Froschkoenig (1812); J. Verne, Vingt mille lieues sous les mers (1870); and a few lines of tabular data and code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import InternalError
from llmcli.interrupt import Interrupt
from llmcli.models.footprint import MAX_OUTPUTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    LogProbs = NDArray[np.float32]

_TEXT_FILE = Path(__file__).with_name("divergence_text.txt")
_CHUNK_TOKENS = 512
_NUM_CHUNKS = 2
_MAX_REFERENCE_BYTES = 512 << 20
"""Log-probabilities of exact evaluation in memory; with large vocabularies only every second or fourth token counts."""
_MAX_BATCH = 256


class NotFinite(ArithmeticError):
    """Evaluation overflowed: the logits are infinite or not a number."""


def sample_chunks(model: Model) -> list[list[int]]:
    """Return the tokens of the text in chunks that are evaluated apart, each after the BOS if the model uses one."""
    tokenizer = Tokenizer(model)
    start = tokenizer.encode_prompt("")
    tokens, size = tokenizer.encode(_TEXT_FILE.read_text(encoding="utf-8")), _CHUNK_TOKENS - len(start)
    return [start + tokens[at : at + size] for at in range(0, min(len(tokens), _NUM_CHUNKS * size), size)]


class _ScoredContext(Context):
    """A context that computes the logits of many tokens of a batch."""

    @staticmethod
    def _count_outputs(config: ContextConfig) -> int:
        return min(config.batch, MAX_OUTPUTS)


class DivergenceMeter:
    """Compares types of one model's weights with exact evaluation, for which ``reference`` is the dequantized model."""

    def __init__(self, reference: Model, threads: int, interrupt: Interrupt) -> None:
        """Evaluate the text. Raises ``NotFinite``, what ``interrupt.check`` raises, and as creating a context does."""
        self._threads, self._interrupt = threads, interrupt
        self._chunks = sample_chunks(reference)
        size = 4 * reference.vocab_size * sum(map(len, self._chunks))
        self._stride = -(-size // _MAX_REFERENCE_BYTES)
        self._exact = list(self._log_probabilities(reference))

    def measure(self, model: Model) -> float:
        """Return the mean divergence of ``model`` in nats. Raises as the constructor."""
        import numpy as np

        total, count = 0.0, 0
        for exact, other in zip(self._exact, self._log_probabilities(model), strict=True):
            # the sums of small differences need more precision than the probabilities
            total += float(np.sum(np.exp(exact) * (exact - other), dtype=np.float64))
            count += len(exact)
        return max(0.0, total / count)

    def _log_probabilities(self, model: Model) -> Iterator[LogProbs]:
        """Yield arrays (tokens, vocabulary) of log-probabilities, one for each evaluated batch."""
        batch = min(_MAX_BATCH, MAX_OUTPUTS * self._stride)
        threads = ThreadPolicy(self._threads, fixed=True)
        config = ContextConfig(cells=_CHUNK_TOKENS, sequences=1, batch=batch, threads=threads)
        context = _ScoredContext(model, config, lambda: self._interrupt.error is not None)
        try:
            for chunk in self._chunks:
                bindings.lib().llama_memory_clear(context.memory, False)
                for start in range(0, len(chunk), batch):
                    yield self._evaluate(context, chunk[start : start + batch], start)
        finally:
            context.close()

    def _evaluate(self, context: Context, tokens: list[int], position: int) -> LogProbs:
        import numpy as np

        outputs = range(0, len(tokens), self._stride)
        context.batch.clear()
        context.batch.add(tokens, position, 0, outputs)
        code = context.evaluate(abortable=True)
        self._interrupt.check()
        if code != 0:
            raise InternalError("divergence", detail="the cache is full")
        shape = (len(outputs), context.model.vocab_size)
        logits = bindings.lib().llama_get_logits(context.handle)
        values = bindings.float_array(logits, shape)
        if not np.isfinite(values).all():
            raise NotFinite
        shifted = values - values.max(axis=1, keepdims=True)
        result: LogProbs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return result
