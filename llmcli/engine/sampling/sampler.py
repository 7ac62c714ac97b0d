"""Samples the next token in C: one sampler chain for each sequence; the grammar checks the sampled token first."""

from __future__ import annotations

import ctypes
import math
import secrets
from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.model import Model
from llmcli.engine.sampling.gbnf import make_grammar_sampler
from llmcli.errors import InternalError
from llmcli.types import Sampling

PENALTY_WINDOW_TOKENS = 256
"""Number of last tokens that the repetition penalties consider: small models repeat whole paragraphs, which llama.cpp's
own default of 64 does not cover."""
_MAX_SEED = 2**32 - 2
"""The number after it, LLAMA_DEFAULT_SEED, would choose a random seed."""


class Sampler:
    """A chain of llama.cpp's samplers with its own random numbers. Free with ``close``."""

    def __init__(self, model: Model, sampling: Sampling, grammar: str | None = None) -> None:
        """``grammar``: GBNF with a rule ``root``. Raises ``InputError`` when llama.cpp does not accept it."""
        self._lib = lib = bindings.lib()
        self._model = model
        self._grammar_sampler = make_grammar_sampler(model.vocab, grammar) if grammar is not None else None
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
            add(chain, lib.llama_sampler_init_penalties(model.vocab_size, PENALTY_WINDOW_TOKENS, *penalties))
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
        """Sample a token from the logits of batch position ``index`` and accept it."""
        token: int = self._lib.llama_sampler_sample(self._chain, context, index)
        if self._grammar_sampler is None:
            return token
        # The grammar allows almost every sampled token, so one candidate is checked instead of the vocabulary.
        if not self._is_allowed(token):
            token = self._sample_allowed(context, index)
        self._lib.llama_sampler_accept(self._grammar_sampler, token)
        return token

    def _is_allowed(self, token: int) -> bool:
        one = (self._lib.llama_token_data * 1)(self._lib.llama_token_data(token, 1.0, 0.0))
        array = self._lib.llama_token_data_array(one, 1, -1, False)
        self._lib.llama_sampler_apply(self._grammar_sampler, ctypes.byref(array))
        return math.isfinite(one[0].logit)

    def _sample_allowed(self, context: Any, index: int) -> int:
        import numpy as np

        lib = self._lib
        size = self._model.vocab_size
        data = (lib.llama_token_data * size)()
        view = np.ctypeslib.as_array(data)
        view["id"] = np.arange(size)
        view["logit"] = np.ctypeslib.as_array(lib.llama_get_logits_ith(context, index), (size,))
        array = lib.llama_token_data_array(data, size, -1, False)
        lib.llama_sampler_apply(self._grammar_sampler, ctypes.byref(array))
        lib.llama_sampler_apply(self._chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size or not math.isfinite(array.data[array.selected].logit):
            raise InternalError("sampling", detail="the grammar allows no token")
        token = int(array.data[array.selected].id)
        lib.llama_sampler_accept(self._chain, token)  # the penalties count it (and the rejected one before it)
        return token

    def close(self) -> None:
        """Free the chain."""
        if self._chain:
            self._lib.llama_sampler_free(self._chain)
            self._chain = None
        if self._grammar_sampler:
            self._lib.llama_sampler_free(self._grammar_sampler)
            self._grammar_sampler = None
