"""Checks that a library of llama.cpp that was not compiled with the binding gives right answers on this processor.

The binding declares functions and structs of one version of ``llama.h``; a library with others would crash, or silently
compute nonsense. So it is checked in a child process before its first use (``engine.abi_check``), once for each
library, version of the binding and processor. What the check found is kept in a file beside the library.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import zlib
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from llmcli import child_processes
from llmcli.engine_library import LIBRARY_VARIABLE, EngineLibrary, processor_name, read_manifest
from llmcli.errors.model_errors import EngineRefused
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files

CHECK_NUMBER = 1
"""Grows when the check finds more: libraries are then checked again."""
_CHECK_FILE = "llmcli-check.json"
_CHILD_MODULE = "llmcli.engine.abi_check"
"""A name instead of an import: the module uses the engine, which uses this package."""
_TIMEOUT_S = 120.0
_MAX_REASON_CHARACTERS = 300


@frozen
class LibraryCheck:
    """What the check of a library found on this processor.

    ``digest``: of its files; ``variant``: for which processors its CPU backend was built, "" if it has one for all;
    ``backends``: the files of the backends that run; ``devices``: the devices beside the CPU.
    """

    digest: str
    variant: str
    backends: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


def require_check(library: EngineLibrary) -> LibraryCheck:
    """Return what the check of a library found, which runs first if it never ran. Raises ``EngineRefused``."""
    return load_check(library) or run_check(library)


def require_intact(library: EngineLibrary) -> LibraryCheck:
    """Return as ``require_check`` after reading all files, before they are loaded: damage may keep size and time.

    A library of the user's that was replaced is checked again. Raises ``EngineRefused``.
    """
    check = require_check(library)
    try:
        return check if check.digest == library.digest() else run_check(library)
    except OSError as error:
        raise EngineRefused(library.label, detail=error.strerror or str(error)) from error


def load_check(library: EngineLibrary) -> LibraryCheck | None:
    """Return what an earlier check of this library on this processor found; None if there was none, or if it failed."""
    try:
        data = _read_record(library)
        found = data["checks"][_check_key()]
        if data["signature"] != library.signature():  # it was copied, or replaced
            if data["digest"] != library.digest():
                return None
            _write_record(library, data["digest"], data["checks"])
        return LibraryCheck(data["digest"], found["variant"], tuple(found["backends"]), tuple(found["devices"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # not checked, or a damaged record
        return None


def _read_record(library: EngineLibrary) -> Any:
    return json.loads((library.directory / _CHECK_FILE).read_bytes())


def _check_key() -> str:
    """Return what a check holds for besides the library: its number, the binding's declarations, the processor."""
    spec = PathFinder.find_spec("llama_cpp")
    places = (spec and spec.submodule_search_locations) or ()
    declarations = [zlib.crc32((Path(place) / "llama_cpp.py").read_bytes()) for place in places]
    return f"{CHECK_NUMBER} {declarations} {processor_name()}"


def run_check(library: EngineLibrary) -> LibraryCheck:
    """Check a library in a child process and remember what it found. Raises ``EngineRefused``."""
    if not library.main_file.exists():
        raise EngineRefused(library.label, detail=f"there is no {library.main_file}")
    digest = library.digest()
    if (read_manifest(library.directory) or {}).get("digest", digest) != digest:
        raise EngineRefused(library.label, detail="its files have changed since it was installed")
    answer = _run_child(library)
    if "reason" in answer:
        raise EngineRefused(library.label, detail=answer["reason"])
    found = {name: answer[name] for name in ("variant", "backends", "devices")}
    check = LibraryCheck(digest, found["variant"], tuple(found["backends"]), tuple(found["devices"]))
    if library.is_compiled:  # it is checked only when the user asks for it
        return check
    with suppress(OSError):  # a directory that cannot be written: the next start checks it again
        known: dict[str, Any] = {}
        with suppress(OSError, ValueError, KeyError, TypeError):
            data = _read_record(library)
            known = data["checks"] if data["digest"] == digest else {}
        _write_record(library, digest, {**known, _check_key(): found})
    return check


def _write_record(library: EngineLibrary, digest: str, checks: dict[str, Any]) -> None:
    record = {"digest": digest, "signature": library.signature(), "checks": checks}
    with private_files.replacing(library.directory / _CHECK_FILE) as temporary:
        private_files.write_file(temporary, json.dumps(record).encode())


def _run_child(library: EngineLibrary) -> dict[str, Any]:
    """Return what the child reports: what it found, or ``reason`` for a library that must not be used."""
    environ = {**os.environ, LIBRARY_VARIABLE: str(library.directory)}
    command = child_processes.module_command(_CHILD_MODULE, str(library.directory))
    try:
        done = subprocess.run(  # noqa: S603 (our own module)
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env=child_processes.child_env(environ),
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"reason": f"the check takes longer than {_TIMEOUT_S:.0f} seconds"}
    with suppress(ValueError, TypeError):
        answer = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout else None
        if isinstance(answer, dict):
            return answer
    lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    said = f": {lines[-1].rpartition('/')[2].strip()}" if lines else ""
    ended = signal.strsignal(-done.returncode) if done.returncode < 0 else f"exit code {done.returncode}"
    return {"reason": f"its check crashed ({ended}){said}"[:_MAX_REASON_CHARACTERS]}
