"""Finds the ``llm`` that the shell runs: another well-known tool installs a command of the same name."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from llmcli.frozen_dataclass import frozen

_ENTRY_POINT = b"llmcli.cli.main"  # occurs in the script that installers write for our entry point
_HEAD_BYTES = 8192  # bytes; such scripts are short


@frozen
class InstalledCommand:
    """An executable on PATH. ``llmcli``: whether it runs this program; ``same_installation``: whether with this Python."""

    path: Path
    llmcli: bool
    same_installation: bool


def find_executables(name: str, environ: Mapping[str, str], python: str = sys.executable) -> list[InstalledCommand]:
    """Return the executables called ``name`` on PATH, in its order, each once."""
    found: dict[str, InstalledCommand] = {}
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        path = Path(directory or ".") / name
        if path.is_file() and os.access(path, os.X_OK):
            found.setdefault(os.path.realpath(path), _inspect_executable(path, python))
    return list(found.values())


def _inspect_executable(path: Path, python: str) -> InstalledCommand:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        head = b""
    llmcli = _ENTRY_POINT in head
    # the interpreter is in the first line, or in the second if its path is too long for the first
    first_lines = b"\n".join(head.split(b"\n", 3)[:3])
    beside = {os.fsencode(Path(python).with_name(each)) for each in (Path(python).name, "python", "python3")}
    return InstalledCommand(path, llmcli, llmcli and any(each in first_lines for each in beside))
