"""LoRA adapters in llama.cpp: loaded with a model, and set on each of its contexts.

llama.cpp multiplies an activation with a matrix of the model as without adapters, whatever the type and layout of that
matrix, and adds the products with the adapter's two small matrices, which it keeps as they are in the file.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

from llmcli.configuration.lora_adapters import LoraAdapter
from llmcli.engine.llama import bindings
from llmcli.errors import InternalError, OutOfMemory
from llmcli.errors.model_errors import BadAdapter


class LoadedAdapters:
    """The ``adapters`` of a loaded model, before any context of it exists: llama.cpp sizes the graph of a context by them.

    They are freed with the model.
    """

    def __init__(self, model: Any, adapters: Sequence[LoraAdapter]) -> None:
        """Load the files for the native ``model``. Raises ``BadAdapter`` with llama.cpp's message, and ``OutOfMemory``."""
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
