"""A context of llama.cpp: the memory of many sequences, the batch to evaluate, and one call that evaluates it.

Every native assertion that a caller could trigger is checked before the call, since a failed one kills the process.

``HiddenStateContext`` gives the hidden state of every token that it evaluates, without multiplying the output matrix
for each. With ``embeddings`` set, llama.cpp returns the states of all tokens of a batch in order
(``llama_get_embeddings``), but it also computes logits for all of them: a quarter of a prompt's time with 49,000 tokens
in the vocabulary and 30 layers of 576 numbers, more than all the rest with 262,000 tokens. Where no logits are needed,
the evaluation therefore ends after the tensor of the states (``ggml_backend_sched`` stops when the evaluation callback
returns false). Everything that later tokens need is in memory by then.

llama.cpp nevertheless allocates and clears room for the logits of each token of a batch, and copies the logits that
were not computed into it. So a batch of many tokens takes memory where the vocabulary is large, and one of few tokens
takes time, since all weights are read from memory for each batch: with gemma-3-270m in BF16 and two threads, a prompt
of 512 tokens takes 1.67 times as long as without states in batches of 64 tokens, 1.21 with 128, and 1.17 with 256.

The states of a layer before the last one need neither: llama.cpp names the output of each layer, which the callback
reads (``LayerStateContext``), and the evaluation ends there.

States depend on the batch by no more than rounding. They are identical as long as llama.cpp picks the same kernels (64
tokens or more with flash attention); another kernel changes the mean state by 1% and a token's state by 5% in the
quantized gemma-3-270m, whose activations are rounded to 8 bits, and by 0.1% and 0.5% with its weights in BF16.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmcli.engine.llama import bindings, hardware
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.state_files import (
    MIN_FILE_BYTES,
    NativeStateFile,
    StateFile,
    add_empty_streams,
    strip_empty_streams,
)
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.errors import InternalError, OutOfMemory, Unsupported
from llmcli.fast_dataclass import field, frozen, replace
from llmcli.models.footprint import LLAMA_MAX_SEQ, PAD_TOKENS, ContextShape, max_outputs

MAX_SEQUENCES = LLAMA_MAX_SEQ
DECODE_DONE, DECODE_CACHE_FULL, DECODE_ABORTED = 0, 1, 2
"""The codes of ``llama_decode`` after which the context can still be used."""
_MIN_ABORTABLE_TOKENS, _MIN_ABORTABLE_S = 16, 0.05
"""Size of an evaluation, or seconds of the one before, from which it can be aborted."""
_KV_TYPES = {"f16": 1, "q8_0": 8, "bf16": 30}
"""KV cache types and their numbers in ggml (``enum ggml_type``)."""


@frozen
class CacheSettings:
    """``unified``: one buffer for all sequences instead of one for each; ``kv_type``: "f16", "q8_0" or "bf16"."""

    unified: bool = True
    flash_attention: bool = True
    kv_type: str = "f16"

    def __str__(self) -> str:
        attention = "flash attention" if self.flash_attention else "plain attention"
        return f"{attention}, {self.kv_type} cache, {'one buffer' if self.unified else 'a buffer for each sequence'}"


@frozen
class ContextConfig:
    """How a context is created. ``cells``: tokens it holds (all sequences together if ``unified``, otherwise each).

    ``hidden_states``: it gives a state for each token, after each of ``state_layers`` if there are any. Then
    evaluations end after the last of them if ``ends_early``.
    """

    cells: int
    sequences: int = 32
    batch: int = 512
    unified: bool = True
    flash_attention: bool = True
    kv_type: str = "f16"
    hidden_states: bool = False
    state_layers: tuple[int, ...] = ()
    ends_early: bool = False
    threads: ThreadPolicy = field(default_factory=lambda: ThreadPolicy(1), compare=False)

    @property
    def settings(self) -> CacheSettings:
        """The settings that a job can choose."""
        return CacheSettings(self.unified, self.flash_attention, self.kv_type)

    @property
    def shape(self) -> ContextShape:
        """The values that determine how much memory it takes."""
        return ContextShape(
            self.cells,
            self.sequences,
            self.batch,
            self.unified,
            self.flash_attention,
            self.kv_type,
            self.hidden_states,
            len(self.state_layers),
        )

    @property
    def tokens(self) -> int:
        """Tokens that the cache holds of all sequences together."""
        return self.shape.tokens

    def with_cells(self, cells: int) -> ContextConfig:
        """Return the config with at least ``cells`` cells, rounded as llama.cpp pads."""
        return replace(self, cells=-(-cells // PAD_TOKENS) * PAD_TOKENS)


class Batch:
    """The arrays of one ``llama_batch``, allocated once and filled by slices (a few microseconds for 512 tokens)."""

    def __init__(self, capacity: int) -> None:
        lib = bindings.lib()
        self.capacity = capacity
        self.size = 0
        self.outputs = 0
        self._tokens = (ctypes.c_int32 * capacity)()
        self._positions = (ctypes.c_int32 * capacity)()
        self._sequences = (ctypes.c_int32 * capacity)()
        self._sequence_counts = (ctypes.c_int32 * capacity)(*[1] * capacity)
        self._logits = (ctypes.c_int8 * capacity)()
        pointer = ctypes.POINTER(ctypes.c_int32)
        base, width = ctypes.addressof(self._sequences), ctypes.sizeof(ctypes.c_int32)
        self._sequence_pointers = (pointer * capacity)(
            *[ctypes.cast(base + i * width, pointer) for i in range(capacity)]
        )
        self.struct = lib.llama_batch(
            0, self._tokens, None, self._positions, self._sequence_counts, self._sequence_pointers, self._logits
        )

    def clear(self) -> None:
        """Empty the batch."""
        self.size = self.outputs = 0

    def add(self, tokens: Sequence[int], position: int, sequence: int, outputs: Sequence[int] = ()) -> int:
        """Append ``tokens`` of ``sequence`` from ``position`` on; logits are needed at the offsets ``outputs``.

        Returns the batch index of the first token.
        """
        start, count = self.size, len(tokens)
        end = start + count
        if end > self.capacity:
            raise InternalError("batch", detail="more tokens than the batch holds")
        self._tokens[start:end] = list(tokens)
        self._positions[start:end] = list(range(position, position + count))
        self._sequences[start:end] = [sequence] * count
        self._logits[start:end] = [0] * count
        for offset in outputs:
            self._logits[start + offset] = 1
        self.outputs += len(outputs)
        self.size = end
        self.struct.n_tokens = end
        return start

    def mark_outputs(self, start: int, end: int, count: int) -> None:
        """Mark more of the tokens from ``start`` to ``end`` as outputs until there are ``count``."""
        missing = count - sum(self._logits[start:end])
        for index in [each for each in range(start, end) if not self._logits[each]][: max(0, missing)]:
            self._logits[index] = 1
            self.outputs += 1


class Context:
    """One native context. Not thread-safe; free with ``close``."""

    outputs_all_tokens = False
    """Whether llama.cpp wants each token of a batch marked as an output."""

    def __init__(
        self, model: Model, config: ContextConfig, should_abort: Callable[[], bool], eval_callback: Any = None
    ) -> None:
        """Create it; ``eval_callback`` is llama.cpp's ``cb_eval``, called for every tensor.

        Raises ``Unsupported``, or ``OutOfMemory``, which is raised before any allocation if the context cannot fit.
        """
        self.model = model
        self._lib = lib = bindings.lib()
        sequences = min(config.sequences, MAX_SEQUENCES)
        batch = min(config.batch, config.cells)
        self.config = config = replace(config, sequences=sequences, batch=batch)
        self.max_outputs = self._count_outputs(config)
        params = self._make_params()
        if eval_callback is not None:
            params.cb_eval = eval_callback
        bindings.log.clear()
        self.handle: Any = lib.llama_init_from_model(model.handle, params)
        if not self.handle:
            cause = bindings.log.error_summary()
            if "alloc" in cause:
                raise OutOfMemory(self._purpose, detail=cause)
            raise Unsupported(self._purpose, detail=cause)
        model.adapters.apply(self.handle)
        self.memory = lib.llama_get_memory(self.handle)
        self.batch = Batch(batch)
        self._abort_callback = lib.ggml_abort_callback(lambda _data: should_abort())
        self._null_abort_callback = lib.ggml_abort_callback()
        self._abort_enabled = False
        self._current_threads = config.threads.most
        self.evaluated_tokens = 0

    @property
    def _purpose(self) -> str:
        """Its description in errors."""
        return f"a context of {self.config.cells} tokens"

    @staticmethod
    def _count_outputs(config: ContextConfig) -> int:
        """Return how many tokens of one call may have outputs."""
        return max_outputs(config.batch, config.sequences)

    def _make_params(self) -> Any:
        """Return llama.cpp's parameters; raises ``OutOfMemory`` if the cache cannot fit."""
        config, gpu_layers = self.config, self.model.gpu_layers
        _check_memory_fits(self.model, config)
        params = self._make_basic_params()
        # on a GPU llama.cpp itself knows whether it has the kernels (LLAMA_FLASH_ATTN_TYPE_AUTO)
        params.flash_attn_type = -1 if gpu_layers and config.flash_attention else int(config.flash_attention)
        params.type_k = params.type_v = _KV_TYPES[config.kv_type]
        params.kv_unified = config.unified
        return params

    def _make_basic_params(self) -> Any:
        """Return the parameters of size and threads."""
        config = self.config
        params = self._lib.llama_context_default_params()
        params.n_ctx = config.tokens
        params.n_batch = params.n_ubatch = config.batch
        params.n_seq_max = config.sequences
        params.n_outputs_max = self.max_outputs
        params.n_threads = params.n_threads_batch = config.threads.most
        params.no_perf = True
        return params

    def evaluate(self, *, abortable: bool) -> int:
        """Evaluate the batch; return ``DECODE_DONE``, ``DECODE_CACHE_FULL`` or ``DECODE_ABORTED``.

        ``abortable`` lets the abort callback end it early; llama.cpp calls that between all operations of the graph.
        """
        if self.batch.outputs > self.max_outputs:
            raise InternalError("batch", detail="more outputs than the context was created for")
        if abortable != self._abort_enabled:
            self._lib.llama_set_abort_callback(
                self.handle, self._abort_callback if abortable else self._null_abort_callback, None
            )
            self._abort_enabled = abortable
        code = self._decode()
        if code not in {DECODE_DONE, DECODE_CACHE_FULL, DECODE_ABORTED}:
            raise InternalError("llama_decode", detail=bindings.log.error_summary() or f"code {code}")
        if code == DECODE_DONE:
            self.evaluated_tokens += self.batch.size
        return code

    @property
    def _is_prefill(self) -> bool:
        """Whether the batch has more than one token of some sequence."""
        return self.batch.size > self.batch.outputs

    def _decode(self) -> int:
        """Call llama_decode with as many threads as the machine has free cores now."""
        threads, size = self.config.threads, self.batch.size
        prompt = self._is_prefill
        threads.sample_load()
        count = threads.pick(size, prompt=prompt)
        if count != self._current_threads:
            self._lib.llama_set_n_threads(self.handle, count, count)
            self._current_threads = count
        started = time.monotonic()
        code: int = self._lib.llama_decode(self.handle, self.batch.struct)
        if code == DECODE_DONE:
            threads.record(count, size, time.monotonic() - started, prompt=prompt)
        return code

    def state_size(self, sequence: int) -> int:
        """Return the size in bytes of the state that ``save_state`` would return."""
        return int(self._lib.llama_state_seq_get_size(self.handle, sequence))

    @property
    def _stream_count(self) -> int:
        """The number of buffers in a saved state; each begins with its number of cells."""
        config, model = self.config, self.model
        return 1 if config.unified or model.sliding_window or model.recurrent else config.sequences

    def save_state(self, sequence: int) -> bytearray:
        """Return the whole state of a sequence, for ``restore_state`` of a context with the same settings.

        For a plain cache the number of sequences and whether it is unified may differ.
        """
        state = bytearray(self.state_size(sequence))
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
        written = self._lib.llama_state_seq_get_data(self.handle, buffer, len(state), sequence)
        del buffer  # a bytearray cannot be resized while a buffer refers to it
        del state[written:]
        strip_empty_streams(state, self._stream_count, sequence)
        return state

    def save_state_or_file(self, sequence: int) -> bytearray | StateFile | NativeStateFile:
        """Return the whole state of a sequence for a context that replaces this one; a large state is in a file."""
        if self.state_size(sequence) < MIN_FILE_BYTES:
            return self.save_state(sequence)
        native = NativeStateFile.save(self.handle, sequence, self._stream_count)
        if native is not None:
            return native
        state = self.save_state(sequence)
        return StateFile.write(state) or state

    def save_state_file(self, sequence: int, directory: Path) -> StateFile | NativeStateFile | None:
        """Write the whole state of a sequence to a file that can be restored many times; None if that is impossible."""
        native = NativeStateFile.save(self.handle, sequence, self._stream_count, directory, reusable=True)
        return native or StateFile.write(self.save_state(sequence), directory, reusable=True)

    def restore_state(self, sequence: int, state: bytes | bytearray | StateFile | NativeStateFile) -> bool:
        """Restore a saved state to ``sequence``; False (and an empty sequence) when it does not fit."""
        if isinstance(state, NativeStateFile):
            return state.load(self.handle, sequence, self._stream_count)
        content = state.read() if isinstance(state, StateFile) else bytearray(state)
        add_empty_streams(content, self._stream_count)
        buffer = (ctypes.c_uint8 * len(content)).from_buffer(content)
        return bool(self._lib.llama_state_seq_set_data(self.handle, buffer, len(content), sequence))

    def remove_sequence(self, sequence: int) -> None:
        """Remove the contents of a sequence."""
        self._lib.llama_memory_seq_rm(self.memory, sequence, -1, -1)

    def close(self) -> None:
        """Free the context."""
        if self.handle:
            self._lib.llama_free(self.handle)
            self.handle = None


