"""Backends in the configuration file: adding, replacing and removing them, with everything else left as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcli.configuration.config_editor import edit_config
from llmcli.errors import MissingError, UsageError
from llmcli.files.yaml_editor import remove_entry, set_entry
from llmcli.settings import read_config

_SECTION = "backends"


def add_backend(file: Path, name: str, fields: Mapping[str, Any], *, force: bool = False) -> None:
    """Add a backend, whose fields were checked; ``force`` replaces the one of this name.

    Raises ``CannotCreate`` if there is one, and what reading and writing the file raise.
    """
    if name in _backends(file) and not force:
        raise UsageError(f"there is a backend {name} already", detail="Add --force to replace it, or: llm config edit")
    edit_config(file, lambda text: set_entry(text, (_SECTION, name), dict(fields)))


def remove_backend(file: Path, name: str) -> None:
    """Remove a backend. Raises ``MissingError`` if the file has none of this name."""
    known = _backends(file)
    if name not in known:
        raise MissingError(name, kind="backend", suggestions=tuple(known))
    edit_config(file, lambda text: remove_entry(text, (_SECTION, name)))


def _backends(file: Path) -> Mapping[str, Any]:
    found = read_config(file).get(_SECTION)
    return found if isinstance(found, Mapping) else {}
