"""Which protected texts belong together: both ends of a link, tags, the parts of a plural.

A translation may reorder groups, but not their members, and pairs may not overlap partially.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from llmcli.frozen_dataclass import field, slotted

_NAME = re.compile(r"</?\s*([A-Za-z][\w:.-]*)")
_VOID_ELEMENTS = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)


@slotted
class _SpanGroup:
    """Texts that belong together, by their numbers; ``name``: of a tag."""

    kind: str
    name: str
    numbers: list[int] = field(default_factory=list)


def group_spans(texts: Sequence[str], kinds: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the groups of protected texts, as their numbers from 1 in order; single texts have none."""
    opened: list[_SpanGroup] = []
    found: list[tuple[int, ...]] = []
    for number, (text, kind) in enumerate(zip(texts, kinds, strict=True), 1):
        role, name = _span_role(text, kind)
        if role == "open":
            opened.append(_SpanGroup(kind, name, [number]))
            continue
        at = _find_open_group(opened, role, kind, name)
        if at is None:
            continue
        del opened[at + 1 :]  # they have no end
        opened[at].numbers.append(number)
        if role == "close" or (role == "part" and opened[at].name in _VOID_ELEMENTS and text.endswith(">")):
            found.append(tuple(opened.pop().numbers))
    return found


def keeps_group_order(answer: Sequence[int], wanted: Sequence[int], pairs: Sequence[tuple[int, ...]]) -> bool:
    """Return whether the numbers of an answer keep the groups of a text with the numbers ``wanted``.

    If the text has only a part of a group, all grouped texts have to stay in order.
    """
    here = set(wanted)
    touched = [pair for pair in pairs if here & set(pair)]
    grouped = {number for pair in touched for number in pair}
    if any(not here.issuperset(pair) for pair in touched):
        return [n for n in answer if n in grouped] == [n for n in wanted if n in grouped]
    following = {a: b for pair in touched for a, b in pairwise(pair)}
    first = {pair[0] for pair in touched}
    expected: list[int] = []
    for number in answer:
        if number not in grouped:
            continue
        if number not in first and (not expected or expected.pop() != number):
            return False
        if number in following:
            expected.append(following[number])
    return not expected


def _span_role(text: str, kind: str) -> tuple[str, str]:
    """Return "open", "part" (of a group that continues), "close" or "" for a single text, and the name of a tag."""
    if kind == "link":
        return "open", ""
    if kind == "target":
        return ("part" if text.startswith("]") and not text.endswith((")", "]")) else "close"), ""
    if kind == "tag":
        return _tag_role(text)
    depth = lowest = 0
    for character in text if kind == "placeholder" else "":
        depth += (character == "{") - (character == "}")
        lowest = min(lowest, depth)
    if lowest == 0:
        return ("open" if depth else ""), ""
    return ("part" if depth > lowest else "close"), ""


def _tag_role(text: str) -> tuple[str, str]:
    match = _NAME.match(text)
    name = match[1].lower() if match else ""
    if text.startswith("</"):
        return "close", name
    if not text.startswith("<"):  # the text after an attribute
        return "part", ""
    if text.endswith(">") and (text.endswith("/>") or name in _VOID_ELEMENTS or not name):
        return "", name
    return "open", name


def _find_open_group(opened: Sequence[_SpanGroup], role: str, kind: str, name: str) -> int | None:
    """Return the index of the group that a text continues or ends."""
    wanted = "link" if kind == "target" else kind
    if not role:
        return None
    for index in range(len(opened) - 1, -1, -1):
        group = opened[index]
        if group.kind == wanted and (not name or role != "close" or group.name == name):
            return index
    return None
