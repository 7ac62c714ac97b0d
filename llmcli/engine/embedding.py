"""Texts to vectors: a context of its own whose outputs are hidden states, beside those that generate.

An embedding model says how its states become one vector (``pooling_type`` in the file); for other models it is the mean
of the last layer's states. Vectors are scaled to length 1. Embedding is bulk work: interactive work preempts it.
"""

from __future__ import annotations

import array
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from llmcli.engine.llama import bindings
from llmcli.engine.llama.compute_thread import InlineExecutor
from llmcli.engine.llama.model import Model
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import ContextOverflow, InputError, InternalError, OutOfMemory, Unsupported
from llmcli.models.footprint import ContextShape, context_bytes
from llmcli.types import Priority

_T = TypeVar("_T")
_POOLING_KEY = "pooling_type"
_POOLING_NONE, _POOLING_RANK = 0, 4  # enum llama_pooling_type
_POOLING_UNSPECIFIED = -1
_CELLS_STEP = 256
_MAX_OUTPUT_FLOATS = 1 << 22
"""Bound of the logits that llama.cpp allocates beside the states: numbers for a whole batch."""
_MIN_BATCH_TOKENS, _MAX_BATCH_TOKENS = 32, 512
_MIN_CHUNK_TOKENS = 16
_DECODE_ABORTED = 2


