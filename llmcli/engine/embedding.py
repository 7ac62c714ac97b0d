"""Embedding: texts become vectors, in a separate context whose outputs are hidden states.

The file of an embedding model says how its states become one vector (``pooling_type``). For other models it is the mean
of the states of all tokens but the first one, or the last state, after the layer of vectors (``state_layers``), as for
requests of hidden states; where only the last layer can be read, the mean of all its states. Vectors are scaled to
length 1. Embedding is bulk work: interactive work preempts it.
"""

from __future__ import annotations

import array
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from llmcli.engine.llama import bindings
from llmcli.engine.llama.compute_thread import InlineExecutor
from llmcli.engine.llama.context import (
    DECODE_ABORTED,
    POOLING_NONE,
    Context,
    ContextConfig,
    HiddenStateContext,
    LayerStateContext,
)
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import ContextOverflow, InputError, InternalError, Unsupported
from llmcli.models.footprint import BATCH_SIZES, context_bytes, state_batch_tokens
from llmcli.state_layers import vector_layers
from llmcli.types import BackendInfo, Priority, StateLayers

_T = TypeVar("_T")
_CELLS_STEP = 256
"""The cells of a context are a multiple of it."""
_MAX_TOKENS_WITHOUT_LIMIT = 512
"""Tokens of a text for a model whose file names no limit."""
_MIN_CHUNK_TOKENS = 16
"""Tokens of an evaluation at least, however slow the model is."""


