"""Parsed prompt files, cached as JSON: importing the YAML parser takes a tenth of a warm command.

An entry stores the text that it was parsed from and is valid for this text alone, so it cannot be out of date.
"""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli.files import private_files

YamlTree = dict[str, Any]
YamlLines = dict[tuple[str | int, ...], tuple[int, int]]


def load_tree(cache: Path, text: str) -> tuple[YamlTree, YamlLines] | None:
    """Return the tree stored in the directory ``cache`` for ``text``; None if there is no usable entry."""
    try:
        kept = json.loads(_cache_file(cache, text).read_bytes())
        if kept["text"] != text or not isinstance(kept["tree"], dict):
            return None
        return kept["tree"], {tuple(path): (first, second) for path, first, second in kept["lines"]}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def store_tree(cache: Path, text: str, tree: YamlTree, lines: YamlLines) -> None:
    """Store a tree for ``load_tree`` if the cache is writable and JSON can represent the tree (not so for dates)."""
    with suppress(OSError, ValueError, TypeError, RecursionError):
        content = json.dumps({"text": text, "tree": tree, "lines": [(path, *both) for path, both in lines.items()]})
        if json.loads(content)["tree"] != tree:  # keys that are not strings
            return
        private_files.replace_file(_cache_file(cache, text), content.encode())


def _cache_file(cache: Path, text: str) -> Path:
    return cache / f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}.json"