def is_worth_aborting(tokens: int, last_s: float) -> bool:
    """Return whether an evaluation of ``tokens`` may take long; the one before took ``last_s`` seconds.

    Others are faster without the callback between all operations.
    """
    return tokens >= _MIN_ABORTABLE_TOKENS or last_s > _MIN_ABORTABLE_S


def _check_memory_fits(model: Model, config: ContextConfig) -> None:
    """Raise ``OutOfMemory`` if the KV cache alone is larger than the free memory."""
    per_token = model.header.kv_bytes_per_token(config.kv_type, config.kv_type)
    available = hardware.available_memory()
    if per_token is None or available is None or model.gpu_layers:
        return
    needed = int(per_token * config.tokens)
    if needed > available:
        raise OutOfMemory(f"a context of {config.tokens} tokens", needed=needed, available=available)


POOLING_NONE = 0
"""``LLAMA_POOLING_TYPE_NONE``: one state for each token."""
_STATE_TENSORS = (b"result_norm", b"result_embd_pooled")
"""The names of the tensor of states; llama.cpp gives it the second one if it does not pool."""
_NO_LOGITS_ARCHITECTURES = frozenset({"lfm2", "lfm2moe"})
"""Architectures whose graph has no output matrix if ``embeddings`` is set."""


class HiddenStateContext(Context):
    """Evaluates all tokens of a batch to their states, and to logits as well if ``needs_logits``."""

    outputs_all_tokens = True

    def __init__(self, model: Model, config: ContextConfig, should_abort: Callable[[], bool]) -> None:
        """Raises as ``Context``."""
        self.needs_logits = False
        self._callback = bindings.lib().ggml_backend_sched_eval_callback(self._visit_tensor)
        super().__init__(model, config, should_abort, self._callback)
        self.width = int(self._lib.llama_model_n_embd(model.handle))

    @staticmethod
    def _count_outputs(config: ContextConfig) -> int:
        return max(config.sequences, config.batch)

    def _make_params(self) -> Any:
        params = super()._make_params()
        params.embeddings = True
        params.pooling_type = POOLING_NONE
        return params

    @property
    def _is_prefill(self) -> bool:
        return not self.needs_logits

    def _visit_tensor(self, tensor: int, ask: bool, _data: object) -> bool:
        """Let everything be computed (``ask`` true: whether to pause after a tensor), or end after the states."""
        if self.needs_logits or bindings.tensor_name(tensor) not in _STATE_TENSORS:
            return not ask
        return ask

    def read_states(self) -> Any:
        """Return the states of the evaluated batch, (tokens, width) float32: a view until the next evaluation."""
        return bindings.float_array(self._lib.llama_get_embeddings(self.handle), (self.batch.size, self.width))