class Embedder:
    """Embeds with ``model`` in ``executor``; its context is created for short texts and replaced for longer ones."""

    def __init__(self, model: Model, model_id: str, threads: int, executor: InlineExecutor) -> None:
        """``model_id`` is that of ``BackendInfo``. Raises ``Unsupported`` for a model that ranks texts."""
        self._model = model
        self._model_id = model_id
        self._threads = ThreadPolicy(threads, fixed=True)
        self._executor = executor
        self._token_s: float | None = None  # seconds a token in the last evaluation
        self.tokenizer = Tokenizer(model)
        pooling = model.header.metadata.get(f"{model.header.architecture}.pooling_type", POOLING_NONE)
        if pooling == _POOLING_RANK:
            raise Unsupported("embeddings", detail="this is a reranking model, which has no embeddings")
        self._uses_pooling = bool(pooling) or model.embeds_only
        self.dimension = int(bindings.lib().llama_model_n_embd(model.handle))
        self._max_tokens = model.context_length or _MAX_TOKENS_WITHOUT_LIMIT
        self._context: _AnyContext | None = None

    def tokenize(self, given: str | Sequence[int]) -> list[int]:
        """Return the tokens of a text, with the special tokens that an embedding model expects; given ones are checked.

        Raises ``ContextOverflow``, and ``InputError`` for a number that is no token of the model.
        """
        if isinstance(given, str):
            self.tokenizer.check_length(given, self._max_tokens)
            tokens = (self.tokenizer.encode_special if self._uses_pooling else self.tokenizer.encode_prompt)(given)
        else:
            tokens = list(given)
            if not all(0 <= token < self._model.vocab_size for token in tokens):
                raise InputError("input", detail=f"tokens must be from 0 to {self._model.vocab_size - 1}")
        if not tokens:
            raise InputError("input", detail="it has no tokens")
        if len(tokens) > self._max_tokens:
            raise ContextOverflow(tokens=len(tokens), context=self._max_tokens)
        return tokens

    def embed(
        self,
        tokens: Sequence[int],
        is_cancelled: Callable[[], bool],
        pooling: str | None = None,
        measured: StateLayers | None = None,
    ) -> array.array[float]:
        """Return the vector of some tokens; ``pooling``: "mean" or "last" of their states, None: the model's own way.

        ``measured``: the layers that ``llm models tune`` chose.

        Raises as ``Context``, ``InputError`` if an embedding model pools itself, and ``InternalError`` once
        ``is_cancelled`` returns True.
        """
        if pooling is not None and self._uses_pooling:
            raise InputError("pooling", detail="the file of this embedding model determines how its states are pooled")
        layers = self._choose_layers(measured)
        context = self._run_bulk(lambda: self._prepare_context(len(tokens), layers), is_cancelled)
        start = min(1, len(tokens) - 1) if layers else 0
        total: Any = 0.0
        done = 0
        while done < len(tokens):
            count, rows = self._run_bulk(functools.partial(self._evaluate_chunk, context, tokens, done), is_cancelled)
            if count:
                total = rows[-1] if pooling == "last" else total + rows[max(0, start - done) :].sum(axis=0)
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

    def _choose_layers(self, measured: StateLayers | None) -> tuple[int, ...]:
        """Return the layer to read, as requests of hidden states have it; none for the last one."""
        layers = None if self._uses_pooling else self._model.header.readable_layers
        return vector_layers(BackendInfo("", self._model_id, 0, layers=layers, measured_layers=measured))

    def _prepare_context(self, count: int, layers: tuple[int, ...]) -> _AnyContext:
        """Return an empty context for ``count`` tokens, which gives their states after ``layers``."""
        known = self._context
        if known is not None and count <= known.config.cells and known.config.state_layers == layers:
            if known.memory:  # an encoder has none
                bindings.lib().llama_memory_clear(known.memory, False)
            return known
        self.close()
        cells = min(-(-count // _CELLS_STEP) * _CELLS_STEP, max(self._max_tokens, _CELLS_STEP))
        # pooling needs the whole text in one batch
        batch = cells
        make: type[_AnyContext] = EmbeddingContext
        if layers:
            batch, make = min(cells, BATCH_SIZES[0]), LayerStateContext
        elif not self._uses_pooling:
            # the room for its logits is taken from the sequences that chats may have at once
            batch = min(cells, state_batch_tokens(self._model.vocab_size, self._model.budget.available_bytes(self)))
            make = HiddenStateContext
        config = ContextConfig(
            cells,
            sequences=1,
            batch=batch,
            unified=False,
            hidden_states=True,
            state_layers=layers,
            ends_early=True,
            threads=self._threads,
        )
        self._context = make(self._model, config, self._executor.should_preempt)
        self._model.budget.allocate(self, context_bytes(self._model.header, config.shape))
        return self._context

    def _chunk_size(self, context: _AnyContext) -> int:
        """Return how many tokens the next evaluation takes."""
        capacity = context.batch.capacity
        if self._uses_pooling or self._token_s is None:
            return capacity
        return max(_MIN_CHUNK_TOKENS, min(capacity, int(self._executor.bulk_step_s() / self._token_s)))

    def _evaluate_chunk(self, context: _AnyContext, tokens: Sequence[int], start: int) -> tuple[int, Any]:
        """Evaluate some tokens from ``start`` on.

        Returns how many (0 if interactive work preempted it) and their states or the pooled vector as the only row,
        float64.
        """
        piece = tokens[start : start + self._chunk_size(context)]
        context.batch.clear()
        ends_only = isinstance(context, LayerStateContext)  # it reads the states of the others too
        context.batch.add(piece, start, 0, [len(piece) - 1] if ends_only else range(len(piece)))
        bindings.log.clear()
        began = time.monotonic()
        code = context.evaluate(abortable=True)
        if code == DECODE_ABORTED:
            return 0, None
        if code:
            raise InternalError("embedding", detail=bindings.log.error_summary() or f"code {code}")
        self._token_s = (time.monotonic() - began) / len(piece)
        return len(piece), context.read_states().astype("float64")

    def close(self) -> None:
        """Free the context."""
        context, self._context = self._context, None
        if context is not None:
            context.close()
            self._model.budget.free(self)

    def release_idle(self) -> None:
        """Do nothing: the context is small and freed soon, and another thread may be about to use it."""


_POOLING_RANK = 4
"""``LLAMA_POOLING_TYPE_RANK``: of a model that ranks texts."""
_POOLING_UNSPECIFIED = -1  # as in the file
_FLASH_ATTENTION_AUTO = -1


class EmbeddingContext(Context):
    """Evaluates sequence 0 only, a whole text in one batch; llama.cpp pools as the model's file says."""

    @property
    def _purpose(self) -> str:
        return "embeddings"

    @staticmethod
    def _count_outputs(config: ContextConfig) -> int:
        return config.batch

    def _make_params(self) -> Any:
        params = self._make_basic_params()
        params.n_outputs_max_per_seq = self.max_outputs
        params.flash_attn_type = _FLASH_ATTENTION_AUTO
        params.embeddings = True
        params.pooling_type = _POOLING_UNSPECIFIED
        return params

    def read_states(self) -> Any:
        """Return the pooled vector of the evaluated text, (1, width) float32: a view until the next evaluation."""
        row = self._lib.llama_get_embeddings_seq(self.handle, 0)
        if not row:
            raise Unsupported("embeddings", detail="the model gives none for a whole text")
        return bindings.float_array(row, (1, int(self._lib.llama_model_n_embd(self.model.handle))))


_AnyContext: TypeAlias = EmbeddingContext | HiddenStateContext | LayerStateContext
