"""The formats of documents that can be translated: found by name, by the file's suffix, or by content.

Each format's module (``_MODULES``) is a ``DocumentFormat``: its name, ``split`` and ``check``. It is imported when its
format is first needed.
"""

from __future__ import annotations

import difflib
import importlib
import re
from typing import cast

from llmcli.documents.segments import DocumentFormat
from llmcli.errors import UsageError

FORMAT_NAMES: tuple[str, ...] = ("plain", "markdown", "html", "srt", "vtt", "po", "json", "yaml", "properties")

_ALIASES = {
    "text": "plain", "txt": "plain", "rst": "plain", "log": "plain",
    "md": "markdown", "mkd": "markdown", "mdown": "markdown", "mdx": "markdown", "qmd": "markdown", "rmd": "markdown",
    "htm": "html", "xhtml": "html",
    "webvtt": "vtt",
    "pot": "po", "gettext": "po",
    "arb": "json", "yml": "yaml",
    "props": "properties",
}  # fmt: skip
SUFFIXES: tuple[str, ...] = tuple(f".{word}" for word in [*FORMAT_NAMES[1:], *_ALIASES] if word not in {"text", "log"})
"""Suffixes of the files that are found in a directory."""
_MODULES = {
    "plain": "plain_text",
    "markdown": "markup.markdown_format",
    "html": "markup.html_format",
    "srt": "subtitles",
    "vtt": "subtitles",
    "po": "message_files.po",
    "json": "message_files.json_messages",
    "yaml": "message_files.yaml_messages",
    "properties": "message_files.properties",
}
_SNIFFED_CHARS = 100_000
"""Characters of a text that are searched for its format."""

# In this order: the beginnings that are unique to one format come first.
_SNIFF_PATTERNS: tuple[tuple[str, str], ...] = (
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


def find_format(name: str, text: str, wanted: str | None = None) -> DocumentFormat:
    """Return the format called ``wanted``, else that of the suffix of ``name``, else the one that ``text`` looks like.

    Raises ``UsageError`` where there is no format called ``wanted``.
    """
    if wanted is not None:
        return _load_format(_require_name(wanted))
    ending = name.rpartition("/")[2].rpartition(".")
    known = _resolve_name(ending[2]) if ending[1] else None
    return _load_format(known or _sniff(text))


def _resolve_name(word: str) -> str | None:
    word = word.lower()
    return word if word in FORMAT_NAMES else _ALIASES.get(word)


def _require_name(wanted: str) -> str:
    known = _resolve_name(wanted.strip().removeprefix("."))
    if known is None:
        near = difflib.get_close_matches(wanted.lower(), [*FORMAT_NAMES, *_ALIASES], n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Formats: {', '.join(FORMAT_NAMES)}"
        raise UsageError(f"no format called {wanted}", detail=hint)
    return known


def _sniff(text: str) -> str:
    looked_at = text[:_SNIFFED_CHARS].removeprefix("\ufeff")
    return next(
        (name for name, sign in _SNIFF_PATTERNS if re.search(sign, looked_at, re.MULTILINE | re.IGNORECASE)), "plain"
    )


def _load_format(name: str) -> DocumentFormat:
    module = importlib.import_module(f"llmcli.documents.formats.{_MODULES[name]}")
    if name in {"srt", "vtt"}:
        return cast("DocumentFormat", getattr(module, name.upper()))
    return cast("DocumentFormat", module)
