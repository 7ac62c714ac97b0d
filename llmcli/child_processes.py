"""Processes of our own that stay behind a command: what they inherit of it, which is as little as possible."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

RUNTIME_ENV_PREFIXES = ("CUDA_", "GGML_", "GOMP_", "HIP_", "HSA_", "LLAMA_", "OMP_", "ROCR_", "VK_")
"""Beginnings of the variables by which the libraries under the engine are steered."""
RUNTIME_ENV_DEFAULTS = {"GGML_NO_BACKTRACE": "1", "GOMP_SPINCOUNT": "1000"}
"""What the engine sets of these before it loads llama.cpp, unless somebody else has.

Without the first a failed assertion starts a debugger for over a second. GNU OpenMP's threads spin at the end of each
operation: when another process holds one of the cores, the default lets them spin for the whole of its time slice, and 0
makes every operation a system call.
"""
_INHERITED_VARIABLES = frozenset(
    {"PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT"}
)


def child_env(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for such a process: what finds programs and libraries and steers them, and no secrets.

    Modules are found as in this process, though neither its directory nor an installation of ours be there.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name in _INHERITED_VARIABLES or name.startswith(RUNTIME_ENV_PREFIXES)
    }
    return kept | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of ours, and takes none from the directory that it runs in."""
    return [sys.executable, "-P", "-m", module, *arguments]
