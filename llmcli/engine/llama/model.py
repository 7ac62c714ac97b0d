"""A loaded model: its weights, its vocabulary, its LoRA adapters, and the kind of memory that it needs.

Adapters are loaded with a model, and set on each of its contexts. llama.cpp multiplies an activation with a matrix of
the model as without adapters, whatever the type and layout of that matrix, and adds the products with the adapter's two
small matrices, which it keeps as they are in the file.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from llmcli.config.engine_options import LoraAdapter, adapter_bytes
from llmcli.engine.llama import architecture, bindings, hardware
from llmcli.engine.llama.memory_budget import MemoryBudget, RepackedPages, list_repacked_types
from llmcli.engine.llama.weights_file import OpenWeights, WeightsSource
from llmcli.errors import BadModelFile, InternalError, OutOfMemory
from llmcli.errors.model_errors import BadAdapter
from llmcli.models.gguf.header import Header, TensorInfo
from llmcli.models.gguf.header_parser import load_checked_header

_ALL_GPU_LAYERS = 10_000
_GPU_RESERVE_BYTES = 512 << 20
"""Of each device, they stay free for the KV cache and compute buffers."""
_BLOCK_NUMBERS, _BLOCK_TYPES = 32, {"Q4_0", "Q4_1", "Q8_0"}
"""Numbers in a block of these types; other types with AMX kernels have blocks of 256."""
ATTR_UNKNOWN, ATTR_CONTROL, ATTR_LSTRIP, ATTR_RSTRIP = 1 << 0, 1 << 3, 1 << 7, 1 << 8
"""Attribute bits of a token (``llama_token_attr``)."""
_PIECE_BYTES = 1024
"""The most bytes of nearly every token."""


class Model:
    """The weights and vocabulary of one GGUF file. Free with ``close``; not usable afterwards.

    ``header`` is the header of the file; ``recurrent`` is true for models with a state that cannot be truncated (Mamba,
    RWKV and hybrids); ``sliding_window`` is the width of the attention window in tokens, 0 for full attention.
    ``embeds_only``: it cannot generate text.
    """

    def __init__(
        self,
        path: Path,
        *,
        gpu_layers: int | None = None,
        adapters: Sequence[LoraAdapter] = (),
        keep_going: Callable[[], bool],
        on_progress: Callable[[float], None] = lambda _fraction: None,
    ) -> None:
        """Load ``path``. ``gpu_layers``: how many to offload, None for as many as fit; ``keep_going`` is polled.

        ``adapters`` apply to every context. ``on_progress`` is called as often, with the loaded fraction (0 to 1).

        Raises ``BadModelFile``, ``BadAdapter``, ``OutOfMemory`` and ``InternalError`` with llama.cpp's own message, and
        ``InternalError`` with the detail "cancelled" when ``keep_going`` returns False.
        """
        self.path = path
        self.header: Header = load_checked_header(path)
        wrong = architecture.non_generative_reason(self.header)
        self.embeds_only = wrong == architecture.EMBEDDING_MODEL
        if wrong and not self.embeds_only:
            raise BadModelFile(str(path), detail=wrong)
        lib = bindings.lib()
        self._lib = lib
        self.gpu_layers = 0 if not hardware.list_gpus() else _count_offload_layers(self.header, gpu_layers)
        self.budget = MemoryBudget(self.header, offloaded=self.gpu_layers > 0, adapter_bytes=adapter_bytes(adapters))
        """The memory that all contexts of this model together may take."""
        recurrent_file = _has_recurrent_layers(self.header)
        one_block_rows = any(map(_has_one_block_rows, self.header.tensors))
        params = lib.llama_model_default_params()
        params.n_gpu_layers = self.gpu_layers
        # llama.cpp's AMX kernels read out of bounds for the second and later sequence of recurrent models, and add the
        # product of 32 tokens with rows of one block to memory that nothing has set
        params.use_extra_bufts = not recurrent_file and not one_block_rows

        repacked = RepackedPages(path, self.header, frozenset() if self.gpu_layers else list_repacked_types())

        def proceed(fraction: float, _data: Any) -> bool:
            repacked.release(fraction)
            on_progress(fraction)
            return keep_going()

        progress = lib.llama_progress_callback(proceed)
        params.progress_callback = progress
        bindings.log.clear()
        self.handle: Any = lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self.handle:
            raise self._load_error(keep_going())
        self.vocab = lib.llama_model_get_vocab(self.handle)
        self.vocab_size = int(lib.llama_vocab_n_tokens(self.vocab))
        self.context_length = int(lib.llama_model_n_ctx_train(self.handle))
        self.sliding_window = int(lib.llama_model_n_swa(self.handle))
        self.recurrent = bool(lib.llama_model_is_recurrent(self.handle) or lib.llama_model_is_hybrid(self.handle))
        if self.recurrent and not recurrent_file:  # an architecture that ``_has_recurrent_layers`` does not know yet
            lib.llama_model_free(self.handle)
            params.use_extra_bufts = False
            self.handle = lib.llama_model_load_from_file(os.fsencode(path), params)
            if not self.handle:
                raise self._load_error(keep_going())
            self.vocab = lib.llama_model_get_vocab(self.handle)
        if lib.llama_model_has_encoder(self.handle) or not lib.llama_model_has_decoder(self.handle):
            self.close()  # evaluating its decoder alone would fail an assertion
            raise BadModelFile(str(path), detail=architecture.ENCODER_DECODER_MODEL)
        try:
            self.adapters = _LoadedAdapters(self.handle, adapters)
        except BaseException:  # also an interrupt: the weights are freed, and the error goes on to the caller
            self.close()
            raise

    def _load_error(self, keep_going: bool) -> Exception:
        cause = bindings.log.error_summary()
        if not keep_going:
            return InternalError(str(self.path), detail="cancelled")
        if any(words in cause for words in ("alloc", "out of memory", "OutOfMemory")):
            return OutOfMemory(str(self.path), needed=self.header.size, detail=cause)
        return BadModelFile(str(self.path), detail=cause or "llama.cpp cannot load it")

    def close(self) -> None:
        """Free the weights."""
        if self.handle:
            self._lib.llama_model_free(self.handle)
            self.handle = None

    def chat_template(self) -> str | None:
        """Return the chat template in the file (Jinja), or None."""
        template = self._lib.llama_model_chat_template(self.handle, None)
        return template.decode("utf-8", "replace") if template else None

    def token_attributes(self) -> list[int]:
        """Return llama.cpp's attribute bits of every token."""
        return list(map(self._lib.llama_vocab_get_attr, itertools.repeat(self.vocab), range(self.vocab_size)))

    def token_text(self, token: int) -> str:
        """Return the text of ``token`` in the vocabulary."""
        text = self._lib.llama_vocab_get_text(self.vocab, token)
        return text.decode("utf-8", "replace") if text else ""

    def token_pieces(self, tokens: Iterable[int]) -> Iterator[bytes]:
        """Yield the bytes of each token; control tokens have none. A token may end inside a character."""
        to_piece, buffer = self._lib.llama_token_to_piece, ctypes.create_string_buffer(_PIECE_BYTES)
        for token in tokens:
            length = to_piece(self.vocab, token, buffer, len(buffer), 0, False)
            if length < 0:
                buffer = ctypes.create_string_buffer(-length)
                length = to_piece(self.vocab, token, buffer, len(buffer), 0, False)
            yield buffer.raw[:length]


