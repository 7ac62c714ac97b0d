"""Stores a model file in another type: ``python -m llmcli.engine.quantize_child SOURCE TARGET TYPE ...``.

It is the child of ``derivation``, since the native call cannot be interrupted. It ends when its standard input is
closed, which also happens when its parent is killed.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from collections.abc import Sequence
from enum import StrEnum

from llmcli.engine.llama import bindings
from llmcli.errors import Unsupported
from llmcli.models.gguf.tensor_types import QUANTIZATIONS


class QuantizerMode(StrEnum):
    """PURE: one type for all matrices, output and embeddings too.

    MIXTURE: larger types for some, as the type's name says.

    ESTIMATE: nothing is written; the last line on standard error is what ``estimate`` returns.

    COPY: the tensors stay as they are.
    """

    PURE = "pure"
    MIXTURE = "mixture"
    ESTIMATE = "estimate"
    COPY = "copy"


NEEDS_MATRIX = "imatrix"
_SIZE_LINE = re.compile(rb"quant size\s*=\s*([0-9.]+) MiB")
EXIT_QUANTIZE_FAILED = 65
"""Exit code of a child whose last line on standard error is llama.cpp's reason."""
EXIT_UNSUPPORTED = 69
_MAX_BUFFER_BYTES = 64 << 20
"""Bytes of rows that are converted at once; the default of llama.cpp, 8 GiB, holds the largest matrix as float32."""
_BACKGROUND_NICENESS = 19


def quantize(
    source: str, target: str, weights: str, threads: int, mode: str = "pure", removed_layers: Sequence[int] = ()
) -> str:
    """Write a copy of ``source`` in a type of ``QUANTIZATIONS`` to ``target``; return llama.cpp's error or "".

    ``mode``: see ``QuantizerMode``; for ``COPY``, ``weights`` does not matter.
    ``removed_layers``: numbers of layers that the copy lacks.
    """
    lib = bindings.lib()
    params = lib.llama_model_quantize_default_params()
    params.ftype = QUANTIZATIONS.get(weights, params.ftype)
    params.nthread = threads
    params.allow_requantize = True
    params.pure = mode == QuantizerMode.PURE
    params.dry_run = mode == QuantizerMode.ESTIMATE
    params.only_copy = mode == QuantizerMode.COPY
    layers = (ctypes.c_int32 * (len(removed_layers) + 1))(*removed_layers, -1)
    if removed_layers:
        params.prune_layers = ctypes.cast(layers, ctypes.POINTER(ctypes.c_int32))
    params.max_buf_size = _MAX_BUFFER_BYTES
    bindings.log.clear()
    failed = lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
    return (bindings.log.error_summary() or "llama.cpp gives no reason") if failed else ""


def estimate(source: str, weights: str) -> tuple[str, str]:
    """Return what the weights of a copy would take, and llama.cpp's error.

    The first is the size in MiB with two decimals, followed by a word if an importance matrix is needed.
    """
    lib = bindings.lib()
    sizes = []

    @lib.llama_log_callback  # type: ignore[untyped-decorator]  # the binding has no types
    def collect(level: int, text: bytes, _: int) -> None:
        bindings.log.append(level, text)
        if match := _SIZE_LINE.search(text):
            sizes.append(match[1].decode())

    lib.llama_log_set(collect, None)
    error = quantize(source, os.devnull, weights, 1, QuantizerMode.ESTIMATE)
    needs_matrix = f" {NEEDS_MATRIX}" if "imatrix" in bindings.log.error_summary() else ""
    return (sizes[-1] + needs_matrix if sizes else ""), error


def _end_with_parent() -> None:
    """End the process when standard input ends."""
    os.read(0, 1)
    os._exit(1)


def _write_stderr(text: str) -> None:
    os.write(2, (text + "\n").encode())


def _main(*arguments: str) -> None:
    import resource

    source, target, weights, threads, priority, mode, *removed_layers = arguments
    threading.Thread(target=_end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if priority == "background":
        os.setpriority(os.PRIO_PROCESS, 0, _BACKGROUND_NICENESS)
    bindings.on_abort = _write_stderr
    try:
        if mode == QuantizerMode.ESTIMATE:
            size, error = estimate(source, weights)
            _write_stderr(size)
        else:
            error = quantize(source, target, weights, int(threads), mode, list(map(int, removed_layers)))
    except Unsupported as problem:
        _write_stderr(problem.detail)
        os._exit(EXIT_UNSUPPORTED)
    if error:
        _write_stderr(error)
    os._exit(EXIT_QUANTIZE_FAILED if error else 0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
