"""Loads a model file for the first time in a child process, since some bad files make llama.cpp abort.

The header reader refuses most bad files. What it cannot detect (an inconsistent graph, duplicate tokens) fails an
assertion in native code; here that costs a child process, and its message becomes an error. The check runs once for
each file, engine and processor; the child is ``llmcli.engine.smoke_test``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from llmcli import child_processes, engine_library
from llmcli.config.engine_options import LoraAdapter, adapted_model_id, adapter_bytes, dump_adapters
from llmcli.engine.llama import bindings
from llmcli.errors import BadModelFile, InternalError, LlmError, OutOfMemory, Unsupported
from llmcli.errors.model_errors import BadAdapter
from llmcli.files import file_lock, private_files
from llmcli.models.gguf.header_parser import load_checked_header

_MIN_TIMEOUT_S = 30.0
"""Seconds that the child has for any file."""
_MIN_LOAD_BYTES_PER_S = 5e6
"""Bytes a second from which the rest of its time is computed: slower than any disk."""
_POLL_S = 0.05
"""Seconds between checks of the interrupt."""
EXIT_KNOWN_ERROR = 65
"""Exit code of a child with a known error, which the engine will meet and report itself."""
AUTO_LAYERS = "auto"
_CHILD_MODULE = "llmcli.engine.smoke_test"
"""A name instead of an import: the module uses the engine, which uses this package."""


def check_once(
    path: Path,
    model_id: str,
    cache: Path,
    *,
    gpu_layers: int | None,
    stop: Callable[[], LlmError | None],
    adapters: Sequence[LoraAdapter] = (),
) -> None:
    """Try to load a model that, according to ``cache``, was never loaded here; ``model_id`` is its SHA-256.

    Then the same with ``adapters``. Raises what ``load_checked_header`` and ``check_in_subprocess`` raise, and
    ``BadAdapter`` if the model cannot run with the adapters.
    """
    for used in ((), tuple(adapters)) if adapters else ((),):
        marker = marker_path(cache, adapted_model_id(model_id, used))
        if private_files.exists(marker):
            continue
        size = load_checked_header(path).size  # refuses most bad files without a child
        with _hold_lock(marker.with_suffix(".lock"), stop):
            if not private_files.exists(marker) and _check_adapted(path, size, used, gpu_layers, stop):
                with suppress(OSError):  # the model is checked again next time
                    private_files.replace_file(marker, b"")


def _check_adapted(
    path: Path,
    size: int,
    adapters: tuple[LoraAdapter, ...],
    gpu_layers: int | None,
    stop: Callable[[], LlmError | None],
) -> bool:
    """Return what ``check_in_subprocess`` returns; a failure of a model with adapters is about the adapters."""
    try:
        return check_in_subprocess(path, size, gpu_layers=gpu_layers, stop=stop, adapters=adapters)
    except BadModelFile as error:
        if not adapters:
            raise
        names = ", ".join(adapter.path for adapter in adapters)
        raise BadAdapter(names, detail=error.detail, mismatch=True) from error


@contextmanager
def _hold_lock(lock: Path, stop: Callable[[], LlmError | None]) -> Iterator[None]:
    """Hold the lock file, so that only one of many commands tries the model; without working locks each does."""
    with ExitStack() as stack:
        with suppress(OSError):
            private_files.make_directory(lock.parent)
            stack.enter_context(
                file_lock.hold_lock(lock, timeout_s=None, poll_s=_POLL_S, check=lambda: _raise_if_stopped(stop))
            )
        yield


def _raise_if_stopped(stop: Callable[[], LlmError | None]) -> None:
    error = stop()
    if error is not None:
        raise error


def marker_path(cache: Path, model_id: str) -> Path:
    """Return the path of the empty file that marks a model as loaded with this engine and processor."""
    key = hashlib.sha256(repr((model_id, bindings.engine_id(), engine_library.processor_name())).encode()).hexdigest()
    return cache / "loaded" / key[:32]


def check_in_subprocess(
    path: Path,
    size: int,
    *,
    gpu_layers: int | None,
    stop: Callable[[], LlmError | None],
    adapters: Sequence[LoraAdapter] = (),
) -> bool:
    """Return whether the model at ``path``, of ``size`` bytes, loads and generates tokens; False for a known error.

    ``gpu_layers`` and ``adapters`` as in ``EngineOptions``. Raises what ``stop`` returns; ``BadModelFile`` when the
    child dies or exceeds a time in proportion to the size; ``OutOfMemory`` when the system killed it; ``Unsupported``
    for an instruction that this processor lacks; and ``InternalError`` when it ended in another way.
    """
    timeout_s = _MIN_TIMEOUT_S + (size + adapter_bytes(adapters)) / _MIN_LOAD_BYTES_PER_S
    layers = AUTO_LAYERS if gpu_layers is None else str(gpu_layers)
    child = subprocess.Popen(  # noqa: S603 (our own module)
        child_processes.module_command(
            _CHILD_MODULE, str(path.absolute()), layers, str(timeout_s), dump_adapters(adapters)
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        env=child_processes.child_env(os.environ),
        start_new_session=True,
    )
    with child:
        try:
            stderr = _read_stderr_until_exit(child, time.monotonic() + timeout_s, stop)
        finally:
            child.kill()
    if stderr is None:
        raise BadModelFile(str(path), detail=f"loading it takes longer than {timeout_s:.0f} seconds")
    if child.returncode == -signal.SIGKILL:
        raise OutOfMemory(str(path), needed=size, detail="the system killed the process that loaded it")
    if child.returncode == -signal.SIGILL:
        raise Unsupported("llama.cpp", detail="llama-cpp-python was built for another processor")
    if child.returncode in (0, EXIT_KNOWN_ERROR):
        return child.returncode == 0
    if child.returncode > 0:
        raise InternalError(str(path), detail=_describe_exit(stderr, child.returncode))
    raise BadModelFile(str(path), detail=f"llama.cpp cannot run it: {_describe_exit(stderr, child.returncode)}")


def _read_stderr_until_exit(
    child: subprocess.Popen[bytes], until: float, stop: Callable[[], LlmError | None]
) -> bytes | None:
    """Return the child's standard error until it ended; None if it runs longer than ``until``.

    A child that has ended while this process was stopped (Ctrl-Z) has not run longer.
    """
    while True:
        _raise_if_stopped(stop)
        is_late = time.monotonic() >= until
        with suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=_POLL_S)[1]
        if is_late:
            return None


def _describe_exit(stderr: bytes, code: int) -> str:
    """Return the last line without the path of llama.cpp's source file, or what ended the child."""
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    if lines:
        return lines[-1].rpartition("/")[2].strip()
    return signal.strsignal(-code) or f"signal {-code}" if code < 0 else f"it exited with code {code}"