class SharedModel:
    """A model that several engines of one process may share: the first that needs it loads it, ``close`` frees it."""

    def __init__(
        self,
        source: WeightsSource,
        gpu_layers: int | None,
        adapters: Sequence[LoraAdapter] = (),
        before_load: Callable[[Path], None] = lambda _path: None,
    ) -> None:
        """``before_load`` is called with the file before it is loaded; what it raises is raised by ``load``."""
        self._source = source
        self._gpu_layers = gpu_layers
        self._adapters = tuple(adapters)
        self._before_load = before_load
        self._weights: OpenWeights | None = None
        self._lock = threading.Lock()
        self._model: Model | None = None
        self.loaded_fraction = 0.0
        """The loaded fraction, 0 to 1, as reported by llama.cpp, whichever engine loads it."""

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    def load(
        self, keep_going: Callable[[], bool], on_progress: Callable[[float], None] = lambda _fraction: None
    ) -> Model:
        """Return the model; every call raises as ``Model``, and as ``WeightsSource.open``, until it can be loaded.

        ``on_progress``: see ``Model``; not called if another thread loads it.
        """

        def proceed(fraction: float) -> None:
            self.loaded_fraction = fraction
            on_progress(fraction)

        with self._lock:
            if self._model is None:
                if not keep_going():
                    raise InternalError(str(self._source.path), detail="cancelled")
                self._model = self._load(keep_going, proceed)
            return self._model

    def _load(self, keep_going: Callable[[], bool], on_progress: Callable[[float], None]) -> Model:
        weights = self._source.open()
        try:
            self._before_load(weights.path)
            model = Model(
                weights.path,
                gpu_layers=self._gpu_layers,
                adapters=self._adapters,
                keep_going=keep_going,
                on_progress=on_progress,
            )
        except BaseException as error:  # also an interrupt: the file is closed, and the error goes on to the caller
            weights.close()
            if isinstance(error, BadModelFile):
                self._source.refuse_damaged_copy(weights)
            raise
        self._weights = weights
        return model

    def close(self) -> None:
        """Free the model, which no engine uses any more."""
        with self._lock:
            if self._model is not None:
                self._model.close()
            self._model = None
            if self._weights is not None:
                self._weights.close()
            self._weights = None


