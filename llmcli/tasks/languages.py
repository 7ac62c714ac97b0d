"""Languages: codes and names, for --to and --from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its BCP 47 ``code`` ("pt-BR") and its English ``name`` ("Brazilian Portuguese")."""

    code: str
    name: str


def parse_language(text: str) -> Language:
    """Return the language named by a code, an English or a native name; UsageError with suggestions otherwise."""
    raise NotImplementedError


def language_names() -> list[tuple[str, str]]:
    """Return (code, English name) of every language known, for completion."""
    raise NotImplementedError
