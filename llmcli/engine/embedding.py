"""Texts to vectors: a context of its own whose outputs are hidden states, beside those that generate.

A model that was made for this says how its states become one vector (``pooling_type`` in the file); of others it is the
mean of the last layer's states. Vectors are scaled to length 1. Embedding is bulk work: it gives way to interactive work.
"""

from __future__ import annotations

import array
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from llmcli.engine import native
from llmcli.engine.compute_thread import InlineExecutor
from llmcli.engine.model import Model
from llmcli.engine.tokens import Tokenizer
from llmcli.errors import ContextOverflow, InputError, InternalError, OutOfMemory, Unsupported
from llmcli.models.footprint import ContextShape, context_bytes
from llmcli.types import Priority

_T = TypeVar("_T")
_POOLING = "pooling_type"
_NONE, _RANK = 0, 4  # enum llama_pooling_type
_UNSPECIFIED = -1
_STEP = 256
_OUTPUTS = 1 << 22
"""Numbers of the logits that llama.cpp makes beside the states, for a whole batch of them."""
_LEAST, _MOST = 32, 512
_LEAST_PIECE = 16
_ABORTED = 2


class Embedder:
    """Embeds with ``model`` when ``executor`` lets it; its context is made for short texts, and anew for longer ones."""

    def __init__(self, model: Model, threads: int, executor: InlineExecutor) -> None:
        """Raises ``Unsupported`` for a model that compares texts instead."""
        self._lib = native.lib()
        self._model = model
        self._threads = threads
        self._executor = executor
        self._token_s: float | None = None  # seconds that a token took lately
        self.tokenizer = Tokenizer(model)
        pooling = model.header.metadata.get(f"{model.header.architecture}.{_POOLING}", _NONE)
        if pooling == _RANK:
            raise Unsupported("embeddings", detail="this model ranks texts and has none")
        self._pools = bool(pooling) or model.embeds_only
        self.width = int(self._lib.llama_model_n_embd(model.handle))
        self._limit = model.context_length or _MOST
        self._handle: Any = None
        self._cells = 0

    def tokens(self, given: str | Sequence[int]) -> list[int]:
        """Return the tokens of a text, special ones added as the model wants them; tokens are checked.

        Raises ``ContextOverflow``, and ``InputError`` for what is no token of the model.
        """
        if isinstance(given, str):
            self.tokenizer.refuse_too_long(given, self._limit)
            tokens = self.tokenizer.enclosed(given)
        else:
            tokens = list(given)
            if not all(0 <= token < self._model.vocab_size for token in tokens):
                raise InputError("input", detail=f"tokens are from 0 to {self._model.vocab_size - 1}")
        if not tokens:
            raise InputError("input", detail="it has no tokens")
        if len(tokens) > self._limit:
            raise ContextOverflow(tokens=len(tokens), context=self._limit)
        return tokens

    def vector(self, tokens: Sequence[int], gone: Callable[[], bool]) -> array.array[float]:
        """Return the vector of some tokens. Raises as ``Context``, and ``InternalError`` once ``gone`` returns True."""
        self._run(lambda: self._prepare(len(tokens)), gone)
        total, done = [0.0] * self.width, 0
        while done < len(tokens):
            count, rows = self._run(functools.partial(self._evaluate, tokens, done), gone)
            if count:
                total = [have + more for have, more in zip(total, rows, strict=True)]
                done += count
        length = math.sqrt(math.fsum(number * number for number in total)) or 1.0
        return array.array("f", (number / length for number in total))

    def _run(self, function: Callable[[], _T], gone: Callable[[], bool]) -> _T:
        if gone():
            raise InternalError("embedding", detail="cancelled")
        result = self._executor.run(function, Priority.BULK, abandon=gone)
        if result is None:
            raise InternalError("embedding", detail="cancelled")
        return result

    def _prepare(self, count: int) -> bool:
        """Have an empty context for so many tokens; returns True."""
        lib = self._lib
        if self._handle and count <= self._cells:
            memory = lib.llama_get_memory(self._handle)
            if memory:
                lib.llama_memory_clear(memory, False)
            return True
        self.close()
        self._cells = min(-(-count // _STEP) * _STEP, max(self._limit, _STEP))
        room = max(_LEAST, min(_MOST, _OUTPUTS // max(1, self._model.vocab_size)))
        # what pools looks at all of a text at once
        self._batch = self._cells if self._pools else min(room, self._cells)
        params = lib.llama_context_default_params()
        params.n_ctx = self._cells
        params.n_batch = params.n_ubatch = params.n_outputs_max = self._batch
        params.n_outputs_max_per_seq = self._batch
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = self._threads
        params.embeddings = True
        params.pooling_type = _UNSPECIFIED if self._pools else _NONE
        params.no_perf = True
        native.log.clear()
        self._handle = lib.llama_init_from_model(self._model.handle, params)
        if not self._handle:
            cause = native.log.cause()
            raise (OutOfMemory if "alloc" in cause else Unsupported)("embeddings", detail=cause)
        size = context_bytes(self._model.header, ContextShape(self._cells, 1, self._batch))
        self._model.budget.take(self, size + 4 * self._batch * self._model.vocab_size)  # logits for the whole batch
        self._abort = lib.ggml_abort_callback(lambda _data: self._executor.should_preempt())
        lib.llama_set_abort_callback(self._handle, self._abort, None)
        return True

    def _piece(self) -> int:
        """Return how many tokens the next evaluation takes."""
        if self._pools or self._token_s is None:
            return self._batch
        return max(_LEAST_PIECE, min(self._batch, int(self._executor.bulk_step_s() / self._token_s)))

    def _evaluate(self, tokens: Sequence[int], start: int) -> tuple[int, list[float]]:
        """Evaluate some tokens from ``start`` on.

        Returns how many, 0 where interactive work ended it, and the sum of their states or what the model made of them.
        """
        lib = self._lib
        piece = tokens[start : start + self._piece()]
        count = len(piece)
        batch = lib.llama_batch_init(count, 0, 1)
        try:
            batch.n_tokens = count
            for number, token in enumerate(piece):
                batch.token[number] = token
                batch.pos[number] = start + number
                batch.n_seq_id[number] = 1
                batch.seq_id[number][0] = 0
                batch.logits[number] = 1
            native.log.clear()
            began = time.monotonic()
            code = lib.llama_decode(self._handle, batch)
        finally:
            lib.llama_batch_free(batch)
        if code == _ABORTED:
            return 0, []
        if code:
            raise InternalError("embedding", detail=native.log.cause() or f"code {code}")
        self._token_s = (time.monotonic() - began) / count
        return count, self._pooled() if self._pools else self._summed(count)

    def _pooled(self) -> list[float]:
        row = self._lib.llama_get_embeddings_seq(self._handle, 0)
        if not row:
            raise Unsupported("embeddings", detail="the model gives none for a whole text")
        return list(row[: self.width])

    def _summed(self, count: int) -> list[float]:
        import numpy as np

        rows = [
            np.ctypeslib.as_array(self._lib.llama_get_embeddings_ith(self._handle, i), (self.width,))
            for i in range(count)
        ]
        total: Any = np.stack(rows).sum(axis=0, dtype=np.float64)
        return [float(number) for number in total]

    def close(self) -> None:
        """Free the context."""
        handle, self._handle, self._cells = self._handle, None, 0
        if handle:
            self._lib.llama_free(handle)
            self._model.budget.give_back(self)

    def release_idle(self) -> None:
        """Keep the context, which is small and freed soon after the last text: another thread may be about to use it."""
