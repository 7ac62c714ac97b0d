"""The limit on address space (``ulimit -v``): checked before native code, which would end the process, reaches it."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from pathlib import Path

from llmcli.errors import OutOfMemory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_LIBRARY_BYTES = {"numpy": 150 << 20, "llama_cpp": 64 << 20}
"""What a library maps when it is imported; numpy's linear algebra has a buffer for each of its threads."""
_ENGINE_BYTES = 415 << 20
"""What a process with an engine maps besides weights and context: Python, numpy, llama.cpp, and heaps of threads."""
_MIN_ENGINE_BYTES = 128 << 20
"""What an engine maps at least in a process that has mapped most of it before: the heaps of its threads."""


def limit_bytes() -> int | None:
    """Return the limit of this process, None without one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def check_room(subject: str, needed: int) -> None:
    """Raise ``OutOfMemory`` if ``needed`` more bytes for ``subject`` exceed the limit."""
    limit = limit_bytes()
    if limit is None:
        return
    used = used_bytes()
    if used + needed > limit:
        raise OutOfMemory(
            subject,
            needed=needed,
            available=max(limit - used, 0),
            fits=f"a higher limit: ulimit -v {(used + needed >> 10) + 1}",
            detail="the address space of this process is limited",
        )


def check_engine_room(subject: str, model_bytes: int) -> None:
    """Raise ``OutOfMemory`` if weights and context of ``model_bytes`` do not fit the limit with an engine."""
    check_room(subject, model_bytes + max(_ENGINE_BYTES - used_bytes(), _MIN_ENGINE_BYTES))


def used_bytes() -> int:
    """Return what this process has mapped, 0 if the system does not say (proc_pid_statm(5))."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def check_before_imports() -> None:
    """Call ``check_room`` before each import of a library that ends the process when it finds no room."""
    if limit_bytes() is not None and not any(isinstance(finder, _RoomFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RoomFinder())


class _RoomFinder(MetaPathFinder):
    """Finds no module; raises ``OutOfMemory`` when a library is looked for that has no room."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> None:
        """Check the room for the library called ``name``."""
        if name in _LIBRARY_BYTES:
            check_room(name, _LIBRARY_BYTES[name])
