"""llama.cpp's library: imported once, quietly; its logs are captured, and an abort becomes one line.

``lib()`` is the binding's low-level module (``llama_cpp.llama_cpp``: ctypes declarations of ``llama.h``). All other
modules of the engine reach llama.cpp through it.
"""

from __future__ import annotations

import collections
import ctypes
import functools
import importlib
import importlib.machinery
import importlib.util
import math
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmcli.child_processes import RUNTIME_ENV_DEFAULTS
from llmcli.errors import Unsupported

LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_CONTINUED = 3, 4, 5
"""ggml's log levels (``enum ggml_log_level``); a continuation belongs to the line before it."""


class NativeLog:
    """The last lines that llama.cpp logged at level warn and above, and how many lines there were.

    The deque makes it thread-safe; the callback must not raise, since native code calls it.
    """

    def __init__(self, keep: int = 200) -> None:
        self._lines: collections.deque[tuple[int, str]] = collections.deque(maxlen=keep)
        self._level = 0

    def append(self, level: int, text: bytes) -> None:
        """Record one call of the log callback."""
        if level != LOG_LEVEL_CONTINUED:
            self._level = level
        if self._level >= LOG_LEVEL_WARN:
            self._lines.append((level, text.decode("utf-8", "replace")))

    def clear(self) -> None:
        """Forget the lines so far, before an operation whose errors may be needed."""
        self._lines.clear()

    def error_summary(self) -> str:
        """Return the errors logged since ``clear`` (or the warnings, without errors) as one line."""
        lines: list[tuple[int, str]] = []
        for level, text in list(self._lines):  # copied at once, since other threads log meanwhile
            if level == LOG_LEVEL_CONTINUED and lines:
                lines[-1] = (lines[-1][0], lines[-1][1] + text)
            else:
                lines.append((level, text))
        errors = [text for level, text in lines if level >= LOG_LEVEL_ERROR] or [text for _, text in lines]
        return "; ".join(" ".join(text.split()) for text in errors[-4:] if text.strip())


log = NativeLog()
on_abort: Callable[[str], None] | None = None
"""Called with the message of a failed native assertion; llama.cpp ends the process right after it returns."""

_registered_callbacks: list[Any] = []
_load_lock = threading.Lock()


def _import_low_level_module() -> Any:
    # The package's own __init__ also imports numpy, jinja2 and its high-level classes: 85 ms of a 110 ms import, for
    # nothing that is needed here. A bare package with the same search path allows importing the low-level module alone.
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None:
            raise Unsupported("llama.cpp", detail="the package llama-cpp-python is not installed")
        bare = importlib.machinery.ModuleSpec("llama_cpp", None, is_package=True)
        bare.submodule_search_locations = spec.submodule_search_locations
        sys.modules["llama_cpp"] = importlib.util.module_from_spec(bare)
    try:
        return importlib.import_module("llama_cpp.llama_cpp")
    except (OSError, RuntimeError, FileNotFoundError) as error:  # the loader raises this for a broken shared library
        raise Unsupported("llama.cpp", detail=" ".join(str(error).split())) from error


@functools.cache
def _load_library() -> Any:
    for name, value in RUNTIME_ENV_DEFAULTS.items():  # the libraries read these when they are loaded
        os.environ.setdefault(name, value)
    module = _import_low_level_module()

    @module.llama_log_callback  # type: ignore[untyped-decorator]
    def collect(level: int, text: bytes, _: int) -> None:
        log.append(level, text)

    @ctypes.CFUNCTYPE(None, ctypes.c_char_p)  # type: ignore[untyped-decorator]
    def aborted(message: bytes) -> None:
        if on_abort is not None:
            on_abort(" ".join(message.decode("utf-8", "replace").split()))

    _registered_callbacks.extend((collect, aborted))
    module.llama_log_set(collect, None)
    set_abort_callback = getattr(module._lib, "ggml_set_abort_callback", None)  # noqa: SLF001
    if set_abort_callback is not None:
        set_abort_callback(aborted)
    module.llama_backend_init()
    return module


def lib() -> Any:
    """Return the low-level module, importing and initializing it at the first call.

    Raises ``Unsupported`` if the binding is missing or its library cannot be loaded.
    """
    with _load_lock:
        return _load_library()


@functools.cache
def _load_tensor_name() -> Any:
    function = lib()._lib.ggml_get_name  # noqa: SLF001 (the binding declares no function of tensors)
    function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_char_p
    return function


def tensor_name(tensor: int) -> bytes:
    """Return the name of a tensor of a graph, given its address."""
    name: bytes = _load_tensor_name()(tensor)
    return name


def float_array(pointer: Any, shape: tuple[int, ...]) -> Any:
    """Return the values at a ``POINTER(c_float)`` of llama.cpp as a float32 array of this shape: a view.

    ``ctypes.cast``, which ``numpy.ctypeslib.as_array`` calls too, makes reference cycles, a few for each token: they would
    stay until the next garbage collection, which comes late in a process with a high threshold.
    """
    import numpy as np

    size = math.prod(shape)
    values: Any = (ctypes.c_float * size).from_address(ctypes.addressof(pointer.contents))
    return np.frombuffer(values, np.float32, size).reshape(shape)


@functools.cache
def version() -> str:
    """Return the version of the binding, "not installed" if it is missing.

    It stands in the name of the directory beside the package, which is found without ``importlib.metadata`` (9 ms).
    """
    spec = importlib.util.find_spec("llama_cpp")
    if spec is not None and spec.origin is not None:
        for directory in Path(spec.origin).parents[1].glob("llama_cpp_python-*.dist-info"):
            return directory.name.removeprefix("llama_cpp_python-").removesuffix(".dist-info")
    from importlib import metadata

    try:
        return metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        return "not installed"


def system_info() -> str:
    """Return llama.cpp's own line about the processor features that it was built for."""
    return str(lib().llama_print_system_info().decode("utf-8", "replace")).strip()