class Embedder:
    """Embeds with ``model`` in ``executor``; its context is created for short texts and replaced for longer ones."""

    def __init__(self, model: Model, threads: int, executor: InlineExecutor) -> None:
        """Raises ``Unsupported`` for a model that ranks texts."""
        self._lib = bindings.lib()
        self._model = model
        self._threads = threads
        self._executor = executor
        self._token_s: float | None = None  # seconds that a token took in the last evaluation
        self.tokenizer = Tokenizer(model)
        pooling = model.header.metadata.get(f"{model.header.architecture}.{_POOLING_KEY}", _POOLING_NONE)
        if pooling == _POOLING_RANK:
            raise Unsupported("embeddings", detail="this model ranks texts and has none")
        self._uses_pooling = bool(pooling) or model.embeds_only
        self.dimension = int(self._lib.llama_model_n_embd(model.handle))
        self._max_tokens = model.context_length or _MAX_BATCH_TOKENS
        self._handle: Any = None
        self._cells = 0

    def tokenize(self, given: str | Sequence[int]) -> list[int]:
        """Return the tokens of a text, special ones added as the model wants them; tokens are checked.

        Raises ``ContextOverflow``, and ``InputError`` for what is no token of the model.
        """
        if isinstance(given, str):
            self.tokenizer.check_length(given, self._max_tokens)
            tokens = self.tokenizer.encode_special(given)
        else:
            tokens = list(given)
            if not all(0 <= token < self._model.vocab_size for token in tokens):
                raise InputError("input", detail=f"tokens are from 0 to {self._model.vocab_size - 1}")
        if not tokens:
            raise InputError("input", detail="it has no tokens")
        if len(tokens) > self._max_tokens:
            raise ContextOverflow(tokens=len(tokens), context=self._max_tokens)
        return tokens

    def embed(self, tokens: Sequence[int], is_cancelled: Callable[[], bool]) -> array.array[float]:
        """Return the vector of some tokens. Raises as ``Context``, and ``InternalError`` once ``is_cancelled`` returns True."""
        self._run_bulk(lambda: self._prepare_context(len(tokens)), is_cancelled)
        total, done = [0.0] * self.dimension, 0
        while done < len(tokens):
            count, rows = self._run_bulk(functools.partial(self._evaluate_chunk, tokens, done), is_cancelled)
            if count:
                total = [have + more for have, more in zip(total, rows, strict=True)]
                done += count
        length = math.sqrt(math.fsum(number * number for number in total)) or 1.0
        return array.array("f", (number / length for number in total))

    def _run_bulk(self, function: Callable[[], _T], is_cancelled: Callable[[], bool]) -> _T:
        if is_cancelled():
            raise InternalError("embedding", detail="cancelled")
        result = self._executor.run(function, Priority.BULK, abandon=is_cancelled)
        if result is None:
            raise InternalError("embedding", detail="cancelled")
        return result

    def _prepare_context(self, count: int) -> bool:
        """Make sure of an empty context for ``count`` tokens; returns True."""
        lib = self._lib
        if self._handle and count <= self._cells:
            memory = lib.llama_get_memory(self._handle)
            if memory:
                lib.llama_memory_clear(memory, False)
            return True
        self.close()
        self._cells = min(-(-count // _CELLS_STEP) * _CELLS_STEP, max(self._max_tokens, _CELLS_STEP))
        room = max(_MIN_BATCH_TOKENS, min(_MAX_BATCH_TOKENS, _MAX_OUTPUT_FLOATS // max(1, self._model.vocab_size)))
        # pooling needs all of a text in one batch
        self._batch_tokens = self._cells if self._uses_pooling else min(room, self._cells)
        params = lib.llama_context_default_params()
        params.n_ctx = self._cells
        params.n_batch = params.n_ubatch = params.n_outputs_max = self._batch_tokens
        params.n_outputs_max_per_seq = self._batch_tokens
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = self._threads
        params.embeddings = True
        params.pooling_type = _POOLING_UNSPECIFIED if self._uses_pooling else _POOLING_NONE
        params.no_perf = True
        bindings.log.clear()
        self._handle = lib.llama_init_from_model(self._model.handle, params)
        if not self._handle:
            cause = bindings.log.error_summary()
            raise (OutOfMemory if "alloc" in cause else Unsupported)("embeddings", detail=cause)
        size = context_bytes(self._model.header, ContextShape(self._cells, 1, self._batch_tokens))
        logits_bytes = 4 * self._batch_tokens * self._model.vocab_size  # for the whole batch
        self._model.budget.allocate(self, size + logits_bytes)
        self._abort_callback = lib.ggml_abort_callback(lambda _data: self._executor.should_preempt())
        lib.llama_set_abort_callback(self._handle, self._abort_callback, None)
        return True

    def _chunk_size(self) -> int:
        """Return how many tokens the next evaluation takes."""
        if self._uses_pooling or self._token_s is None:
            return self._batch_tokens
        return max(_MIN_CHUNK_TOKENS, min(self._batch_tokens, int(self._executor.bulk_step_s() / self._token_s)))

    def _evaluate_chunk(self, tokens: Sequence[int], start: int) -> tuple[int, list[float]]:
        """Evaluate some tokens from ``start`` on.

        Returns how many, 0 where interactive work preempted it, and the sum of their states or the pooled vector.
        """
        lib = self._lib
        piece = tokens[start : start + self._chunk_size()]
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
            bindings.log.clear()
            began = time.monotonic()
            code = lib.llama_decode(self._handle, batch)
        finally:
            lib.llama_batch_free(batch)
        if code == _DECODE_ABORTED:
            return 0, []
        if code:
            raise InternalError("embedding", detail=bindings.log.error_summary() or f"code {code}")
        self._token_s = (time.monotonic() - began) / count
        return count, self._read_pooled() if self._uses_pooling else self._sum_states(count)

    def _read_pooled(self) -> list[float]:
        row = self._lib.llama_get_embeddings_seq(self._handle, 0)
        if not row:
            raise Unsupported("embeddings", detail="the model gives none for a whole text")
        return list(row[: self.dimension])

    def _sum_states(self, count: int) -> list[float]:
        import numpy as np

        rows = [
            np.ctypeslib.as_array(self._lib.llama_get_embeddings_ith(self._handle, i), (self.dimension,))
            for i in range(count)
        ]
        total: Any = np.stack(rows).sum(axis=0, dtype=np.float64)
        return [float(number) for number in total]

    def close(self) -> None:
        """Free the context."""
        handle, self._handle, self._cells = self._handle, None, 0
        if handle:
            self._lib.llama_free(handle)
            self._model.budget.free(self)

    def release_idle(self) -> None:
        """Keep the context, which is small and freed soon after the last text: another thread may be about to use it."""
