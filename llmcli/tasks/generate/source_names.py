"""The names in a text that stand in no source.

A name is a word with a capital that no sentence gives it, or with a capital or a digit inside. Whether the first word of
a sentence is one is told from what follows it: another capital, a possessive, or a verb (English). German gives every
noun a capital, so that only words with a form of their own count there (GmbH, CO2), those after a form of address, months,
and words that are rare or frequent as names only. In titles, in labels before a colon, and at the beginning of Spanish, French, Italian, Portuguese and Dutch sentences, a rare
word is a name. In a text with capitals, so is a word of a script that has none. In English, so is a rare word in small
letters where a noun would have an article or be a plural: "install numpy".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from llmcli.store.word_ranking import STOP_WORDS
from llmcli.tasks.claim_verification.claim_terms import blank_dates, figure_forms, find_names, find_numbers, find_terms
from llmcli.tasks.generate.measure_units import unit_after
from llmcli.tasks.generate.name_spelling import has_form, is_title_case
from llmcli.tasks.generate.rare_words import (
    ENGLISH,
    OTHER_LANGUAGES,
    find_leading_name,
    is_lower_case_name,
    is_rare,
)
from llmcli.tasks.generate.sentence_forms import blank_inner_items, split_sentences, strip_item, strip_marks
from llmcli.tasks.languages import base_code, detect_language, likeliest_language
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
_LANGUAGE_OF_CAPITALIZED_NOUNS = "de"
_ADDRESSED = re.compile(
    r"\b(?:Herrn?|Frau|Familie|Dr\.?|Prof\.?)\s+(?!Dr\b|Prof|Doktor|Professor)(?P<name>[^\W\d_a-z][\w-]*\w)"
)
"""A German name after a form of address."""
_HONORIFICS = "Mr|Mrs|Ms|Dr|Prof|St|Mt|Sr|Jr|Rev|Gen|Col|Capt|Lt|Sgt|Gov|Sen"
_ABBREVIATION = re.compile(rf"\b({_HONORIFICS}|[^\W\d_a-z])\.(?=\s+\W*[^\W\d_a-z])")
"""What stands before a name; its point ends no sentence."""
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]?")
_CONTRACTION = re.compile(r"\b[^\W\d_]+n['\u2019]t\b")
_COUNTRY = "US"
"""A name that is a pronoun in small letters."""
_LABEL = re.compile(r"\W*(?P<label>[^\W\d_][^:.!?]{1,40}?)[*_]*:(?=[*_\s]|\Z)")
"""What a line is about, before a colon."""
_MAX_LABEL_WORDS = 4
_IDENTIFIER = re.compile(
    r"`(?P<quoted>[^\W\d_][\w.-]*\w)(?:\(\))?`|(?<![\w/.:=?&#-])(?:(?P<called>[^\W\d_][\w.]*\w)\(\)"
    r"|(?P<joined>[^\W_]+(?:_[^\W_]+)+)(?![\w/]))"
)
"""A name of a program in any case: in backquotes, before parentheses, or with an underscore."""
_NAME_SLOT = re.compile(
    r"(?:\b(?i:using|with|via|in|by|from|like|of|and|or|uses?|used|as|to|on|for|than|into|through|imports?|install(?:s|ed|ing)?"
    r"|supports?|requires?|called|named|is|are|both|either|between|about)[ ]|[,(\[] ?|[\"\u201c])"
    r"(?P<name>[a-z]{3,})(?=[.,;:!?)\]\"\u201d]|[ ](?:and|or|to|for|in|is|are|was|were|has|had|can|could|may|might|must"
    r"|should|will|would|with|on|by|as|from|that|which|when|does"
    r"|library|package|module|framework|tool|program|command|project|plugin|files?|format|data|code|server|database)\b|\Z)"
)
"""A word in small letters where an English noun has an article, or is a plural."""
_WORDS_WITHOUT_ARTICLES = re.compile(r"`[^`\n]+`|(?<!\S)[a-z]+(?:/[a-z]+)+(?![\w./-])")
"""Code, and alternatives: "and/or"."""
_FIRST_WORD = re.compile(r"\W*(?P<name>[^\W\d_]{3,})(?![\w/'\u2019-])(?P<number>[ ]v?\d)?")
"""The first word of a sentence, and whether a number follows, which may be a version."""
_FENCED = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)
_SAMPLE_CHARS = 20_000
_SENTENCE_MARKS = (".", "!", "?", "\u2026")


class SourceNames:
    """The words of ``texts``, as names are compared with them: in any case, and without endings."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [*texts]

    @cached_property
    def _terms(self) -> frozenset[str]:
        return frozenset(term for text in self._texts for term in find_terms(text))

    @cached_property
    def _searched(self) -> str:
        return "\n".join(self._texts).casefold()

    @cached_property
    def _months(self) -> frozenset[str]:
        """The months of all dates, in two digits."""
        figures = (form for text in self._texts for each in find_numbers(text) for form in figure_forms(each))
        return frozenset(form[-5:-3] for form in figures if form.startswith("--")) | frozenset(
            form[-2:] for text in self._texts for form in find_numbers(text) if re.fullmatch(r"\d{4}-\d\d", form)
        )

    def find_unknown(self, text: str) -> list[str]:
        """Return the names of a text that stand in none of the texts; those that follow each other are one name."""
        detected = detect_language(text)
        language = likeliest_language(text) if detected is None else base_code(detected)
        only_forms = detected is not None and language == _LANGUAGE_OF_CAPITALIZED_NOUNS
        common = {word for word in re.findall(r"[^\W\d_]+", text) if word.islower()}
        found: dict[str, None] = {}
        for paragraph in text.splitlines():
            for sentence in split_sentences(paragraph):
                plain = blank_inner_items(blank_dates(strip_item(strip_marks(sentence))))
                plain = _CONTRACTION.sub(lambda match: match[0].lower(), plain)
                names = [name for name in _find_sentence_names(plain, common) if not self._is_known(name)]
                label = _LABEL.match(plain)
                if label is not None and len(label["label"].split()) <= _MAX_LABEL_WORDS and _is_title(label["label"]):
                    rare = [name for name in self._find_rare(label["label"], common, language) if name not in names]
                    names = [*rare, *names]
                names = names or self._find_rare(plain, common, language)
                if language == ENGLISH:
                    names = [*(name for name in self._find_rare_first_word(plain, common) if name not in names), *names]
                if only_forms:
                    addressed = (match["name"] for match in _ADDRESSED.finditer(plain))
                    addressed_unknown = (name for name in addressed if not self._is_known(name))
                    names = [*dict.fromkeys([*filter(_is_german_name, names), *addressed_unknown])]
                found |= dict.fromkeys(_join_adjacent(names, plain))
                found |= dict.fromkeys(word for word in _find_caseless(plain) if not self._is_known(word))
                if language == ENGLISH:
                    found |= dict.fromkeys(word for word in _find_lower_case(plain) if not self._is_known(word))
        identifiers = (match[match.lastgroup or 0] for match in _IDENTIFIER.finditer(_FENCED.sub("", text)))
        return [*(found | dict.fromkeys(name for name in identifiers if name.casefold() not in self._searched))]

    @cached_property
    def _language(self) -> str:
        text = "\n".join(self._texts)
        detected = detect_language(text)
        return likeliest_language(text[:_SAMPLE_CHARS]) if detected is None else base_code(detected)

    def _find_rare(self, sentence: str, common: set[str], language: str) -> list[str]:
        """Return the unknown names of a title, and the first word of a sentence, that are told by being rare."""
        if _is_title(sentence):
            if language != _LANGUAGE_OF_CAPITALIZED_NOUNS:  # a title is too short to tell others apart
                language = self._language
            if language not in {ENGLISH, *OTHER_LANGUAGES}:
                return []
            words = [word for word in re.findall(r"(?<![\w./-])[^\W\d_]{3,}(?![\w/-])", sentence) if word.istitle()]
            return [word for word in words if self._may_be_name(word, common) and is_rare(word, language)]
        first = re.search(r"[^\W\d_]+", sentence)
        if language not in OTHER_LANGUAGES or first is None or not self._may_be_name(first[0], common):
            return []
        name = find_leading_name(sentence, language)
        return [] if name is None else [name]

    def _find_rare_first_word(self, sentence: str, common: set[str]) -> list[str]:
        """Return the first word of an English sentence if it is unknown and rare: "Theano, a library"."""
        first = _FIRST_WORD.match(sentence)
        if first is None or not self._may_be_name(first["name"], common):
            return []
        name = first["name"]
        is_name = is_rare(name, ENGLISH) if first["number"] else is_lower_case_name(name.lower())
        return [name] if is_name else []

    def _may_be_name(self, word: str, common: set[str]) -> bool:
        return word.lower() not in common and not _NO_NAME.fullmatch(word) and not self._is_known(word)

    def _is_known(self, name: str) -> bool:
        if not name.istitle() and unit_after(f"1 {name}", 1)[0]:
            return True
        if name == _COUNTRY:
            return any(re.search(rf"\b{name}\b", text) for text in self._texts)
        if _INITIALS.fullmatch(name):  # each of its letters may be known
            return name.replace(".", "").lower() in self._terms or any(name in text for text in self._texts)
        if name.casefold() in STOP_WORDS or re.fullmatch(_HONORIFICS, name) or self._terms.issuperset(find_terms(name)):
            return True
        month = month_number(name)
        return month > 0 and f"{month:02}" in self._months