def _has_recurrent_layers(header: Header) -> bool:
    # Every state-space or short-convolution architecture of llama.cpp has one of these keys.
    architecture = header.architecture
    return architecture.startswith(("rwkv", "arwkv", "mamba")) or any(
        f"{architecture}.{key}" in header.metadata
        for key in ("ssm.conv_kernel", "ssm.state_size", "shortconv.l_cache", "wkv.head_size", "kda.head_dim")
    )


def _has_one_block_rows(tensor: TensorInfo) -> bool:
    is_matrix = len(tensor.shape) == 2  # noqa: PLR2004 (those of experts have three dimensions, and no AMX kernels)
    return is_matrix and tensor.type in _BLOCK_TYPES and tensor.shape[0] == _BLOCK_NUMBERS


def _count_offload_layers(header: Header, requested: int | None) -> int:
    """Return how many layers to offload: ``requested``, or as many as fit the free memory of the GPUs.

    It assumes that all layers have the same size.
    """
    if requested is not None:
        return requested
    free = sum(max(0, gpu.free - _GPU_RESERVE_BYTES) for gpu in hardware.list_gpus())
    layers = (header.block_count or 1) + 1  # the output layer counts as one
    per_layer = max(1, header.size // layers)
    fit = free // per_layer
    return _ALL_GPU_LAYERS if fit >= layers else int(fit)


class _LoadedAdapters:
    """The ``adapters`` of a model, loaded before its contexts exist: llama.cpp sizes the graph of a context by them.

    They are freed with the model.
    """

    def __init__(self, model: Any, adapters: Sequence[LoraAdapter]) -> None:
        """Load the files for the native ``model``.

        Raises ``BadAdapter`` with llama.cpp's message, and ``OutOfMemory``.
        """
        lib = bindings.lib()
        self._count = len(adapters)
        self._handles = (ctypes.c_void_p * self._count)()
        self._scales = (ctypes.c_float * self._count)(*[adapter.scale for adapter in adapters])
        for number, adapter in enumerate(adapters):
            bindings.log.clear()
            handle = lib.llama_adapter_lora_init(model, os.fsencode(adapter.path))
            if not handle:
                cause = bindings.log.error_summary()
                if "alloc" in cause:
                    raise OutOfMemory(adapter.path, needed=adapter.size, detail=cause)
                raise BadAdapter(adapter.path, detail=cause or "llama.cpp cannot load it")
            self._handles[number] = ctypes.cast(handle, ctypes.c_void_p).value

    def apply(self, context: Any) -> None:
        """Set them, with their scales, on a new native context."""
        if not self._count:
            return
        lib = bindings.lib()
        handles = ctypes.cast(self._handles, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))
        if lib.llama_set_adapters_lora(context, handles, self._count, self._scales):
            raise InternalError("llama_set_adapters_lora", detail=bindings.log.error_summary())
