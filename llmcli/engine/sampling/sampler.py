"""Samples the next token in C: one sampler chain for each sequence; the grammar checks the sampled token first."""

from __future__ import annotations

import ctypes
import math
import secrets
from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.model import Model
from llmcli.engine.sampling.grammar_compiler import GrammarMatcher
from llmcli.errors import InternalError, LogitOverflow
from llmcli.types import Sampling

_PENALTY_WINDOW_TOKENS = 256
"""Number of last tokens that the repetition penalties consider: small models repeat whole paragraphs, which llama.cpp's
own default of 64 does not cover."""
_MAX_SEED = 2**32 - 2
"""The number after it, LLAMA_DEFAULT_SEED, would choose a random seed."""


class Sampler:
    """A chain of llama.cpp's samplers with its own random numbers. Free with ``close``."""

    def __init__(self, model: Model, sampling: Sampling, matcher: GrammarMatcher | None = None) -> None:
        """``matcher``: of the grammar that the tokens must follow."""
        self._lib = lib = bindings.lib()
        self._vocab_size = model.vocab_size
        self._matcher = matcher
        self._has_sampled = False
        seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        self.seed = min(seed, _MAX_SEED)
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        self._chain: Any = chain
        add = lib.llama_sampler_chain_add
        # top_k comes first: sorting 40 candidates instead of the vocabulary makes every later step cheap
        if sampling.temperature > 0 and sampling.top_k is not None:
            add(chain, lib.llama_sampler_init_top_k(sampling.top_k))
        penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
        if penalties != (1.0, 0.0, 0.0):
            add(chain, lib.llama_sampler_init_penalties(model.vocab_size, _PENALTY_WINDOW_TOKENS, *penalties))
        if sampling.temperature > 0:
            if sampling.top_p is not None:
                add(chain, lib.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p is not None:
                add(chain, lib.llama_sampler_init_min_p(sampling.min_p, 1))
            add(chain, lib.llama_sampler_init_temp(sampling.temperature))
            add(chain, lib.llama_sampler_init_dist(self.seed))
        else:
            add(chain, lib.llama_sampler_init_greedy())

    def sample(self, context: Any, index: int) -> int:
        """Sample a token from the logits of batch position ``index`` and accept it.

        Raises ``BadGrammar`` for a grammar that takes too long to follow, and ``LogitOverflow``.
        """
        if not self._has_sampled:  # NaN in all logits, or in those of some tokens
            self._require_finite(self._read_logits(context, index, self._vocab_size).max())
            self._has_sampled = True
        token = self._sample(context, index)
        self._require_finite(self._lib.llama_get_logits_ith(context, index)[token])
        return token

    def _read_logits(self, context: Any, index: int, size: int) -> Any:
        """Return the first ``size`` logits of a batch position: a view."""
        return bindings.float_array(self._lib.llama_get_logits_ith(context, index), (size,))

    @staticmethod
    def _require_finite(logit: float) -> None:
        if not math.isfinite(logit):
            raise LogitOverflow("sampling", detail="an evaluation overflows; --set weights=original may not")

    def _sample(self, context: Any, index: int) -> int:
        if self._matcher is not None and self._matcher.is_complete:  # an answer that must go on, in measurements
            return self._sample_allowed(self._matcher, context, index)
        token: int = self._lib.llama_sampler_sample(self._chain, context, index)
        # The grammar allows almost every sampled token, so one candidate is checked instead of the vocabulary.
        if self._matcher is None or self._matcher.accept(token):
            return token
        token = self._sample_allowed(self._matcher, context, index)
        if not self._matcher.accept(token):
            raise InternalError("sampling", detail="the grammar allows a token and refuses it")
        return token

    @property
    def is_complete(self) -> bool:
        """The grammar allows nothing but the end."""
        return self._matcher is not None and self._matcher.is_complete

    def allowed_prefix(self, tokens: list[int]) -> list[int]:
        """Return as many of ``tokens`` as the grammar allows next."""
        return tokens if self._matcher is None or not tokens else self._matcher.allowed_prefix(tokens)

    def _sample_allowed(self, matcher: GrammarMatcher, context: Any, index: int) -> int:
        import numpy as np

        lib = self._lib
        allowed = matcher.allowed_tokens()
        if not len(allowed):
            raise InternalError("sampling", detail="the grammar allows no token")
        data = (lib.llama_token_data * len(allowed))()
        view = np.ctypeslib.as_array(data)
        view["id"] = allowed
        view["logit"] = self._read_logits(context, index, int(allowed[-1]) + 1)[allowed]
        array = lib.llama_token_data_array(data, len(allowed), -1, False)
        lib.llama_sampler_apply(self._chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            raise InternalError("sampling", detail="the grammar allows no token")
        token = int(array.data[array.selected].id)
        lib.llama_sampler_accept(self._chain, token)  # the penalties count it (and the rejected one before it)
        return token

    def close(self) -> None:
        """Free the chain."""
        if self._chain:
            self._lib.llama_sampler_free(self._chain)
            self._chain = None


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

    Only the sum is in double precision: a copy of all logits of a large vocabulary in it takes milliseconds a token.
    Raises ``LogitOverflow``.
    """
    import numpy as np

    lib = bindings.lib()
    row = lib.llama_get_logits_ith(context, index)
    size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(lib.llama_get_model(context)))
    logits = bindings.float_array(row, (size,))
    highest = logits.max()
    total = float(highest) + np.log(np.exp(logits - highest).sum(dtype=np.float64))
    if not np.isfinite(total):
        raise LogitOverflow("scoring", detail="an evaluation overflows; --set weights=original may not")
    return logits, total