def _is_german_name(word: str) -> bool:
    """Whether a word with a capital is no noun of German: it has a form of its own, is a month, or rare."""
    return has_form(word) or month_number(word) > 0 or is_rare(word, _LANGUAGE_OF_CAPITALIZED_NOUNS)


def _is_title(sentence: str) -> bool:
    is_word = re.fullmatch(r"\W*[^\W\d_]+\W*", sentence) is not None and sentence.strip("*_\"' ").istitle()
    return (is_word or is_title_case(sentence)) and not sentence.rstrip("*_\"')\u201d ").endswith(_SENTENCE_MARKS)


def _find_sentence_names(sentence: str, common: set[str]) -> Iterator[str]:
    """Yield the names of a sentence in their order; ``common`` words are written in small letters elsewhere."""
    is_title = _is_title(sentence)
    sentence = _ABBREVIATION.sub(r"\1", sentence)
    leading = _LEADING.match(sentence)
    if leading is not None and leading["name"][0].isupper() and not is_title:
        name = leading["name"]
        if not (_NO_NAME.fullmatch(name) or name.casefold() in common or name in find_names(name)):
            yield name
    yield from (name for name in find_names(sentence) if has_form(name) or not is_title)


def _find_lower_case(sentence: str) -> Iterator[str]:
    """Yield the names in small letters of an English sentence."""
    words = [match["name"] for match in _NAME_SLOT.finditer(sentence)]
    for match in _WORDS_WITHOUT_ARTICLES.finditer(sentence):
        words += re.findall(r"(?<![\w.-])[a-z]{3,}(?![\w.(-])", match[0])
    yield from filter(is_lower_case_name, words)


def _find_caseless(sentence: str) -> list[str]:
    """Return the words of scripts without capitals, such as Chinese, in a sentence that has more letters with a case."""
    words = [word for word in re.findall(r"[^\W\d_]{2,}", sentence) if word.lower() == word.upper()]
    num_cased = sum(letter.lower() != letter.upper() for letter in sentence)
    return words if sum(map(len, words)) < num_cased else []


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
