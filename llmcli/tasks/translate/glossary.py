"""Glossaries: terms with their translations, and terms that stay untranslated."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from functools import cached_property

from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen

_STEM_SHARE = 0.7
"""Share of a word that inflection leaves unchanged in most languages."""
_MIN_STEM_CHARS = 3
_COLUMNS = ("term", "translation", "note")
_SEPARATORS = "\t,;"
"""Of equally frequent separators, the first one counts: a cell may contain a comma, but hardly a tab."""


@frozen
class Term:
    """A term; ``translation`` "" means that it stays untranslated; ``note`` is for the model."""

    term: str
    translation: str = ""
    note: str = ""

    @property
    def is_untranslated(self) -> bool:
        """Whether the term is not translated."""
        return self.translation in {"", self.term}


class Glossary:
    """The terms of one file; "" for no file has none."""

    def __init__(self, terms: Sequence[Term] = ()) -> None:
        self.terms = tuple(terms)

    @classmethod
    def parse(cls, text: str, name: str) -> Glossary:
        """Read CSV: term, translation, note; the header line is optional. Raises ``BadDocument``.

        Commas, semicolons or tabs separate the columns. An empty or missing translation, or one equal to the term,
        means that the term stays untranslated.
        """
        terms: dict[str, Term] = {}
        reader = csv.reader(io.StringIO(text), delimiter=_separator(text), strict=True, skipinitialspace=True)
        try:
            for number, row in enumerate(reader):
                cells = [cell.strip() for cell in row]
                if not any(cells) or cells[0].startswith("#"):
                    continue
                if number == 0 and cells[0].lower() == "term":
                    continue
                if not cells[0] or len(cells) > len(_COLUMNS):
                    raise BadDocument(name, detail=f"line {reader.line_num}: {_row_problem(cells)}", kind="glossary")
                if cells[0] in terms and terms[cells[0]] != Term(*cells):
                    raise BadDocument(name, detail=f"line {reader.line_num}: {cells[0]} appears twice", kind="glossary")
                terms[cells[0]] = Term(*cells)
        except csv.Error as error:
            raise BadDocument(name, detail=f"line {reader.line_num}: {error}", kind="glossary") from error
        return cls(list(terms.values()))

    @cached_property
    def fingerprint(self) -> str:
        """The glossary's part of the key in the translation memory."""
        rows = "\n".join(f"{term.term}\t{term.translation}\t{term.note}" for term in self.terms)
        return hashlib.sha256(rows.encode()).hexdigest()[:16] if rows else ""

    def find_untranslated(self, text: str) -> list[tuple[int, int]]:
        """Return where untranslated terms occur: (start, end), in order, disjoint."""
        if self._untranslated_pattern is None:
            return []
        return [match.span() for match in self._untranslated_pattern.finditer(text)]

    def find_translated(self, text: str) -> list[Term]:
        """Return the terms with a translation that occur in a text, in any case, with up to two more letters."""
        if self._translated_pattern is None:
            return []
        found = {match[1].casefold() for match in self._translated_pattern.finditer(text)}
        return [term for term in self.terms if not term.is_untranslated and term.term.casefold() in found]

    @cached_property
    def _untranslated_pattern(self) -> re.Pattern[str] | None:
        words = sorted((term.term for term in self.terms if term.is_untranslated), key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)") if words else None

    @cached_property
    def _translated_pattern(self) -> re.Pattern[str] | None:
        words = sorted((term.term for term in self.terms if not term.is_untranslated), key=len, reverse=True)
        joined = "|".join(map(re.escape, words))
        return re.compile(rf"(?<!\w)({joined})\w{{0,2}}(?!\w)", re.IGNORECASE) if words else None


def _separator(text: str) -> str:
    """Return the separator of the cells: the character after the header's first word, else the one in most lines."""
    lines = [line.strip(" ") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    header = re.match(rf"\"?term\"? *([{_SEPARATORS}])", lines[0] if lines else "", re.IGNORECASE)
    if header:
        return header[1]
    return max(_SEPARATORS, key=lambda separator: sum(separator in line for line in lines))


def _row_problem(cells: Sequence[str]) -> str:
    return f"{len(cells)} columns instead of {len(_COLUMNS)}" if cells[0] else "the term is missing"


def uses_translation(term: Term, answer: str) -> bool:
    """Return whether an answer uses the translation of a term, inflected or not: word beginnings are compared."""
    words = answer.casefold()
    return all(_stem(word) in words for word in term.translation.casefold().split())


def _stem(word: str) -> str:
    return word[: max(_MIN_STEM_CHARS, round(len(word) * _STEM_SHARE))]
