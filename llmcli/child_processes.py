"""The processes that llm starts: their environment, and how many files and sockets they may have open."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from llmcli import engine_library

_INHERITED_VARIABLES = frozenset(
    {"PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT"}
)


def child_env(environ: Mapping[str, str]) -> dict[str, str]:
    """Return a child's environment: variables for programs and libraries, no secrets.

    The child finds modules as this process does, even from another directory or without llmcli installed, and loads the
    same library of llama.cpp, even if another one is selected meanwhile.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name in _INHERITED_VARIABLES or name.startswith(engine_library.RUNTIME_ENV_PREFIXES)
    }
    library = engine_library.find_library(environ)
    if library is not None:
        kept[engine_library.LIBRARY_VARIABLE] = str(library.directory)
    return kept | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of llmcli, without importing from the current directory."""
    return [sys.executable, "-P", "-m", module, *arguments]


_MAX_DESCRIPTORS = 8192


def raise_descriptor_limit() -> None:
    """Raise the limit on descriptors as far as the system allows without privileges."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_MAX_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # the lower limit stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
