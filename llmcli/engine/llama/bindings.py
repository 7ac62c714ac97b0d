"""llama.cpp's library: imported once, quietly; its logs are captured, and an abort becomes one line.

``lib()`` is the binding's low-level module (``llama_cpp.llama_cpp``: ctypes declarations of ``llama.h``). All other
modules of the engine reach llama.cpp through it. It loads the library that ``engine_library`` finds. One that was not
compiled with the binding is checked before its first use (``library_check``), and may lack functions that llm never
calls.
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
from typing import Any

from llmcli.engine.llama import library_check
from llmcli.engine_library import LIBRARY_VARIABLE, RUNTIME_ENV_DEFAULTS, EngineLibrary, binding_version, find_library
from llmcli.errors import Unsupported
from llmcli.errors.model_errors import EngineNotInstalled, EngineRefused

LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_CONTINUED = 3, 4, 5
"""ggml's log levels (``enum ggml_log_level``); a continuation belongs to the line before it."""
_MAX_LOG_LINES = 200
_MAX_SUMMARY_CHARS = 300
"""Of each line: it may quote what a damaged file has as a name."""


class NativeLog:
    """The last lines that llama.cpp logged at level warn and above, and how many lines there were.

    The deque makes it thread-safe; the callback must not raise, since native code calls it.
    """

    def __init__(self) -> None:
        self._lines: collections.deque[tuple[int, str]] = collections.deque(maxlen=_MAX_LOG_LINES)
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
        shown = (" ".join(text.split()) for text in errors[-4:] if text.strip())
        return "; ".join(
            line if len(line) <= _MAX_SUMMARY_CHARS else f"{line[: _MAX_SUMMARY_CHARS - 1]}…" for line in shown
        )


log = NativeLog()
on_abort: Callable[[str], None] | None = None
"""Called with the message of a failed native assertion; llama.cpp ends the process right after it returns."""

_registered_callbacks: list[Any] = []
_load_lock = threading.Lock()


_unchecked: EngineLibrary | None = None


def _import_low_level_module(library: EngineLibrary) -> Any:
    # The package's own __init__ also imports numpy, jinja2 and its high-level classes: 85 ms of a 110 ms import, for
    # nothing that is needed here. A bare package with the same search path allows importing the low-level module alone.
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None:
            raise Unsupported("llama.cpp", detail="the package llama-cpp-python is not installed")
        bare = importlib.machinery.ModuleSpec("llama_cpp", None, is_package=True)
        bare.submodule_search_locations = spec.submodule_search_locations
        sys.modules["llama_cpp"] = importlib.util.module_from_spec(bare)
    given = os.environ.get(LIBRARY_VARIABLE)
    try:
        if not library.is_compiled:
            os.environ[LIBRARY_VARIABLE] = str(library.directory)
            _tolerate_missing_functions()
        return importlib.import_module("llama_cpp.llama_cpp")
    except (OSError, RuntimeError, AttributeError) as error:  # the loader raises these for a library that does not suit
        reason = " ".join(str(error).split())
        if library.is_compiled:
            raise Unsupported("llama.cpp", detail=reason) from error
        raise EngineRefused(library.label, detail=reason) from error
    finally:
        if given is None:
            os.environ.pop(LIBRARY_VARIABLE, None)


def _tolerate_missing_functions() -> None:
    """Let the binding import with a library that lacks functions: calling such a function is an error then."""
    extensions: Any = importlib.import_module("llama_cpp._ctypes_extensions")
    declare_strictly = extensions.ctypes_function_for_shared_library

    def declare(library: ctypes.CDLL) -> Callable[..., Any]:
        strict = declare_strictly(library)

        def declare_function(name: str, argtypes: Any, restype: Any, enabled: bool = True) -> Any:
            if hasattr(library, name):
                return strict(name, argtypes, restype, enabled)

            def missing(*_arguments: Any) -> None:
                raise Unsupported("llama.cpp", detail=f"its library has no function {name}")

            return lambda _declaration: missing

        return declare_function

    extensions.ctypes_function_for_shared_library = declare


