"""The values of all passages of a document become one object, or one list of objects without equal ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.fast_dataclass import field, slotted
from llmcli.tasks.extract.answer_values import ExtractedValue, Tree
from llmcli.tasks.extract.value_schema import LeafNode, ListNode, ObjectNode, ValueNode


def merge_objects(trees: Sequence[Tree]) -> Tree:
    """Return one tree of several passages: the likeliest of each value, and the items of all lists, equal ones once."""
    given = [tree for tree in trees if tree is not None]
    dicts = [tree for tree in given if isinstance(tree, dict)]
    if dicts:
        names = dict.fromkeys(name for tree in dicts for name in tree)
        return {name: merge_objects([tree[name] for tree in dicts if name in tree]) for name in names}
    lists = [tree for tree in given if isinstance(tree, list)]
    if lists:
        return drop_equal([item for tree in lists for item in tree])[0]
    values = [tree for tree in given if isinstance(tree, ExtractedValue)]
    return max(values, key=lambda each: each.probability or 0.0) if values else None


def drop_equal(items: Sequence[Tree]) -> tuple[list[Tree], int]:
    """Return the items without empty ones and those that equal an earlier one but for case, and how many did."""
    found: dict[str, Tree] = {}
    equal = _add_distinct(found, items)
    return list(found.values()), equal


def _add_distinct(found: dict[str, Tree], items: Sequence[Tree]) -> int:
    """Add the items that equal no earlier one and are not empty; return how many equalled others."""
    equal = 0
    for item in items:
        if not any(True for _ in iter_found(item)):
            continue
        key = json.dumps(to_plain(item), sort_keys=True, ensure_ascii=False).casefold()
        equal += key in found
        found.setdefault(key, item)
    return equal


class ObjectCollector:
    """The objects of all passages, which are added in the order of the text; ``duplicates`` counts equal ones.

    ``many``: the objects stand side by side, those that differ; otherwise they are one. Memory grows with the values.
    """

    def __init__(self, *, many: bool) -> None:
        self.duplicates = 0
        self._many = many
        self._distinct: dict[str, Tree] = {}
        self._merged: Tree = None

    def add(self, objects: Sequence[Tree]) -> None:
        """Add the objects of a passage."""
        if self._many:
            self.duplicates += _add_distinct(self._distinct, objects)
        else:
            self._merged = merge_objects([self._merged, *objects])

    @property
    def objects(self) -> list[Tree]:
        """The objects; of one object there is always one, which may be None."""
        return list(self._distinct.values()) if self._many else [self._merged]


def to_plain(tree: Tree) -> Any:
    """Return the values alone."""
    if isinstance(tree, dict):
        return {name: to_plain(each) for name, each in tree.items()}
    if isinstance(tree, list):
        return [to_plain(each) for each in tree]
    return tree if tree is None else tree.value


def iter_found(tree: Tree, path: str = "") -> Iterator[tuple[str, ExtractedValue]]:
    """Yield each value that is not null with its path, such as ``items[0].price``."""
    if isinstance(tree, dict):
        for name, each in tree.items():
            yield from iter_found(each, f"{path}.{name}" if path else name)
    elif isinstance(tree, list):
        for index, each in enumerate(tree):
            yield from iter_found(each, f"{path}[{index}]")
    elif tree is not None:
        yield path, tree


@slotted
class FittedTree:
    """A tree that fits its schema, as far as it has what is required; ``missing`` are the paths of what it lacks.

    ``left_out`` are the paths of incomplete or surplus items of lists.
    """

    tree: Tree = None
    missing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def fit_tree(node: ValueNode, tree: Tree) -> FittedTree:
    """Return a tree without the null values that its schema does not allow, where it need not have them."""
    fitted = FittedTree()
    fitted.tree = _fit(node, tree, "", fitted)
    return fitted


_ABSENT = ExtractedValue(None)
"""Stands for a value that is to be left out, or is missing if it is required."""


def _fit(node: ValueNode, tree: Tree, path: str, fitted: FittedTree) -> Tree:
    if isinstance(node, LeafNode):
        return tree if tree is not None or node.nullable else _ABSENT
    if isinstance(node, ListNode):
        return _fit_list(node, tree, path, fitted)
    if not isinstance(tree, dict):
        return None if node.nullable else _ABSENT
    return dict(_fit_properties(node, tree, path, fitted))


def _fit_properties(node: ObjectNode, tree: dict[str, Tree], path: str, fitted: FittedTree) -> dict[str, Tree]:
    found: dict[str, Tree] = {}
    for each in node.properties:
        name = f"{path}.{each.name}" if path else each.name
        own = FittedTree()
        value = _fit(each.node, tree.get(each.name), name, own)
        is_empty = not any(True for _ in iter_found(tree.get(each.name)))
        if own.missing and (is_empty or not each.required):  # an incomplete object
            fitted.left_out += [] if is_empty else [name]
            value, own = None if each.node.nullable else _ABSENT, FittedTree()
        fitted.missing += own.missing
        fitted.left_out += own.left_out
        if value is not _ABSENT:
            found[each.name] = value
        elif each.required:
            fitted.missing.append(name)
    return found


def _fit_list(node: ListNode, tree: Tree, path: str, fitted: FittedTree) -> Tree:
    items: list[Tree] = []
    for index, item in enumerate(tree if isinstance(tree, list) else []):
        own = FittedTree()
        value = _fit(node.item, item, f"{path}[{index}]", own)
        if own.missing or value is _ABSENT or (node.max_items is not None and len(items) >= node.max_items):
            fitted.left_out.append(f"{path}[{index}]")
        else:
            items.append(value)
            fitted.left_out += own.left_out
    if len(items) < node.min_items:
        return None if node.nullable else _ABSENT
    return items
