"""YAML files that people write: the configuration, labels with descriptions, words to swap."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from llmcli.errors import BadDocument

if TYPE_CHECKING:
    import yaml


def parse_yaml_file(text: str, name: str, *, kind: str = "", as_texts: bool = False) -> Any:
    """Return what the YAML file called ``name`` holds.

    ``as_texts``: with mappings, lists and texts, and None for nothing. A label ``yes`` or ``1.0`` is a text as it was
    written; YAML makes it True, or the same key as ``1``.

    Raises ``BadDocument`` of a ``kind`` for what is no YAML, and for a key that is given twice: the parser drops the
    first.
    """
    import yaml

    try:
        loader = _make_text_loader() if as_texts else yaml.SafeLoader
        repeated = next(_find_repeated_keys(yaml.compose(text, Loader=loader), set()), None)
        tree = yaml.load(text, Loader=loader)  # noqa: S506 (it is a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = text.rstrip("\n").count("\n")  # a mark at the end of the file is beyond its last line
        line = min(mark.line, last) + 1 if mark else None
        raise BadDocument(name, line=line, detail=f"not YAML: {error.problem}", kind=kind) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise BadDocument(name, line=line, detail=f"not YAML: {error.reason}", kind=kind) from error
    except (ValueError, RecursionError) as error:  # a date such as 2024-13-45, a number of 5,000 digits, a deep list
        raise BadDocument(name, detail=f"not YAML: {error}", kind=kind) from error
    if repeated is not None:
        line = repeated.start_mark.line + 1
        raise BadDocument(name, line=line, detail=f"{repeated.value} is given twice", kind=kind)
    return tree


@cache
def _make_text_loader() -> type[yaml.SafeLoader]:
    """Return a safe loader that knows merge keys (``<<``) and nothing; all other plain scalars are texts."""
    import yaml

    class TextLoader(yaml.SafeLoader):
        yaml_implicit_resolvers = {each: yaml.SafeLoader.yaml_implicit_resolvers[each] for each in ("<", "")}  # noqa: RUF012 (as in PyYAML)

    return TextLoader


def _find_repeated_keys(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    """Yield the keys that their mapping has twice, in ``node`` and below; an alias is a node that was ``seen``."""
    import yaml

    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _find_repeated_keys(child, seen)
    elif isinstance(node, yaml.MappingNode):
        keys = set[tuple[str, str]]()
        for key, child in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in keys:
                    yield key
                keys.add((key.tag, key.value))
            yield from _find_repeated_keys(child, seen)
