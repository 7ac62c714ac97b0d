"""Stores a model file in another type: ``python -m llmcli.engine.derivation.quantize_child SOURCE TARGET TYPE ...``.

It is the child of ``derivation``, since the native call cannot be interrupted. It ends when its standard input is
closed, which also happens when its parent is killed.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading

from llmcli.engine.derivation.weight_types import FILE_TYPES
from llmcli.engine.llama import bindings
from llmcli.errors import Unsupported

EXIT_QUANTIZE_FAILED = 65
"""Exit code of a child whose last line on standard error is llama.cpp's reason."""
EXIT_UNSUPPORTED = 69
_MAX_BUFFER_BYTES = 64 << 20
"""Bytes of rows that are converted at once; the default of llama.cpp, 8 GiB, holds the largest matrix as float32."""
_BACKGROUND_NICENESS = 19


def quantize(source: str, target: str, weights: str, threads: int) -> str:
    """Write a copy of ``source`` in a type to ``target``; return llama.cpp's error, "" without one."""
    lib = bindings.lib()
    params = lib.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[weights]
    params.nthread = threads
    params.allow_requantize = True
    params.pure = True  # one type for all matrices, output and embeddings too: mixtures are meant for small files
    params.max_buf_size = _MAX_BUFFER_BYTES
    bindings.log.clear()
    failed = lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
    return (bindings.log.error_summary() or "llama.cpp gives no reason") if failed else ""


def _end_with_parent() -> None:
    """End the process when standard input ends."""
    os.read(0, 1)
    os._exit(1)


def _write_stderr(text: str) -> None:
    os.write(2, (text + "\n").encode())


def _main(source: str, target: str, weights: str, threads: str, priority: str) -> None:
    import resource

    threading.Thread(target=_end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if priority == "background":
        os.setpriority(os.PRIO_PROCESS, 0, _BACKGROUND_NICENESS)
    bindings.on_abort = _write_stderr
    try:
        error = quantize(source, target, weights, int(threads))
    except Unsupported as problem:
        _write_stderr(problem.detail)
        os._exit(EXIT_UNSUPPORTED)
    if error:
        _write_stderr(error)
    os._exit(EXIT_QUANTIZE_FAILED if error else 0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
