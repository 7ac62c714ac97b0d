"""Log-probabilities from logits."""

from __future__ import annotations

import ctypes
from typing import Any

from llmcli.engine import native


def log_probability(context: Any, index: int, tokens: list[int]) -> list[float]:
    """Return the natural-log probabilities of ``tokens`` under the logits of batch position ``index``.

    log softmax: logit - (max + log(sum(exp(logit - max)))), summed in double precision.
    """
    import numpy as np

    lib = native.lib()
    row = lib.llama_get_logits_ith(context, index)
    size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(lib.llama_get_model(context)))
    logits = np.ctypeslib.as_array(ctypes.cast(row, ctypes.POINTER(ctypes.c_float)), (size,)).astype(np.float64)
    highest = logits.max()
    total = highest + np.log(np.exp(logits - highest).sum())
    return [float(logits[token] - total) for token in tokens]
