"""How document formats are registered, and how one is found: by name, by the file's suffix, or by content.

A registration is data; the module of a format is imported when a document is read with it.
"""

from __future__ import annotations

import difflib
import importlib
import re
from typing import TYPE_CHECKING, cast

from llmcli.errors import UsageError
from llmcli.frozen_dataclass import frozen

if TYPE_CHECKING:
    from llmcli.documents.formats.document_format import DocumentFormat

_SNIFFED_CHARS = 100_000
"""Characters of a text that are searched for its format."""


@frozen
class FormatEntry:
    """The registration of a format."""

    name: str
    location: str
    """The module and the ``DocumentFormat`` in it, as "package.module:ATTRIBUTE"."""
    aliases: tuple[str, ...] = ()
    """Other names, which are also file suffixes, without the dot."""
    unlisted: frozenset[str] = frozenset()
    """Names whose files are not picked up from a directory."""
    sniff_patterns: tuple[tuple[int, str], ...] = ()
    """(Rank, regular expression) of typical content; patterns are tried from the lowest rank up, over all formats."""
    signatures: tuple[bytes, ...] = ()
    """The first bytes of a binary format; ``decode_utf8`` refuses such bytes."""
    is_fallback: bool = False
    """Whether this is the format of a text that looks like no other format."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the format."""
        return (self.name, *self.aliases)


_ENTRIES: dict[str, FormatEntry] = {}


def register_format(entry: FormatEntry) -> None:
    """Register a format. Raises ``ValueError`` if one of its names is taken."""
    taken = [name for name in entry.names if _resolve_name(name)]
    if taken:
        raise ValueError(f"there is already a format called {taken[0]}")
    _ENTRIES[entry.name] = entry


def unregister_format(name: str) -> None:
    """Unregister a format."""
    del _ENTRIES[name]


def format_names() -> tuple[str, ...]:
    """Return the names of all formats, in the order of their registration."""
    return tuple(_ENTRIES)


def listed_suffixes() -> tuple[str, ...]:
    """Return the suffixes of files that are picked up from a directory, each with its dot."""
    return tuple(f".{name}" for entry in _ENTRIES.values() for name in entry.names if name not in entry.unlisted)


def require_name(wanted: str) -> str:
    """Return the name of the format that ``wanted`` means. Raises ``UsageError`` if there is none."""
    known = _resolve_name(wanted.strip().removeprefix("."))
    if known is None:
        aliases = [alias for entry in _ENTRIES.values() for alias in entry.aliases]
        near = difflib.get_close_matches(wanted.lower(), [*_ENTRIES, *aliases], n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Formats: {', '.join(_ENTRIES)}"
        raise UsageError(f"no format called {wanted}", detail=hint)
    return known


def find_format(name: str, text: str, wanted: str | None = None) -> DocumentFormat:
    """Return the format called ``wanted``, else that of the suffix of ``name``, else the one that ``text`` looks like.

    Raises ``UsageError`` if there is no format called ``wanted``.
    """
    if wanted is not None:
        return load_format(require_name(wanted))
    ending = name.rpartition("/")[2].rpartition(".")
    known = _resolve_name(ending[2]) if ending[1] else None
    return load_format(known or _sniff(text))


def find_binary_format(data: bytes) -> str | None:
    """Return the name of the format whose signature ``data`` begins with."""
    return next(
        (entry.name for entry in _ENTRIES.values() if entry.signatures and data.startswith(entry.signatures)), None
    )


def load_format(name: str) -> DocumentFormat:
    """Return the format that is registered under ``name``."""
    module, _, attribute = _ENTRIES[name].location.partition(":")
    return cast("DocumentFormat", getattr(importlib.import_module(module), attribute))


def _resolve_name(word: str) -> str | None:
    word = word.lower()
    return next((entry.name for entry in _ENTRIES.values() if word in entry.names), None)


def _sniff(text: str) -> str:
    looked_at = text[:_SNIFFED_CHARS].removeprefix("\ufeff")
    patterns = sorted((rank, each, entry.name) for entry in _ENTRIES.values() for rank, each in entry.sniff_patterns)
    for _, pattern, name in patterns:
        if re.search(pattern, looked_at, re.MULTILINE | re.IGNORECASE):
            return name
    return next(entry.name for entry in _ENTRIES.values() if entry.is_fallback)
