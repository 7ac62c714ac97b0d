"""Names are spelled as the outline and the sources spell them, everywhere in a long text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from llmcli.store.word_ranking import STOP_WORDS
from llmcli.tasks.claim_verification.claim_terms import find_names

_MIN_COUNT = 2
"""How often a name stands in the texts: what has a capital once may be a mistake."""
_MIN_LETTERS = 4
_MAX_TITLE_SHARE = 0.5
"""Share of words with a capital from which a line is a title, whose words are no names."""
_MIN_MISSPELLED = 6
_WORD = re.compile(r"[^\W_][\w+#-]*[^\W_]|[^\W_]")
_LITERAL = re.compile(r"((?:https?://|www\.)[^\s<>()\"\]]+|`[^`\n]+`)")
"""An address or code, whose case has a meaning."""
_MAX_GIVEN = 12


class NameGlossary:
    """The names of texts.

    Those with a capital or a digit inside (GmbH, CO2) are kept in any case, others if they occur often.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        counts: Counter[str] = Counter()
        lower: set[str] = set()
        for text in texts:
            words = _WORD.findall(text)
            lower.update(word for word in words if word.islower())
            is_title = is_title_case(text)
            counts.update(name for name in find_names(text) if has_form(name) or not is_title)
        self._spelling: dict[str, str] = {}
        for name, count in counts.most_common():
            key = name.casefold()
            if key in self._spelling or key in STOP_WORDS or not name.isalnum():
                continue
            if has_form(name) or (
                count >= _MIN_COUNT and len(name) >= _MIN_LETTERS and key not in lower and not name.isupper()
            ):
                self._spelling[key] = name
        self._counts: Mapping[str, int] = counts

    @property
    def most_frequent(self) -> tuple[str, ...]:
        """The names that a model is told how to spell."""
        return tuple(sorted(self._spelling.values(), key=lambda name: -self._counts[name])[:_MAX_GIVEN])

    def correct(self, text: str) -> str:
        """Return a text in which names have the case of the glossary, apart from addresses and code."""

        def spell(match: re.Match[str]) -> str:
            word = match[0]
            name = self._spelling.get(word.casefold(), word)
            return word if word.isupper() and not has_form(name) else name

        if not self._spelling:
            return text
        return "".join(
            piece if index % 2 else _WORD.sub(spell, piece) for index, piece in enumerate(_LITERAL.split(text))
        )

    def find_misspelled(self, text: str) -> list[str]:
        """Return what is wrong with names of a text: they differ from one of the glossary in one letter."""
        problems = []
        for word in dict.fromkeys(find_names(text)):
            key = word.casefold()
            if len(key) < _MIN_MISSPELLED or key in self._spelling or not key.isalpha():
                continue
            near = next((name for known, name in self._spelling.items() if _differs_in_one_letter(key, known)), None)
            if near is not None:
                problems.append(f"{word} may be meant as {near}")
        return problems


def is_title_case(text: str) -> bool:
    """Whether most words of a line have a capital, as in a title, so that a capital makes no name."""
    words = _WORD.findall(text)
    return len(words) > 1 and sum(word[:1].isupper() for word in words) > _MAX_TITLE_SHARE * len(words)


def has_form(name: str) -> bool:
    """Whether a name has a form of its own: a small letter with a capital inside, or letters and digits."""
    letters = any(map(str.isalpha, name))
    inner = any(map(str.isupper, name[1:])) and any(map(str.islower, name))
    return inner or (letters and any(map(str.isdigit, name)))


def _differs_in_one_letter(word: str, name: str) -> bool:
    """Whether two words begin alike and differ by one letter, or two are exchanged; endings may differ."""
    if word == name or abs(len(word) - len(name)) > 1 or word[0] != name[0]:
        return False
    if word.startswith(name) or name.startswith(word):
        return False
    at = next(index for index, (one, other) in enumerate(zip(word, name, strict=False)) if one != other)
    if at >= min(len(word), len(name)) - 1:  # only the ending differs
        return False
    rest, other = word[at:], name[at:]
    swapped = rest[:2] == other[:2][::-1] and rest[2:] == other[2:]
    return swapped or rest[1:] == other[1:] or rest[1:] == other or rest == other[1:]
