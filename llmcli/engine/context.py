"""A context of llama.cpp: the memory of many sequences, the batch that feeds it, and one call that evaluates.

Every native assertion that a caller could provoke is checked before the call (a failed one kills the process).
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmcli.engine import machine, native
from llmcli.engine.model import Model
from llmcli.engine.spilled_state import SPILL_BYTES, SpilledState
from llmcli.engine.threads import Threads
from llmcli.engine.tuning import CacheSettings
from llmcli.errors import InternalError, OutOfMemory, Unsupported
from llmcli.models.footprint import LLAMA_MAX_SEQ, MAX_OUTPUTS, PAD_TOKENS, ContextShape

MAX_SEQUENCES = LLAMA_MAX_SEQ
KV_TYPES = {"f16": 1, "q8_0": 8, "bf16": 30}
"""Names of KV cache types and ggml's numbers for them (``enum ggml_type``)."""
_NUMBER, _HEAD = 4, 8
_ONE = (1).to_bytes(_NUMBER, sys.byteorder)


@dataclass(frozen=True, slots=True)
class ContextConfig:
    """How a context is made. ``cells``: tokens it holds (all sequences together when ``unified``, else each)."""

    cells: int
    sequences: int = 32
    batch: int = 512
    unified: bool = True
    flash_attention: bool = True
    kv_type: str = "f16"
    threads: Threads = field(default_factory=lambda: Threads(1), compare=False)

    @property
    def settings(self) -> CacheSettings:
        """What of it a job can choose."""
        return CacheSettings(self.unified, self.flash_attention, self.kv_type)

    @property
    def shape(self) -> ContextShape:
        """What decides how much memory it takes."""
        return ContextShape(self.cells, self.sequences, self.batch, self.unified, self.flash_attention, self.kv_type)

    @property
    def tokens(self) -> int:
        """Tokens that the cache holds of all sequences together."""
        return self.shape.tokens

    def with_cells(self, cells: int) -> ContextConfig:
        """Return the same with room for at least ``cells`` tokens, rounded as llama.cpp pads."""
        return replace(self, cells=-(-cells // PAD_TOKENS) * PAD_TOKENS)


class Batch:
    """The arrays of one ``llama_batch``, made once and filled by slices (a few microseconds for 512 tokens)."""

    def __init__(self, capacity: int) -> None:
        lib = native.lib()
        self.capacity = capacity
        self.size = 0
        self.outputs = 0
        self._tokens = (ctypes.c_int32 * capacity)()
        self._positions = (ctypes.c_int32 * capacity)()
        self._sequences = (ctypes.c_int32 * capacity)()
        self._counts = (ctypes.c_int32 * capacity)(*[1] * capacity)
        self._logits = (ctypes.c_int8 * capacity)()
        pointer = ctypes.POINTER(ctypes.c_int32)
        base, width = ctypes.addressof(self._sequences), ctypes.sizeof(ctypes.c_int32)
        self._ids = (pointer * capacity)(*[ctypes.cast(base + i * width, pointer) for i in range(capacity)])
        self.struct = lib.llama_batch(0, self._tokens, None, self._positions, self._counts, self._ids, self._logits)

    def clear(self) -> None:
        """Empty the batch."""
        self.size = self.outputs = 0

    def add(self, tokens: Sequence[int], position: int, sequence: int, outputs: Sequence[int] = ()) -> int:
        """Append ``tokens`` of ``sequence`` from ``position`` on; logits are wanted at the offsets ``outputs``.

        Returns the batch index of the first of them.
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


class Context:
    """One native context. Not thread-safe; free with ``close``."""

    def __init__(
        self, model: Model, config: ContextConfig, should_abort: Callable[[], bool], watch: Any = None
    ) -> None:
        """Create it; ``watch`` is llama.cpp's ``cb_eval``, asked about every tensor.

        Raises ``OutOfMemory`` before anything is allocated when it cannot fit, ``Unsupported`` else.
        """
        self.model = model
        self._lib = lib = native.lib()
        sequences = min(config.sequences, MAX_SEQUENCES)
        batch = min(config.batch, config.cells)
        self.config = config = replace(config, sequences=sequences, batch=batch)
        _refuse_what_cannot_fit(model, config)
        params = lib.llama_context_default_params()
        params.n_ctx = config.tokens
        params.n_batch = params.n_ubatch = batch
        params.n_seq_max = sequences
        # outputs of one call are bounded by the scheduler, which saves the room for a whole batch of logits; fewer than
        # sequences would be a failed assertion
        params.n_outputs_max = self.max_outputs = max(sequences, min(batch, MAX_OUTPUTS))
        params.n_threads = params.n_threads_batch = self._threads = config.threads.most
        # on a GPU llama.cpp itself knows which of its kernels there are (LLAMA_FLASH_ATTN_TYPE_AUTO)
        params.flash_attn_type = -1 if model.gpu_layers and config.flash_attention else int(config.flash_attention)
        params.type_k = params.type_v = KV_TYPES[config.kv_type]
        params.kv_unified = config.unified
        params.no_perf = True
        if watch is not None:
            params.cb_eval = watch
        native.log.clear()
        self.handle: Any = lib.llama_init_from_model(model.handle, params)
        if not self.handle:
            cause = native.log.cause()
            if "alloc" in cause:
                raise OutOfMemory(f"a context of {config.cells} tokens", detail=cause)
            raise Unsupported(f"a context of {config.cells} tokens", detail=cause)
        self.memory = lib.llama_get_memory(self.handle)
        self.batch = Batch(batch)
        self._abort = lib.ggml_abort_callback(lambda _data: should_abort())
        self._no_abort = lib.ggml_abort_callback()
        self._abortable = False
        self.evaluated_tokens = 0

    def evaluate(self, *, abortable: bool) -> int:
        """Evaluate the batch; returns llama_decode's code: 0 done, 1 no room in the cache, 2 aborted.

        ``abortable`` lets the abort callback end it early; it is asked between all operations of the graph.
        """
        if self.batch.outputs > self.max_outputs:
            raise InternalError("batch", detail="more outputs than the context was made for")
        if abortable != self._abortable:
            self._lib.llama_set_abort_callback(self.handle, self._abort if abortable else self._no_abort, None)
            self._abortable = abortable
        code = self._decode()
        if code not in {0, 1, 2}:
            raise InternalError("llama_decode", detail=native.log.cause() or f"code {code}")
        if code == 0:
            self.evaluated_tokens += self.batch.size
        return code

    def _decode(self) -> int:
        """Call llama_decode with as many threads as the machine has to spare now."""
        threads, size = self.config.threads, self.batch.size
        prompt = size > self.batch.outputs  # more than one token of some sequence
        threads.look()
        wanted = threads.pick(size, prompt=prompt)
        if wanted != self._threads:
            self._lib.llama_set_n_threads(self.handle, wanted, wanted)
            self._threads = wanted
        started = time.monotonic()
        code: int = self._lib.llama_decode(self.handle, self.batch.struct)
        if code == 0:
            threads.record(wanted, size, time.monotonic() - started, prompt=prompt)
        return code

    def state_size(self, sequence: int) -> int:
        """Return the bytes that ``save`` of a sequence would return."""
        return int(self._lib.llama_state_seq_get_size(self.handle, sequence))

    @property
    def _streams(self) -> int:
        """Buffers among which the states of sequences are divided, each with a number of cells at its beginning."""
        config, model = self.config, self.model
        return 1 if config.unified or model.window or model.recurrent else config.sequences

    def save(self, sequence: int) -> bytearray:
        """Return the whole state of a sequence, to be given to ``restore`` of a context of the same settings.

        Of a plain cache the number of sequences and whether it is unified may differ.
        """
        state = bytearray(self.state_size(sequence))
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
        written = self._lib.llama_state_seq_get_data(self.handle, buffer, len(state), sequence)
        del buffer  # while it looks at the bytes their number is fixed
        del state[written:]
        _remove_empty(state, self._streams, sequence)
        return state

    def set_aside(self, sequence: int) -> bytearray | SpilledState:
        """Return the whole state of a sequence for a larger context in place of this one; a large one lies in a file."""
        spilled = None
        if self._streams == 1 and self.state_size(sequence) >= SPILL_BYTES:
            spilled = SpilledState.save(self.handle, sequence)
        return self.save(sequence) if spilled is None else spilled

    def restore(self, sequence: int, state: bytes | bytearray | SpilledState) -> bool:
        """Give ``sequence`` a saved state; False (and an empty sequence) when it does not fit."""
        if isinstance(state, SpilledState):
            return state.load(self.handle, sequence)
        state = _with_empty(state, self._streams)
        kind = ctypes.c_uint8 * len(state)
        buffer = kind.from_buffer(state) if isinstance(state, bytearray) else kind.from_buffer_copy(state)
        return bool(self._lib.llama_state_seq_set_data(self.handle, buffer, len(state), sequence))

    def close(self) -> None:
        """Free it."""
        if self.handle:
            self._lib.llama_free(self.handle)
            self.handle = None


def _remove_empty(state: bytearray, streams: int, sequence: int) -> None:
    """Make the state of a sequence what a cache of one stream would save.

    ``llama_context::state_seq_get_data`` writes a magic number and the sequence's id, ``llama_kv_cache::state_write`` the
    number of streams (uint32 each) and for every stream its number of cells (uint32) and these; all streams but that of
    the sequence have none.
    """
    if streams > 1:
        del state[len(state) - _NUMBER * (streams - 1 - sequence) :]
        state[_HEAD : _HEAD + _NUMBER * (1 + sequence)] = _ONE


def _with_empty(state: bytes | bytearray, streams: int) -> bytes | bytearray:
    """Return what ``_remove_empty`` left as a cache of so many streams reads it, which looks for cells in any."""
    if streams == 1:
        return state
    number = streams.to_bytes(_NUMBER, sys.byteorder)
    return state[:_HEAD] + number + state[_HEAD + _NUMBER :] + bytes(_NUMBER * (streams - 1))


def _refuse_what_cannot_fit(model: Model, config: ContextConfig) -> None:
    """Raise ``OutOfMemory`` when the KV cache alone is larger than the memory that is free."""
    per_token = model.header.kv_bytes_per_token(config.kv_type, config.kv_type)
    available = machine.available_memory()
    if per_token is None or available is None or model.gpu_layers:
        return
    needed = int(per_token * config.tokens)
    if needed > available:
        raise OutOfMemory(f"a context of {config.tokens} tokens", needed=needed, available=available)