_SMALLEST_SQUARE = 1e-6
"""Added to a mean square, as the norms of most models do."""


class LayerStateContext(Context):
    """Keeps the states of all tokens of a batch after the layers of ``config.state_layers``, which is not the last one.

    A token's states are divided by their root mean square: those of the first tokens are larger by orders of magnitude.
    They are in the order in which llama.cpp evaluates the tokens. That is the order of the batch if there is one buffer
    for all sequences, or one sequence in the batch, or equally many tokens of each one in the order of their ids.
    """

    def __init__(self, model: Model, config: ContextConfig, should_abort: Callable[[], bool]) -> None:
        """Raises as ``Context``."""
        self._parts: dict[bytes, list[Any]] = {b"l_out-%d" % (layer - 1): [] for layer in config.state_layers}
        self._end = b"l_out-%d" % (max(config.state_layers) - 1) if config.ends_early else b""
        self._callback = bindings.lib().ggml_backend_sched_eval_callback(self._visit_tensor)
        super().__init__(model, config, should_abort, self._callback)
        self.width = int(self._lib.llama_model_n_embd(model.handle))

    def _visit_tensor(self, tensor: int, ask: bool, _data: object) -> bool:
        """Pause after the layers (``ask``: whether to pause there), read their output, and end after the last one."""
        name = bindings.tensor_name(tensor)
        if name not in self._parts:
            return not ask
        if not ask:
            self._parts[name].append(bindings.tensor_rows(tensor, self.width))
        return ask or name != self._end

    def _decode(self) -> int:
        for parts in self._parts.values():
            parts.clear()
        return super()._decode()

    def read_states(self) -> Any:
        """Return the states of the evaluated batch, (tokens, layers * width) float32.

        Raises ``InternalError`` without any.
        """
        import numpy as np

        layers = []
        for name, parts in self._parts.items():
            if sum(map(len, parts)) != self.batch.size:
                raise InternalError("hidden states", detail=f"{name.decode()} was not evaluated for each token")
            rows = np.concatenate(parts)
            squares = np.square(rows, dtype=np.float64).mean(axis=1, keepdims=True)
            layers.append(rows / np.sqrt(squares + _SMALLEST_SQUARE).astype(np.float32))
        return np.concatenate(layers, axis=1)


def computes_logits_too(model: Model) -> bool:
    """Return whether one evaluation can give states and logits."""
    return model.header.architecture not in _NO_LOGITS_ARCHITECTURES
