"""Whether an answer can be the translation of a text, and what a model adds that is none of it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from llmcli.documents.protected import PLAIN, find
from llmcli.documents.segments import Segment
from llmcli.tasks.languages import Language
from llmcli.tasks.translation.detection import is_still
from llmcli.tasks.translation.emphasis import emphasis_problem, lost_emphasis
from llmcli.tasks.translation.glossary import Term, keeps_to
from llmcli.tasks.translation.marks import Marked

_SHORT = 80
"""Characters of a text below which its translation may be of any length down to one character."""
_SHRINKS = 10
"""How many times shorter a translation may be: Chinese says in one character what takes six letters."""
_COPIED_WORDS = 5
"""Words of a text from which on an answer that repeats it is no translation; fewer may all be names."""
_NUMBER = re.compile(r"\d(?:[\d.,'\u2019\u00a0\u202f]*\d)?")
_GROUPS = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")
"""Blanks within a number: "1 200"."""
_PREAMBLE = re.compile(
    r"\A[\s*_#>\"'\u201c\u00ab-]{0,3}(?:sure|certainly|of course|okay|ok|here(?:'s|\u2019s| is| are)|the translation|translation|"
    r"translated (?:text|version)|voici|hier ist|aqu\u00ed (?:est\u00e1|tienes)|ecco|aqui est\u00e1)\b[^\n]{0,120}?:[ \t]*(?:\n+|(?=\S))",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "\u201c": "\u201d", "\u00ab": "\u00bb", "'": "'", "\u201e": "\u201c", "`": "`"}
_FENCE = re.compile(r"\A```[^\n`]*\n(.*?)\n?```\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is asked of the translation of one text; ``width``: the most characters of a line; ``emphasis``: its signs are such."""

    marked: Marked
    source: Language | None
    target: Language
    terms: tuple[Term, ...] = ()
    width: int | None = None
    emphasis: bool = False


def cleaned(text: str, answer: str) -> str:
    """Return an answer without what models put around a translation: a preamble, quotes, a fence that ``text`` lacks."""
    answer = _unwrapped(text, answer.strip())
    fenced = _FENCE.match(answer)
    if fenced and not text.startswith("```"):
        answer = fenced[1].strip()
    preamble = _PREAMBLE.match(answer)
    if preamble and not _PREAMBLE.match(text) and answer[preamble.end() :].strip():
        answer = answer[preamble.end() :].strip()
    closing = _QUOTES.get(answer[:1])
    if closing and len(answer) > 2 and answer.endswith(closing) and text[:1] != answer[:1]:  # noqa: PLR2004
        inner = answer[1:-1]
        if closing not in inner and answer[0] not in inner:
            answer = inner.strip()
    return answer


def _unwrapped(text: str, answer: str) -> str:
    """Return the one text of an answer that is a JSON object, as servers are often told to give."""
    if not answer.startswith("{") or text.startswith("{"):
        return answer
    try:
        values = list(json.loads(answer).values())
    except (ValueError, AttributeError, RecursionError):
        return answer
    return values[0].strip() if len(values) == 1 and isinstance(values[0], str) else answer


def problems(text: str, answer: str, expected: Expected) -> list[str]:
    """Return what speaks against ``answer`` as the translation of ``text``, each as a sentence without its full stop.

    Both have marks. Whether the answer came to its end, and is not far too long, was seen before.
    """
    marked = expected.marked
    found = _markup(text, answer, expected)
    plain, said = marked.without(text), marked.without(answer)
    if len(plain) > _SHORT and len(said) * _SHRINKS < len(plain):
        found.append("the translation is far too short")
    if _copied(plain, said, expected) or (expected.source and is_still(said, expected.source, expected.target)):
        found.append(f"the answer is not in {expected.target.name}")
    if any(map(str.isalpha, plain)) and not any(map(str.isalpha, said)):
        found.append("the answer has no words")
    if said.lstrip().startswith('{"') and not plain.lstrip().startswith("{"):
        found.append("the answer is JSON")
    invented = _syntax(said) - _syntax(plain)
    if invented:
        found.append(f"this is not in the text: {' '.join(invented)}")
    missing = _wanted_numbers(plain) - (_numbers(said) | _numbers(_GROUPS.sub("", said)))
    if missing:
        found.append(f"numbers are missing: {', '.join(sorted(missing))}")
    lost = [term for term in expected.terms if not keeps_to(term, said)]
    found += [f"{term.term!r} has to be translated as {term.translation!r}" for term in lost]
    if expected.width is not None:
        longest = max(map(len, answer.split("\n")))
        if longest > expected.width:
            found.append(f"a line has {longest} characters, and {expected.width} at most fit")
    return found


def _markup(text: str, answer: str, expected: Expected) -> list[str]:
    marks = expected.marked.problem(text, answer)
    emphasis = emphasis_problem(expected.marked, text, answer) if expected.emphasis else ""
    wrong = {"marks are": marks, "emphasis is": emphasis}
    return [f"the {what} not right: {problem}" for what, problem in wrong.items() if problem]


def _syntax(text: str) -> Counter[str]:
    """Return the tags, addresses and placeholders in a text: what other programs would take for their own."""
    return Counter(text[span.start : span.end] for span in find(text, PLAIN - {"code"}))


def _copied(text: str, answer: str, expected: Expected) -> bool:
    if expected.source is not None and _base(expected.source) == _base(expected.target):
        return False
    words = text.split()
    return len(words) >= _COPIED_WORDS and [w.casefold() for w in words] == [w.casefold() for w in answer.split()]


def _base(language: Language) -> str:
    return language.code.partition("-")[0]


def _numbers(text: str) -> Counter[str]:
    """Return the numbers, without the separators that languages write differently."""
    digits = ("".join(str(unicodedata.digit(c)) for c in match if c.isdigit()) for match in _NUMBER.findall(text))
    return Counter(number.lstrip("0") or "0" for number in digits)


def _wanted_numbers(text: str) -> Counter[str]:
    """Return the numbers that a translation has to have: single digits only with a unit, others may become words."""
    spans = [text[span.start : span.end] for span in find(text, {"number"})]
    return sum((_numbers(span) for span in spans if not (len(span) == 1 and span.isdigit())), Counter())


def lost(segment: Segment, translation: str) -> list[str]:
    """Return what a translation from elsewhere lacks: protected texts as often as the segment has them, emphasis."""
    wanted = Counter(segment.text[span.start : span.end] for span in segment.protected if span.kind != "number")
    missing = [text for text, count in wanted.items() if translation.count(text) < count]
    emphasis = lost_emphasis(segment, translation) if segment.emphasis and not missing else ""
    return [*missing, emphasis] if emphasis else missing


def fitted(answer: str, width: int, lines: int) -> str:
    """Return a subtitle in lines of at most ``width`` characters, about equally long, as it is where that needs too many.

    It may have as many lines as its source (``lines``), or two.
    """
    if max(map(len, answer.split("\n"))) <= width:
        return answer
    import textwrap

    most, words = max(lines, 2), " ".join(answer.split())
    for size in range(max(1, len(words) // most), width + 1):
        wrapped = textwrap.wrap(words, size, break_long_words=False, break_on_hyphens=False)
        if len(wrapped) <= most and max(map(len, wrapped), default=0) <= width:
            return "\n".join(wrapped)
    return answer
