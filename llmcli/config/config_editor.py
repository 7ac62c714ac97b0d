"""Changing single settings in the configuration file, with everything else left as it is, comments too.

An entry lies in the top-level mapping (``path`` of one key) or in a mapping of it (``path`` of two keys).

The text is edited at the positions that the parser reports. The outcome is parsed again and compared with what was
wanted, so that an unusual layout (aliases, merge keys) is refused rather than damaged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from llmcli.errors import CannotCreate, ConfigError
from llmcli.files import file_lock, private_files
from llmcli.files.atomic_file import write_user_file
from llmcli.settings import SettingSpec, parse_config, read_config, read_config_text


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

    One process edits at a time, so that no change of two commands is lost.

    Raises as ``read_config_text`` and ``parse_config``, ``ConfigError`` (its layout cannot be edited) and
    ``CannotCreate``.
    """
    with _hold_lock(file):
        text = read_config_text(file)
        parse_config(file, text)
        try:
            edited = edit(text)
        except UneditableYaml as error:
            detail = "a command cannot edit the layout of this file"
            raise ConfigError(str(file), origin=str(file), detail=detail) from error
        write_user_file(file, edited.encode())


@contextmanager
def _hold_lock(file: Path) -> Iterator[None]:
    """Hold the lock of the configuration file, which lies beside it. Raises ``CannotCreate``."""
    with ExitStack() as stack:
        try:
            private_files.make_directory(file.parent)
            stack.enter_context(file_lock.hold_lock_if_supported(file.with_name(f".{file.name}.lock")))
        except OSError as error:
            raise CannotCreate(str(file), detail=error.strerror or "") from error
        yield


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


_KeyPath = Sequence[str]
_INDENT = 2


class UneditableYaml(ValueError):
    """The layout of the file is none that can be edited by a program."""


def set_entry(text: str, path: _KeyPath, value: Any) -> str:
    """Return ``text`` with the entry at ``path`` set to ``value``: a scalar, a list or a mapping.

    Raises ``UneditableYaml``.
    """
    *section, name = path
    wanted = _load(text)
    if section:
        wanted[section[0]] = {**(wanted.get(section[0]) or {}), name: value}
    else:
        wanted[name] = value
    _, _, pair = _locate(text, path)
    if pair is not None and _is_inline_scalar(pair[2]) and not isinstance(value, Mapping | list):
        return _verified(_replace(text, pair[2], _flow_text(value)), wanted)
    if pair is not None:
        text = _remove(text, path)
    return _verified(_add(text, section, name, value), wanted)


def remove_entry(text: str, path: _KeyPath) -> str:
    """Return ``text`` without the entry at ``path``. Raises ``UneditableYaml``, also if there is none."""
    *section, name = path
    wanted = _load(text)
    mapping = wanted.get(section[0]) if section else wanted
    if not isinstance(mapping, dict) or name not in mapping:
        raise UneditableYaml
    left = {key: value for key, value in mapping.items() if key != name}
    wanted = {**wanted, section[0]: left} if section else left
    return _verified(_remove(text, path), wanted)


def _load(text: str) -> dict[Any, Any]:
    import yaml

    return yaml.safe_load(text) or {}


def _verified(text: str, wanted: Mapping[str, Any]) -> str:
    import yaml

    try:
        outcome = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UneditableYaml from error
    if (outcome or {}) != wanted:
        raise UneditableYaml
    return text


def _compose(text: str) -> Any:
    import yaml

    return yaml.compose(text, Loader=yaml.SafeLoader)


def _find_pair(mapping: Any, name: str) -> tuple[int, Any, Any] | None:
    """Return position, key node and value node of an entry."""
    pairs = enumerate(mapping.value if mapping is not None and mapping.id == "mapping" else ())
    return next(((index, key, value) for index, (key, value) in pairs if key.value == name), None)


def _locate(text: str, path: _KeyPath) -> tuple[Any, Any, tuple[int, Any, Any] | None]:
    """Return the root, the mapping that holds the entry at ``path``, and position and nodes of the entry."""
    root = mapping = _compose(text)
    for name in path[:-1]:
        found = _find_pair(mapping, name)
        mapping = None if found is None else found[2]
    return root, mapping, _find_pair(mapping, path[-1])


