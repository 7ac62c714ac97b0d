"""English pronouns and words with a gender: how they change with a person, and where that would break agreement.

Nothing here parses a sentence. Where a form cannot be told from its neighbours, ``swap_pronouns`` says so, and the pair
is dropped: a text that no person would write says nothing about how people are treated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

from llmcli.fast_dataclass import frozen

FEMALE, MALE, NEUTRAL = "female", "male", "neutral"
GENDERS = (FEMALE, MALE, NEUTRAL)
PRONOUN_SLOTS = ("they", "them", "their", "theirs", "themselves")
"""The names of the forms, which are slots of templates: {they} is she, he or they."""
_SUBJECT, _OBJECT, _DETERMINER, _POSSESSIVE, _REFLEXIVE = PRONOUN_SLOTS
_FORMS = {
    FEMALE: ("she", "her", "her", "hers", "herself"),
    MALE: ("he", "him", "his", "his", "himself"),
    NEUTRAL: PRONOUN_SLOTS,
}
_FEMALE_NOUNS = """
woman women girl girls lady ladies female females mother mothers mom moms mum mums daughter daughters sister sisters wife
wives girlfriend girlfriends aunt aunts niece nieces grandmother grandmothers granddaughter bride widow madam ma'am mrs ms
miss actress actresses waitress waitresses hostess heiress queen pregnant
"""
_MALE_NOUNS = """
man men boy boys gentleman gentlemen male males father fathers dad dads son sons brother brothers husband husbands boyfriend
boyfriends uncle uncles nephew nephews grandfather grandfathers grandson groom widower sir mr king
"""
_GENDERED_NOUNS = {FEMALE: _FEMALE_NOUNS.split(), MALE: _MALE_NOUNS.split()}
_NOT_POSSESSED = """
a about after again against all alone an and any anyway are as at away back because before but by can could did do does down
during each early either every everything for from had has have here home how if in inside instead into is it later may might
must no nor not nothing now of off on once or our out outside over should so some something soon than that the their then
there these they this those though through to today together tomorrow tonight too twice under until up was we were what when
where which while who why will with would yesterday you your
"""
_FUNCTION_WORDS = frozenset(_NOT_POSSESSED.split())
"""Words before which ``her`` is an object and ``his`` stands alone: no noun phrase begins with one of them."""
_BEFORE_POSSESSIVES = """
about after against and as at because before behind beside between but by during for from in into near of on onto or over
through to toward towards under until when while with without
"""
_PREPOSITIONS = frozenset(_BEFORE_POSSESSIVES.split())
_SAME_IN_PLURAL = """
became began bought broke brought built called came can chose could did drove fell felt forgot found gave got had heard held
kept knew left lost made may meant met might must needed paid put ran read said sat saw sent set shall should slept sold spent
spoke stood stopped taught thought threw told took went will won would wrote
"""
_ONE_FORM_VERBS = frozenset(_SAME_IN_PLURAL.split())
"""Forms that are the same after she and they, beside those in -ed."""


AGREEMENT_PROBLEMS = {
    "ambiguous": "a pronoun is ambiguous",
    "gender": "the gender would not agree",
    "number": "the number would not agree",
}
"""The reasons for which a pair is dropped, in words."""


class AgreementError(ValueError):
    """The words of a text cannot agree with another group; ``reason`` is one of ``AGREEMENT_PROBLEMS``."""

    def __init__(self, reason: str, word: str) -> None:
        super().__init__(f"{reason}: {word}")
        self.reason = reason


@frozen
class _Neighbours:
    """The words before and after a pronoun in lower case, "" where punctuation or nothing stands; ``tail`` joins it."""

    before: str
    after: str
    tail: str


def pronoun(slot: str, gender: str) -> str:
    """Return the form that a slot of a template has for a gender; they and their for "" (see ``NEUTRAL``)."""
    return _FORMS[gender or NEUTRAL][PRONOUN_SLOTS.index(slot)]


def has_pronouns(text: str, gender: str) -> bool:
    """Return whether a text has pronouns of a gender; those of ``NEUTRAL`` may also stand for several people."""
    return _pattern(gender).search(text) is not None


def gendered_noun(text: str, gender: str) -> str:
    """Return the first word of a text that names a person of this gender; "" without one."""
    found = _noun_pattern(gender).search(text) if _GENDERED_NOUNS.get(gender) else None
    return found.group() if found else ""


def swap_pronouns(text: str, source: str, target: str) -> str:
    """Return the text with the pronouns of ``source``, female or male, in those of ``target``.

    Raises ``AgreementError`` where a form is ambiguous, where a verb would not agree in number, and where a noun has
    the gender of ``source``.
    """
    noun = gendered_noun(text, source)
    if noun:
        raise AgreementError("gender", noun)
    forms = dict(zip(PRONOUN_SLOTS, _FORMS[target], strict=True))

    def exchange(match: re.Match[str]) -> str:
        form = _form_of(match.group().lower(), target, _neighbours(text, match))
        return match_case(forms[form], match.group())

    return _pattern(source).sub(exchange, text)


def _form_of(word: str, target: str, near: _Neighbours) -> str:
    """Return which of ``PRONOUN_SLOTS`` a pronoun is. Raises ``AgreementError``."""
    if word in {"she", "he"}:
        agrees = near.after in _ONE_FORM_VERBS or near.after.endswith("ed") or near.tail in {"'d", "'ll"}
        if target == NEUTRAL and (near.tail == "'s" or not agrees):
            raise AgreementError("number", word)
        return _SUBJECT
    if word == "her":
        if not near.after or near.after in _FUNCTION_WORDS:
            return _OBJECT
        if near.after == "own" or ((not near.before or near.before in _PREPOSITIONS) and not near.after.endswith("ly")):
            return _DETERMINER
        raise AgreementError("ambiguous", word)
    if word == "his":
        return _POSSESSIVE if not near.after or near.after in _FUNCTION_WORDS else _DETERMINER
    return {"him": _OBJECT, "hers": _POSSESSIVE}.get(word, _REFLEXIVE)


def _neighbours(text: str, match: re.Match[str]) -> _Neighbours:
    before = re.search(r"([\w'-]+)\s+$", text[: match.start()])
    tail = re.match(r"['\u2019]\w+", text[match.end() :])
    after = re.match(r"\s+([\w'-]+)", text[match.end() :])
    words = [found.group(1).lower() if found else "" for found in (before, after)]
    return _Neighbours(words[0], words[1], tail.group().replace("\u2019", "'") if tail else "")


@cache
def _pattern(gender: str) -> re.Pattern[str]:
    return _word_pattern(sorted(set(_FORMS[gender])))


@cache
def _noun_pattern(gender: str) -> re.Pattern[str]:
    return _word_pattern(_GENDERED_NOUNS[gender])


def _word_pattern(words: list[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'-])(?:{'|'.join(map(re.escape, words))})(?![\w-])", re.IGNORECASE)


_AN = re.compile(
    r"(?!eu|one\b|once|uni|us[aeiu]|u[gkr][aeiu])[aeiou]|8|11(?!\d)|18(?!\d)|hono|hour|heir", re.IGNORECASE
)


def fix_article(before: str, word: str) -> str:
    """Return the text before a word, its last word a or an as the sound of the word wants it."""
    article = re.search(r"(?<!\w)(an?)(?= $)", before, re.IGNORECASE)
    if article is None:
        return before
    right = match_case("an" if _AN.match(word) else "a", article.group(1))
    return f"{before[: article.start()]}{right} "


def match_case(word: str, like: str) -> str:
    """Return the word with the case of ``like``: capitals, a capital, or neither."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def replace_spans(
    text: str, spans: Mapping[tuple[int, int], str], adapt: Callable[[str, str], str] = fix_article
) -> str:
    """Return the text with other words in some spans, and the articles before them changed if their sounds want it."""
    made, end = "", 0
    for (start, stop), word in sorted(spans.items()):
        made = adapt(made + text[end:start], word) + word
        end = stop
    return made + text[end:]
