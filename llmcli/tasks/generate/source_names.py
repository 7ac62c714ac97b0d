"""The names in a text that stand in no source.

A name is a word with a capital that no sentence gives it, or with a capital or a digit inside. Whether the first word of
a sentence is one is told from what follows it: another capital, a possessive, or a verb (English). German gives every
noun a capital, so that only words with a form of their own count there (GmbH, CO2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from llmcli.store.word_ranking import STOP_WORDS
from llmcli.tasks.claim_verification.claim_terms import blank_dates, figure_forms, find_names, find_numbers, find_terms
from llmcli.tasks.generate.name_spelling import has_form, is_title_case
from llmcli.tasks.generate.sentence_forms import split_sentences, strip_item, strip_marks
from llmcli.tasks.languages import detect_language
from llmcli.tasks.written_dates import month_number

_AUXILIARY = "is|was|has|had|will|would|can|could|does|did|said|says"
_DETERMINER = "an?|the|its?|his|her|their|our|your|that|us|you|them|him"
_LEADING = re.compile(
    r"\W*(?P<name>[^\W\d_][\w-]*[^\W_])"
    rf"(?:['\u2019]s\b|\s+(?:[^\W\d_a-z][^\W\d_]|(?:{_AUXILIARY})\b|[a-z]+(?:s|ed)\s+(?:{_DETERMINER})\b|and\s+[A-Z]))"
)
"""The first word of a sentence, where what follows it makes it a name; "Anna opened the", not "Energy costs rise"."""
_NO_NAME = re.compile(
    r"(?:some|any|every|no)(?:one|body|thing)|\w+(?:ing|tion|sion|ness|ment|ity|ance|ence|ship|ism|ics|ly|ware|self|ever)"
    r"|i|you|he|she|we|they|who|which|what|where|when|while|there|here|each|both|all|some|many|most|much|more|none|one"
    r"|another|other|such|only|also|even|now|once|since|until|because|although|though|whether|after|before|during|under"
    r"|over|above|below|about|between|among|through|within|like|unlike|despite|yet|nor|but|how|why|two|three|four|five"
    r"|six|seven|eight|nine|ten|its|his|her|their|our|your|my|these|those|let|see|today|later|first|second|third|next|last"
    r"|finally|overall|instead|thus|hence|still|perhaps|please|mr|mrs|ms|dr",
    re.IGNORECASE,
)
"""Words that are no names where they begin a sentence."""
_SENTENCE_MARKS = (".", "!", "?", "\u2026")


class SourceNames:
    """The words of ``texts``, as names are compared with them: in any case, and without endings."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [*texts]

    @cached_property
    def _terms(self) -> frozenset[str]:
        return frozenset(term for text in self._texts for term in find_terms(text))

    @cached_property
    def _months(self) -> frozenset[str]:
        """The months of all dates, in two digits."""
        figures = (form for text in self._texts for each in find_numbers(text) for form in figure_forms(each))
        return frozenset(form[-5:-3] for form in figures if form.startswith("--")) | frozenset(
            form[-2:] for text in self._texts for form in find_numbers(text) if re.fullmatch(r"\d{4}-\d\d", form)
        )

    def find_unknown(self, text: str) -> list[str]:
        """Return the names of a text that stand in none of the texts; those that follow each other are one name."""
        language = detect_language(text)
        only_forms = language is not None and language.code.partition("-")[0] == "de"
        common = {word for word in re.findall(r"[^\W\d_]+", text) if word.islower()}
        found: dict[str, None] = {}
        for paragraph in text.splitlines():
            for sentence in split_sentences(paragraph):
                plain = blank_dates(strip_item(strip_marks(sentence)))
                names = [name for name in _find_sentence_names(plain, common) if not self._is_known(name)]
                found |= dict.fromkeys(_join_adjacent([n for n in names if has_form(n) or not only_forms], plain))
        return [*found]

    def _is_known(self, name: str) -> bool:
        if name.casefold() in STOP_WORDS or self._terms.issuperset(find_terms(name)):
            return True
        month = month_number(name)
        return month > 0 and f"{month:02}" in self._months


def _find_sentence_names(sentence: str, common: set[str]) -> Iterator[str]:
    """Yield the names of a sentence in their order; ``common`` words are written in small letters elsewhere."""
    is_title = is_title_case(sentence) and not sentence.rstrip("*_\"')\u201d ").endswith(_SENTENCE_MARKS)
    leading = _LEADING.match(sentence)
    if leading is not None and leading["name"][0].isupper() and not is_title:
        name = leading["name"]
        if not (_NO_NAME.fullmatch(name) or name.casefold() in common or name in find_names(name)):
            yield name
    yield from (name for name in find_names(sentence) if has_form(name) or not is_title)


def _join_adjacent(names: Sequence[str], sentence: str) -> Iterator[str]:
    """Yield names of a sentence; those with a single blank between them are one."""
    joined = ""
    for name in names:
        if joined and f"{joined} {name}" in sentence:
            joined = f"{joined} {name}"
            continue
        if joined:
            yield joined
        joined = name
    if joined:
        yield joined