# ---- replacing ----------------------------------------------------------------------------------------------------


def _is_inline_scalar(node: Any) -> bool:
    return node.id == "scalar" and node.style not in {"|", ">"} and node.end_mark.index > node.start_mark.index


def _replace(text: str, node: Any, value: str) -> str:
    return f"{text[: node.start_mark.index]}{value}{text[node.end_mark.index :]}"


# ---- adding -------------------------------------------------------------------------------------------------------


def _add(text: str, sections: Sequence[str], name: str, value: Any) -> str:
    root = _compose(text)
    if not sections:
        return _add_to_root(text, root, name, value)
    (section,) = sections
    found = _find_pair(root, section)
    if found is None:
        return _add_to_root(text, root, section, {name: value})
    if root.flow_style:
        return _add_to_flow(text, found[2], name, value)
    _, key, mapping = found
    if mapping.id != "mapping" or not mapping.value:  # nothing, or {}
        start = max(mapping.start_mark.index, key.end_mark.index)
        text = text[:start].rstrip(" ") + text[max(start, mapping.end_mark.index) :]
        at = _line_end(text, key.end_mark.index)
        return _insert_lines(text, at, _block_entry(name, value, key.start_mark.column + _INDENT))
    if mapping.flow_style:
        return _add_to_flow(text, mapping, name, value)
    column = mapping.value[0][0].start_mark.column
    return _insert_lines(text, _block_end(text, mapping), _block_entry(name, value, column))


def _add_to_root(text: str, root: Any, name: str, value: Any) -> str:
    if root is not None and root.flow_style:
        return _add_to_flow(text, root, name, value)
    return _insert_lines(text, len(text), _block_entry(name, value, 0))


def _flow_text(value: Any) -> str:
    """Return a scalar as YAML that is valid in block and flow mappings."""
    import yaml

    return str(yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=math.inf)).strip()[1:-1]


def _add_to_flow(text: str, mapping: Any, name: str, value: Any) -> str:
    if not getattr(mapping, "flow_style", False):
        raise UneditableYaml
    entry = f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
    end = mapping.end_mark.index - 1
    return f"{text[:end]}{', ' if mapping.value else ''}{entry}{text[end:]}"


def _block_entry(name: str, value: Any, column: int) -> str:
    import yaml

    block = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1000)
    return "".join(f"{' ' * column}{line}\n" for line in block.splitlines())


def _insert_lines(text: str, at: int, lines: str) -> str:
    before = text[:at] if not at or text[:at].endswith("\n") else f"{text[:at]}\n"
    return f"{before}{lines}{text[at:]}"


def _line_end(text: str, at: int) -> int:
    """Return where the line of position ``at`` ends, its newline included."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _block_end(text: str, node: Any) -> int:
    """Return the end of the last line that belongs to ``node``; comments below it do not."""
    while node.id in {"mapping", "sequence"} and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    end = node.end_mark
    return int(end.index) if end.column == 0 and end.index else _line_end(text, end.index)


# ---- removing -----------------------------------------------------------------------------------------------------


def _remove(text: str, path: _KeyPath) -> str:
    root, mapping, entry = _locate(text, path)
    if mapping is None or entry is None:
        raise UneditableYaml
    index, key, value = entry
    if mapping.flow_style:
        return _remove_from_flow(text, mapping, index)
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    text = text[:start] + text[_block_end(text, value) :]
    if mapping is root or len(mapping.value) > 1:
        return text
    section_key = next(key for key, node in root.value if node is mapping)
    colon = text.index(":", section_key.end_mark.index)  # an empty mapping would be no mapping at all
    return f"{text[: colon + 1]} {{}}{text[colon + 1 :]}"


def _remove_from_flow(text: str, mapping: Any, index: int) -> str:
    pairs = mapping.value
    if index + 1 < len(pairs):
        return text[: pairs[index][0].start_mark.index] + text[pairs[index + 1][0].start_mark.index :]
    start = pairs[index - 1][1].end_mark.index if index else pairs[index][0].start_mark.index
    return text[:start] + text[pairs[index][1].end_mark.index :]
