"""Loading a model file for the first time in a process of its own: llama.cpp ends its process over some bad files.

The reader of headers refuses most of them. What it cannot know (a graph that does not fit together, tokens that appear
twice) is a failed assertion in native code; here it costs a child process, and its message becomes an error. It happens
once for each file, version of the binding and processor; ``python -m llmcli.engine.probe FILE GPU_LAYERS BOUND`` is the
child, which loads the file as the engine does and lets it say two tokens.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from llmcli import private_files, processes
from llmcli.engine import machine, native
from llmcli.errors import BadModelFile, InternalError, LlmError, OutOfMemory, Unsupported
from llmcli.models.gguf import load_header

_LEAST = 30.0
"""Seconds that the child has for any file."""
_RATE = 5e6
"""Bytes a second that it has for each byte of the model: less than any disk reads."""
_LOOK = 0.05
"""Seconds between looks at the interrupt."""
_REFUSED = 65
"""Exit code of a child that met an error of ours: the engine will meet it too, and say so itself."""
_AUTO = "auto"


def once(
    path: Path, model_id: str, cache: Path, *, gpu_layers: int | None, stop: Callable[[], LlmError | None]
) -> None:
    """Try out a model that was never loaded here before, as far as ``cache`` remembers; ``model_id`` is its SHA-256.

    Raises as ``gguf.load_header`` and ``check``.
    """
    mark = mark_of(cache, model_id)
    if private_files.exists(mark):
        return
    size = load_header(path).size  # refuses most bad files without a child
    with _alone(mark.with_suffix(".lock"), stop):
        if not private_files.exists(mark) and check(path, size, gpu_layers=gpu_layers, stop=stop):
            with suppress(OSError):  # then it is tried again the next time
                private_files.replace_file(mark, b"")


@contextmanager
def _alone(lock: Path, stop: Callable[[], LlmError | None]) -> Iterator[None]:
    """Hold the lock file, so that of many commands one tries the model out; where locks do not work, each does."""
    import fcntl

    with ExitStack() as held:
        with suppress(OSError):
            private_files.make_directory(lock.parent)
            file = held.enter_context(os.fdopen(private_files.open_file(lock, os.O_WRONLY), "wb"))
            while True:
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                _heed(stop)
                time.sleep(_LOOK)
        yield


def _heed(stop: Callable[[], LlmError | None]) -> None:
    error = stop()
    if error is not None:
        raise error


def mark_of(cache: Path, model_id: str) -> Path:
    """Return the empty file that says that a model was loaded with this version of the binding on this processor."""
    key = hashlib.sha256(repr((model_id, native.version(), machine.processor())).encode()).hexdigest()
    return cache / "loaded" / key[:32]


def check(path: Path, size: int, *, gpu_layers: int | None, stop: Callable[[], LlmError | None]) -> bool:
    """Return whether the model at ``path``, of ``size`` bytes, was loaded and spoke; False for an error of ours.

    ``gpu_layers`` as in ``EngineOptions``. Raises what ``stop`` returns, ``BadModelFile`` when the child dies or does
    not come to an end in a time in proportion to the size, ``OutOfMemory`` when the system killed it, ``Unsupported``
    for an instruction that this processor does not have, and ``InternalError`` when it ended in another way.
    """
    bound = _LEAST + size / _RATE
    layers = _AUTO if gpu_layers is None else str(gpu_layers)
    child = subprocess.Popen(  # noqa: S603 (our own module)
        processes.command(__spec__.name, str(path.absolute()), layers, str(bound)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        env=processes.environment(os.environ),
        start_new_session=True,
    )
    with child:
        try:
            said = _wait(child, time.monotonic() + bound, stop)
        finally:
            child.kill()
    if said is None:
        raise BadModelFile(str(path), detail=f"loading it takes longer than {bound:.0f} seconds")
    if child.returncode == -signal.SIGKILL:
        raise OutOfMemory(str(path), needed=size, detail="the system ended the process that loaded it")
    if child.returncode == -signal.SIGILL:
        raise Unsupported("llama.cpp", detail="it was built for another processor")
    if child.returncode in (0, _REFUSED):
        return child.returncode == 0
    if child.returncode > 0:
        raise InternalError(str(path), detail=_cause(said, child.returncode))
    raise BadModelFile(str(path), detail=f"llama.cpp cannot run it: {_cause(said, child.returncode)}")


def _wait(child: subprocess.Popen[bytes], until: float, stop: Callable[[], LlmError | None]) -> bytes | None:
    """Return what the child wrote to descriptor 2 until its end; None when it does not come to one."""
    while time.monotonic() < until:
        _heed(stop)
        with suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=_LOOK)[1]
    return None


def _cause(said: bytes, code: int) -> str:
    """Return llama.cpp's last words without the path of its source, or what ended the child."""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    if lines:
        return lines[-1].rpartition("/")[2].strip()
    return signal.strsignal(-code) or f"signal {-code}" if code < 0 else f"it ends with code {code}"


def try_out(path: Path, gpu_layers: int | None) -> None:
    """Load the model at ``path`` in this process and let it say two tokens. Raises what the engine raises."""
    from llmcli.engine.engine import Engine
    from llmcli.types import EngineOptions, Finished, Message, Request, Role, Sampling

    engine = Engine(path, path.name, "probe", EngineOptions(gpu_layers=gpu_layers), lambda: None)
    with engine.open() as job:
        hello = (Message(Role.USER, "hello"),)
        job.submit(Request("probe", hello, max_tokens=2, sampling=Sampling(temperature=0), ignore_eos=True))
        job.close_input()
        for event in job:
            if isinstance(event, Finished) and event.error is not None:
                raise event.error


def _say(text: str) -> None:
    os.write(2, text.encode())


def _main(path: str, layers: str, bound: str) -> None:
    """Try the file out and end the process: with 0, or ``_REFUSED`` for an error that the engine will meet as well."""
    import resource

    signal.alarm(int(float(bound)) + 1)  # should nobody be left to end us
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    native.on_abort = lambda message: _say(message + "\n")
    try:
        try_out(Path(path), None if layers == _AUTO else int(layers))
    except (LlmError, MemoryError):
        os._exit(_REFUSED)
    os._exit(0)  # what is loaded needs no taking apart


if __name__ == "__main__":
    _main(*sys.argv[1:])
