"""Glossaries: terms with their translations, and terms that stay untranslated."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property

from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen

_MIN_STEM_CHARS = 4
"""Letters of a word without its ending that identify it."""
_MIN_COMPOUND_PART = 4
_MAX_LOST_CHARS = 2
_MAX_ENDING = 4
_MAX_LONG_ENDING = 9
_ENDINGS = {
    code: tuple(endings.split())
    for code, endings in {
        "da": "a e en ene er erne ernes ernes es et ets s t te n ne nes",
        "de": "e em en end ens er ern es n nen s st t te ten tet",
        "en": "s es ies y ed ied ing",
        "es": "a o as os e es s n z ces r ar er ir do da dos das",
        "fr": "s x e es al ale ales aux er ez ent ant ee ees if ive ifs ives eux euse",
        "it": "a e i o co ci chi che ca go ghi ghe re to ta ti te are ere ire",
        "nb": "a e en ene enes er ers es et ets s t te n ne nes",
        "nl": "e en s er ers es t te ten n d de den",
        "pt": "a o as os e es s ao oes aes aos l is r ar er ir do da dos das m ns",
        "sv": "a ar arna arnas as e en ens er erna ernas et ets n na nas or orna s t te",
    }.items()
}
"""Endings of declined and conjugated words, without accents; where there are none, a common beginning decides."""
_LANGUAGES_WITH_LONG_ENDINGS = frozenset(
    ["az", "eu", "et", "fi", "hu", "ka", "kk", "ko", "ky", "ml", "ta", "te", "tr", "uz"]
)
_COMPOUNDING_LANGUAGES = frozenset(["af", "da", "de", "et", "fi", "hu", "is", "nb", "nl", "nn", "no", "sv"])
"""Languages whose words are part of longer ones."""
_LANGUAGES_WITH_PREFIXES = frozenset(["ar", "ckb", "fa", "he", "ps", "ur"])
_LANGUAGES_WITHOUT_SPACES = frozenset(["bo", "dz", "ja", "km", "lo", "my", "th", "yue", "zh"])
_WORD = re.compile(r"\w+")
_ACCENTS = re.compile("[\u0300-\u036f]")
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


# ---- forms of words --------------------------------------------------------------------------------------------------


def uses_translation(term: Term, answer: str, language: str) -> bool:
    """Whether an answer in a language, named by its BCP 47 code, uses the translation of a term, inflected or not."""
    code = language.partition("-")[0].lower()
    wanted = _WORD.findall(_fold(term.translation))
    if code in _LANGUAGES_WITHOUT_SPACES or not wanted:
        return term.translation.casefold() in answer.casefold()
    words = set(_WORD.findall(_fold(answer)))
    return all(word in words or any(_is_form(each, word, code) for each in words) for word in wanted)


def _is_form(word: str, term: str, code: str) -> bool:
    """Whether a word may be a form of a word of a term: by the endings of the language, else by a common beginning."""
    if code in _LANGUAGES_WITH_PREFIXES and term in word:
        return True
    if code in _ENDINGS:
        stems = {each for each in _stems(term, code) if len(each) >= _MIN_STEM_CHARS}
        if term in (forms := _stems(word, code)) or not stems.isdisjoint(forms):
            return True
    else:
        same = next(
            (at for at, pair in enumerate(zip(word, term, strict=False)) if pair[0] != pair[1]),
            min(len(word), len(term)),
        )
        added = _MAX_LONG_ENDING if code in _LANGUAGES_WITH_LONG_ENDINGS else _MAX_ENDING
        if same >= max(_MIN_STEM_CHARS - 1, len(term) - _MAX_LOST_CHARS) and len(word) - same <= added:
            return True
    parts = [term, *_stems(term, code)] if code in _COMPOUNDING_LANGUAGES else []
    return any(len(part) >= _MIN_COMPOUND_PART and part in word for part in parts)


def _stems(word: str, code: str) -> set[str]:
    """Return a word, and what is left of it without each of the endings that it may have."""
    return {word, *(word.removesuffix(ending) for ending in _ENDINGS.get(code, ()))}


def _fold(text: str) -> str:
    """Return a text without case and accents: "H\u00e4user" begins like "Haus"."""
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
