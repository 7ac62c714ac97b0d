"""What the YAML parser made of prompt files, kept as JSON for the next command: importing it takes a tenth of a warm one.

An entry holds the text that it was made from and counts for this text alone, so nothing in it can be out of date.
"""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli import private_files

Tree = dict[str, Any]
Lines = dict[tuple[str | int, ...], tuple[int, int]]


def recall(cache: Path, text: str) -> tuple[Tree, Lines] | None:
    """Return what was kept in the directory ``cache`` about ``text``; None where nothing usable was."""
    try:
        kept = json.loads(_file(cache, text).read_bytes())
        if kept["text"] != text or not isinstance(kept["tree"], dict):
            return None
        return kept["tree"], {tuple(place): (first, second) for place, first, second in kept["lines"]}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def keep(cache: Path, text: str, tree: Tree, lines: Lines) -> None:
    """Keep it for ``recall``, where it can be written, and where JSON holds all of it (no dates, for one)."""
    with suppress(OSError, ValueError, TypeError, RecursionError):
        content = json.dumps({"text": text, "tree": tree, "lines": [(place, *both) for place, both in lines.items()]})
        if json.loads(content)["tree"] != tree:  # keys that are no texts
            return
        private_files.replace_file(_file(cache, text), content.encode())


def _file(cache: Path, text: str) -> Path:
    return cache / f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}.json"