def _load_backends(module: Any, library: EngineLibrary, backends: tuple[str, ...]) -> None:
    """Load the ``backends`` that the check found, else all that suit the machine: the best variant of each kind."""
    load, load_all = module._lib.ggml_backend_load, module._lib.ggml_backend_load_all_from_path  # noqa: SLF001 (the binding does not declare them)
    load.argtypes = load_all.argtypes = [ctypes.c_char_p]
    load.restype, load_all.restype = ctypes.c_void_p, None
    loaded = [load(os.fsencode(library.directory / name)) for name in backends]
    if not all(loaded) or not loaded:  # one does not suit this processor any more
        load_all(os.fsencode(library.directory))


@functools.cache
def _load_library() -> Any:
    for name, value in RUNTIME_ENV_DEFAULTS.items():  # the libraries read these when they are loaded
        os.environ.setdefault(name, value)
    library = _unchecked or find_library(os.environ)
    if library is None:
        raise EngineNotInstalled
    check = None if library.is_compiled or _unchecked else library_check.require_intact(library)
    module = _import_low_level_module(library)

    @module.llama_log_callback  # type: ignore[untyped-decorator]  # the binding has no types
    def collect(level: int, text: bytes, _: int) -> None:
        log.append(level, text)

    @ctypes.CFUNCTYPE(None, ctypes.c_char_p)  # type: ignore[untyped-decorator]  # ctypes declares no type of its decorator
    def aborted(message: bytes) -> None:
        if on_abort is not None:
            on_abort(" ".join(message.decode("utf-8", "replace").split()))

    _registered_callbacks.extend((collect, aborted))
    module.llama_log_set(collect, None)
    set_abort_callback = getattr(module._lib, "ggml_set_abort_callback", None)  # noqa: SLF001 (the binding does not declare it)
    if set_abort_callback is not None:
        set_abort_callback(aborted)
    if not library.is_compiled:
        _load_backends(module, library, () if check is None else check.backends)
    module.llama_backend_init()
    return module


def load_unchecked(library: EngineLibrary) -> Any:
    """Return the low-level module with a library that was not checked yet: only for its check."""
    global _unchecked  # noqa: PLW0603 (the library is loaded once in a process)
    _unchecked = library
    return lib()


def lib() -> Any:
    """Return the low-level module, importing and initializing it at the first call.

    Raises ``EngineNotInstalled`` without a library, ``EngineRefused`` for one that fails its check, and ``Unsupported``
    if the binding is missing or its own library cannot be loaded.
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


@functools.cache
def _load_tensor_functions() -> tuple[Any, Any]:
    library = lib()._lib  # noqa: SLF001 (as above)
    size, read = library.ggml_nbytes, library.ggml_backend_tensor_get
    size.argtypes, size.restype = [ctypes.c_void_p], ctypes.c_size_t
    read.argtypes, read.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t], None
    return size, read


def tensor_rows(tensor: int, width: int) -> Any:
    """Return a copy of the values of a float32 tensor of a graph, given its address, in rows of ``width``."""
    import numpy as np

    size, read = _load_tensor_functions()
    values = np.empty(size(tensor) // np.dtype(np.float32).itemsize, np.float32)
    read(tensor, values.ctypes.data, 0, values.nbytes)
    return values.reshape(-1, width)


def float_array(pointer: Any, shape: tuple[int, ...]) -> Any:
    """Return the values at a ``POINTER(c_float)`` of llama.cpp as a float32 array of this shape: a view.

    ``ctypes.cast``, which ``numpy.ctypeslib.as_array`` calls too, makes reference cycles, a few for each token: they
    would stay until the next garbage collection, which comes late in a process with a high threshold.
    """
    import numpy as np

    size = math.prod(shape)
    values: Any = (ctypes.c_float * size).from_address(ctypes.addressof(pointer.contents))
    return np.frombuffer(values, np.float32, size).reshape(shape)


def version() -> str:
    """Return the version of the binding, "not installed" if it is missing."""
    return binding_version()


def engine_id() -> str:
    """Return what results and measurements depend on: the version of the binding, and the library and its variant.

    The library is not loaded; it is checked if it never was. Raises ``EngineRefused``.
    """
    library = find_library(os.environ)
    if library is None or library.is_compiled:
        return version()
    check = library_check.require_check(library)
    return " ".join(word for word in (version(), library.name, library.version or check.digest, check.variant) if word)


def system_info() -> str:
    """Return llama.cpp's own line about the processor features that it was built for."""
    return str(lib().llama_print_system_info().decode("utf-8", "replace")).strip()
