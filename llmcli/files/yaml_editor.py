"""Adding and removing one entry of a mapping in a YAML file, so that everything else stays as it is, comments too.

The text is edited at the positions that the parser reports. The outcome is parsed again and compared with what was
wanted, so that an unusual layout (aliases, merge keys) is refused rather than damaged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_INDENT = 2


class UneditableYaml(ValueError):
    """The layout of the file is none that can be edited by a program."""


def set_entry(text: str, section: str, name: str, value: Mapping[str, Any]) -> str:
    """Return ``text`` with the entry ``name`` of the top-level mapping ``section`` set to ``value``.

    Raises ``UneditableYaml``.
    """
    import yaml

    before = yaml.safe_load(text) or {}
    wanted = {**before, section: {**(before.get(section) or {}), name: dict(value)}}
    if name in (before.get(section) or {}):
        text = _remove(text, section, name)
    return _verified(_add(text, section, name, value), wanted)


def remove_entry(text: str, section: str, name: str) -> str:
    """Return ``text`` without the entry ``name`` of the top-level mapping ``section``. Raises ``UneditableYaml``."""
    import yaml

    before = yaml.safe_load(text)
    wanted = {**before, section: {key: each for key, each in before[section].items() if key != name}}
    return _verified(_remove(text, section, name), wanted)


def _verified(text: str, wanted: Mapping[str, Any]) -> str:
    import yaml

    try:
        outcome = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UneditableYaml from error
    if outcome != wanted:
        raise UneditableYaml
    return text


def _compose(text: str) -> Any:
    import yaml

    return yaml.compose(text, Loader=yaml.SafeLoader)


def _find_pair(mapping: Any, name: str) -> tuple[int, Any, Any] | None:
    """Return position, key node and value node of an entry."""
    pairs = enumerate(mapping.value if mapping is not None and mapping.id == "mapping" else ())
    return next(((index, key, value) for index, (key, value) in pairs if key.value == name), None)


# ---- adding -------------------------------------------------------------------------------------------------------


def _add(text: str, section: str, name: str, value: Mapping[str, Any]) -> str:
    root = _compose(text)
    found = _find_pair(root, section)
    if root is not None and root.flow_style:
        if found is None:
            return _add_to_flow(text, root, f"{json.dumps(section)}: {{{_flow_entry(name, value)}}}")
        return _add_to_flow(text, found[2], _flow_entry(name, value))
    if found is None:
        lines = text if not text or text.endswith("\n") else f"{text}\n"
        return f"{lines}{section}:\n{_block_entry(name, value, _INDENT)}"
    _, key, mapping = found
    if mapping.id != "mapping" or not mapping.value:  # nothing, or {}
        start = max(mapping.start_mark.index, key.end_mark.index)
        text = text[:start].rstrip(" ") + text[max(start, mapping.end_mark.index) :]
        at = _line_end(text, key.end_mark.index)
        return _insert_lines(text, at, _block_entry(name, value, key.start_mark.column + _INDENT))
    if mapping.flow_style:
        return _add_to_flow(text, mapping, _flow_entry(name, value))
    column = mapping.value[0][0].start_mark.column
    return _insert_lines(text, _block_end(text, mapping), _block_entry(name, value, column))


def _flow_entry(name: str, value: Mapping[str, Any]) -> str:
    return f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"


def _add_to_flow(text: str, mapping: Any, entry: str) -> str:
    if not getattr(mapping, "flow_style", False):
        raise UneditableYaml
    end = mapping.end_mark.index - 1
    return f"{text[:end]}{', ' if mapping.value else ''}{entry}{text[end:]}"


def _block_entry(name: str, value: Mapping[str, Any], column: int) -> str:
    import yaml

    block = yaml.safe_dump(
        {name: dict(value)}, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1000
    )
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


def _remove(text: str, section: str, name: str) -> str:
    found = _find_pair(_compose(text), section)
    entry = None if found is None else _find_pair(found[2], name)
    if found is None or entry is None:
        raise UneditableYaml
    (_, section_key, mapping), (index, key, value) = found, entry
    if mapping.flow_style:
        return _remove_from_flow(text, mapping, index)
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    text = text[:start] + text[_block_end(text, value) :]
    if len(mapping.value) > 1:
        return text
    colon = text.index(":", section_key.end_mark.index)  # an empty mapping would be no mapping at all
    return f"{text[: colon + 1]} {{}}{text[colon + 1 :]}"


def _remove_from_flow(text: str, mapping: Any, index: int) -> str:
    pairs = mapping.value
    if index + 1 < len(pairs):
        return text[: pairs[index][0].start_mark.index] + text[pairs[index + 1][0].start_mark.index :]
    start = pairs[index - 1][1].end_mark.index if index else pairs[index][0].start_mark.index
    return text[:start] + text[pairs[index][1].end_mark.index :]
