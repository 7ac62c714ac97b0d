"""Changing single settings in the configuration file, with everything else left as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmcli.errors import CannotCreate, ConfigError, MissingError
from llmcli.files import private_files
from llmcli.files.atomic_file import atomic_write
from llmcli.files.yaml_editor import UneditableYaml, remove_entry, set_entry
from llmcli.settings import SettingSpec, read_config


def set_setting(file: Path, spec: SettingSpec, text: str) -> Any:
    """Write ``text``, as typed on the command line, as the value of a setting; return the parsed value.

    Raises ``ConfigError`` for a value that the setting does not accept, and what ``edit_config`` raises.
    """
    stored = _as_yaml(spec, text)
    try:
        value = spec.parse(stored)
    except ValueError as error:
        raise ConfigError(spec.name, origin=ConfigError.COMMAND_LINE, detail=f"{error}, not {text!r}") from error
    edit_config(file, lambda before: set_entry(before, _key_path(before, spec.name), stored))
    return value


def unset_setting(file: Path, spec: SettingSpec) -> bool:
    """Remove a setting from the file, so that its default holds; return whether it was there."""
    if spec.name not in read_config(file):
        return False
    edit_config(file, lambda before: remove_entry(before, _key_path(before, spec.name)))
    return True


def edit_config(file: Path, edit: Callable[[str], str]) -> None:
    """Replace the text of the configuration file by ``edit`` of it; a missing file is empty and is created.

    Raises ``MissingError`` (cannot be read), ``ConfigError`` (its layout cannot be edited) and ``CannotCreate``.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise MissingError(str(file), kind="configuration", detail=error.strerror or "") from error
    try:
        edited = edit(text)
    except UneditableYaml as error:
        detail = "a command cannot edit the layout of this file"
        raise ConfigError(str(file), origin=str(file), detail=detail) from error
    try:
        private_files.make_directory(file.parent)
    except OSError as error:
        raise CannotCreate(str(file), detail=error.strerror or "") from error
    with atomic_write(str(file), mode=private_files.FILE_MODE) as stream:
        stream.write(edited.encode())


def _as_yaml(spec: SettingSpec, text: str) -> Any:
    """Return the value that the file gets: what YAML makes of ``text`` if it means the same there, else the text."""
    import yaml

    try:
        loaded = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text
    if isinstance(loaded, list | dict):
        return loaded
    try:
        return loaded if loaded is not None and spec.parse(loaded) == spec.parse(text) else text
    except ValueError:
        return text


def _key_path(text: str, name: str) -> Sequence[str]:
    """Return the keys under which the file has a setting, or would have it: nested where its section is a mapping."""
    import yaml

    tree = yaml.safe_load(text) or {}
    section, dot, key = name.partition(".")
    if name not in tree and dot and isinstance(tree.get(section), dict):
        return (section, key)
    return (name,)
