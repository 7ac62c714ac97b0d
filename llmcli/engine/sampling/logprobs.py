"""Log-probabilities from logits."""

from __future__ import annotations

from typing import Any

from llmcli.engine.llama import bindings
from llmcli.errors import LogitOverflow


def token_logprobs(context: Any, index: int, tokens: list[int]) -> list[float]:
    """Return the natural-log probabilities of ``tokens`` under the logits of batch position ``index``.

    log softmax: logit - (max + log(sum(exp(logit - max)))), summed in double precision.
    """
    logits, total = _read_logits(context, index)
    return [float(logits[token] - total) for token in tokens]


def top_logprobs(context: Any, index: int, count: int) -> list[tuple[int, float]]:
    """Return the ``count`` most likely tokens at batch position ``index`` with their log-probabilities, in order."""
    import numpy as np

    logits, total = _read_logits(context, index)
    count = min(count, len(logits))
    if not count:
        return []
    found = np.argpartition(-logits, count - 1)[:count]
    return [(int(token), float(logits[token] - total)) for token in found[np.argsort(-logits[found], kind="stable")]]


def _read_logits(context: Any, index: int) -> tuple[Any, Any]:
    """Return the logits of a batch position (float32, one per vocabulary entry) and the log of their softmax's sum.

    Only the sum is in double precision: a copy of all logits of a large vocabulary in it takes milliseconds a token. Raises
    ``LogitOverflow``.
    """
    import numpy as np

    lib = bindings.lib()
    row = lib.llama_get_logits_ith(context, index)
    size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(lib.llama_get_model(context)))
    logits = bindings.float_array(row, (size,))
    highest = logits.max()
    total = float(highest) + np.log(np.exp(logits - highest).sum(dtype=np.float64))
    if not np.isfinite(total):
        raise LogitOverflow("scoring", detail="an evaluation overflows; --weights original may not")
    return logits, total
