"""Backends in the configuration file: adding, replacing and removing them, with everything else left as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcli.errors import CannotCreate, ConfigError, MissingError, UsageError
from llmcli.files import private_files
from llmcli.files.atomic_file import atomic_write
from llmcli.files.yaml_editor import UneditableYaml, remove_entry, set_entry
from llmcli.settings import read_config

_SECTION = "backends"


def add_backend(file: Path, name: str, fields: Mapping[str, Any], *, force: bool = False) -> None:
    """Add a backend, whose fields were checked; ``force`` replaces the one of this name.

    Raises ``CannotCreate`` if there is one, and what reading and writing the file raise.
    """
    if name in _backends(file) and not force:
        raise UsageError(f"there is a backend {name} already", detail="Add --force to replace it, or: llm config edit")
    _write(file, lambda text: set_entry(text, _SECTION, name, fields))


def remove_backend(file: Path, name: str) -> None:
    """Remove a backend. Raises ``MissingError`` if the file has none of this name."""
    known = _backends(file)
    if name not in known:
        raise MissingError(name, kind="backend", suggestions=tuple(known))
    _write(file, lambda text: remove_entry(text, _SECTION, name))


def _backends(file: Path) -> Mapping[str, Any]:
    found = read_config(file).get(_SECTION)
    return found if isinstance(found, Mapping) else {}


def _write(file: Path, edit: Any) -> None:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise MissingError(str(file), kind="configuration", detail=error.strerror or "") from error
    try:
        edited = edit(text)
    except UneditableYaml as error:
        detail = "the layout of backends cannot be edited by a command"
        raise ConfigError(str(file), origin=str(file), detail=detail) from error
    try:
        private_files.make_directory(file.parent)
    except OSError as error:
        raise CannotCreate(str(file), detail=error.strerror or "") from error
    with atomic_write(str(file), mode=private_files.FILE_MODE) as stream:
        stream.write(edited.encode())
