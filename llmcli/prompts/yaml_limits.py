"""What a small file of YAML could use much memory or time for: aliases and long numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml

MAX_EXPANDED_VALUES = 100_000
"""Values of a document with aliases, each of which counts as all that it stands for."""


MAX_NUMBER_CHARS = 100
"""Converting a number of base 60 takes time that grows with the square of its length."""
_NUMBER_TAGS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})


def find_excess(root: yaml.Node) -> tuple[int, str] | None:
    """Return the line and the problem of a document that exceeds a limit, or whose aliases stand for what they are in.

    A document without aliases may have any number of values.
    """
    sizes: dict[int, int] = {}  # of the nodes that are done, with everything in them
    open_nodes: set[int] = set()
    ahead = [root]
    while ahead:
        node = ahead[-1]
        children = _children(node)
        if id(node) in sizes:
            ahead.pop()
        elif node.tag in _NUMBER_TAGS and len(node.value) > MAX_NUMBER_CHARS:
            return node.start_mark.line + 1, f"a number has more than {MAX_NUMBER_CHARS} characters"
        elif id(node) in open_nodes or not children:
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
            open_nodes.discard(id(node))
            ahead.pop()
        else:
            open_nodes.add(id(node))
            if any(id(child) in open_nodes for child in children):
                return node.start_mark.line + 1, "an alias refers to a value that it is a part of"
            ahead += children
    if sizes[id(root)] > max(len(sizes), MAX_EXPANDED_VALUES):
        return root.start_mark.line + 1, f"its aliases stand for more than {MAX_EXPANDED_VALUES:,} values"
    return None


def _children(node: yaml.Node) -> list[yaml.Node]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
