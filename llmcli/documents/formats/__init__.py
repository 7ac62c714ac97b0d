"""The formats of documents that can be translated: found by name, by the file's ending, by what the text looks like.

Each module here is a ``Format``: its name, ``split`` and ``check``. A module is imported when its format is wanted.
"""

from __future__ import annotations

import difflib
import importlib
import re
from typing import cast

from llmcli.documents.segments import Format
from llmcli.errors import UsageError

FORMATS: tuple[str, ...] = ("plain", "markdown", "html", "srt", "vtt", "po", "json", "yaml", "properties")

_ALIASES = {
    "text": "plain", "txt": "plain", "rst": "plain", "log": "plain",
    "md": "markdown", "mkd": "markdown", "mdown": "markdown", "mdx": "markdown", "qmd": "markdown", "rmd": "markdown",
    "htm": "html", "xhtml": "html",
    "webvtt": "vtt",
    "pot": "po", "gettext": "po",
    "arb": "json", "yml": "yaml",
    "props": "properties",
}  # fmt: skip
SUFFIXES: tuple[str, ...] = tuple(f".{word}" for word in [*FORMATS[1:], *_ALIASES] if word not in {"text", "log"})
"""Endings of the files that a directory is searched for."""
_LOOKED_AT = 100_000
"""Characters of a text that are looked at for its format."""

# In this order: what only one format begins with comes first.
_SIGNS: tuple[tuple[str, str], ...] = (
    ("vtt", r"\AWEBVTT(?:[ \t\r\n]|\Z)"),
    ("html", r"\A\s*+(?:<!--(?:[^-]|-(?!->))*+-->\s*+)?<(?:!doctype\s+html|html|head|body)\b"),
    ("srt", r"\A\s*+\d+[ \t]*\r?\n\d+:\d\d:\d\d[,.]\d{1,3}[ \t]*-->"),
    ("po", r'^(?:#~ )?msgid[ \t]+"'),
    ("markdown", r"\A---[ \t]*\r?\n(?:[^\r\n]*+\r?\n)*?---[ \t]*(?:\r?\n|\Z)"),
    ("yaml", r"\A(?:[ \t]*(?:#[^\n]*)?\n)*+(?:---[ \t]*\n)?[\w-]+:[ \t]*\r?\n[ \t]+[\w-]+:(?:\s|\Z)"),
    ("properties", r"\A(?:[ \t]*(?:[#!][^\n]*)?\n)*+[\w-]+(?:\.[\w-]+)++[ \t]*=[ \t]*\S"),
    ("json", r"\A\s*+[{\[]\s*+[\"{\[\]}]"),
    ("markdown", r"^ {0,3}(?:#{1,6}[ \t]+\S|```|~~~|[-*+] +\[[^\]\n]{1,200}\]\(|\[[^\]\n]{1,200}\]:[ \t]+\S)"),
    ("markdown", r"\]\([^()\s]{1,500}\)|^ {0,3}\|?[ :-]*-{3,}[ :-]*\|[-| :]*$|^[^\s=-][^\n]*\n(?:={3,}|-{3,})[ \t]*$"),
)


def find_format(name: str, text: str, wanted: str | None = None) -> Format:
    """Return the format called ``wanted``, else that of the ending of ``name``, else what the text looks like.

    Raises ``UsageError`` where there is no format called ``wanted``.
    """
    if wanted is not None:
        return _load(_named(wanted))
    ending = name.rpartition("/")[2].rpartition(".")
    known = _known(ending[2]) if ending[1] else None
    return _load(known or _by_content(text))


def _known(word: str) -> str | None:
    word = word.lower()
    return word if word in FORMATS else _ALIASES.get(word)


def _named(wanted: str) -> str:
    known = _known(wanted.strip().removeprefix("."))
    if known is None:
        near = difflib.get_close_matches(wanted.lower(), [*FORMATS, *_ALIASES], n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Formats: {', '.join(FORMATS)}"
        raise UsageError(f"no format called {wanted}", detail=hint)
    return known


def _by_content(text: str) -> str:
    looked_at = text[:_LOOKED_AT].removeprefix("\ufeff")
    return next((name for name, sign in _SIGNS if re.search(sign, looked_at, re.MULTILINE | re.IGNORECASE)), "plain")


def _load(name: str) -> Format:
    modules = {"srt": "subtitles", "vtt": "subtitles", "po": "gettext", "json": "json_messages"}
    modules |= {"yaml": "yaml_messages"}
    module = importlib.import_module(f"llmcli.documents.formats.{modules.get(name, name)}")
    if name in {"srt", "vtt"}:
        return cast("Format", getattr(module, name.upper()))
    return cast("Format", module)
