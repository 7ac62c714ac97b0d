"""Checks whether an answer is a valid translation, and removes what models add around it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter

from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans
from llmcli.documents.segments import Segment
from llmcli.frozen_dataclass import frozen
from llmcli.tasks.translation.glossary import Term, uses_translation
from llmcli.tasks.translation.language_detection import is_still_in_source_language
from llmcli.tasks.translation.languages import Language
from llmcli.tasks.translation.per_segment.emphasis_check import emphasis_problem, stored_emphasis_problem
from llmcli.tasks.translation.per_segment.masking import MaskedText
from llmcli.tasks.translation.per_segment.repeated_phrases import repeats_more

REPETITION_PROBLEM = "the answer repeats itself"
_MIN_COMPARED_CHARS = 80
"""Number of characters of a text below which its translation may be as short as one character."""
_MAX_SHRINK_FACTOR = 10
"""How many times shorter a translation may be: one Chinese character can replace six letters."""
_MIN_COPIED_WORDS = 5
"""Number of words from which an answer that repeats the text is no translation; fewer may all be names."""
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


@frozen
class AnswerRequirements:
    """The requirements on the translation of one text; ``width`` of a line; ``emphasis``: whether markup counts."""

    masked: MaskedText
    source: Language | None
    target: Language
    terms: tuple[Term, ...] = ()
    width: int | None = None
    emphasis: bool = False


def clean_answer(text: str, answer: str) -> str:
    """Return an answer without a preamble, quotes or a fence that ``text`` lacks; models add them to translations."""
    answer = _unwrap_json(text, answer.strip())
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


def _unwrap_json(text: str, answer: str) -> str:
    """Return the only text of an answer that is a JSON object, as servers are often told to return."""
    if not answer.startswith("{") or text.startswith("{"):
        return answer
    try:
        values = list(json.loads(answer).values())
    except (ValueError, AttributeError, RecursionError):
        return answer
    return values[0].strip() if len(values) == 1 and isinstance(values[0], str) else answer


def find_problems(text: str, answer: str, expected: AnswerRequirements) -> list[str]:
    """Return the problems of ``answer`` as the translation of ``text``, each a sentence without its full stop.

    Both are masked. Truncated and far too long answers were rejected before.
    """
    marked = expected.masked
    found = _markup_problems(text, answer, expected)
    plain, said = marked.strip_masks(text), marked.strip_masks(answer)
    if len(plain) > _MIN_COMPARED_CHARS and len(said) * _MAX_SHRINK_FACTOR < len(plain):
        found.append("the translation is far too short")
    if _is_copy(plain, said, expected) or (
        expected.source and is_still_in_source_language(said, expected.source, expected.target)
    ):
        found.append(f"the answer is not in {expected.target.name}")
    if any(map(str.isalpha, plain)) and not any(map(str.isalpha, said)):
        found.append("the answer has no words")
    if said.lstrip().startswith('{"') and not plain.lstrip().startswith("{"):
        found.append("the answer is JSON")
    if repeats_more(plain, said):
        found.append(REPETITION_PROBLEM)
    invented = _count_syntax(said) - _count_syntax(plain)
    if invented:
        found.append(f"not in the source text: {' '.join(invented)}")
    missing = _required_numbers(plain) - (_numbers(said) | _numbers(_GROUPS.sub("", said)))
    if missing:
        found.append(f"numbers are missing: {', '.join(sorted(missing))}")
    lost = [term for term in expected.terms if not uses_translation(term, said)]
    found += [f"{term.term!r} must be translated as {term.translation!r}" for term in lost]
    if expected.width is not None:
        longest = max(map(len, answer.split("\n")))
        if longest > expected.width:
            found.append(f"a line has {longest} characters; at most {expected.width} fit")
    return found


def _markup_problems(text: str, answer: str, expected: AnswerRequirements) -> list[str]:
    marks = expected.masked.find_problem(text, answer)
    emphasis = emphasis_problem(expected.masked, text, answer) if expected.emphasis else ""
    wrong = {"marks are": marks, "emphasis is": emphasis}
    return [f"the {what} wrong: {problem}" for what, problem in wrong.items() if problem]


def _count_syntax(text: str) -> Counter[str]:
    """Count the tags, addresses and placeholders in a text: text that other programs interpret."""
    return Counter(text[span.start : span.end] for span in find_spans(text, PLAIN_TEXT_KINDS - {"code", "control"}))


def _is_copy(text: str, answer: str, expected: AnswerRequirements) -> bool:
    if expected.source is not None and _base_code(expected.source) == _base_code(expected.target):
        return False
    words = text.split()
    return len(words) >= _MIN_COPIED_WORDS and [w.casefold() for w in words] == [w.casefold() for w in answer.split()]


def _base_code(language: Language) -> str:
    return language.code.partition("-")[0]


def _numbers(text: str) -> Counter[str]:
    """Return the numbers without their separators, which differ between languages."""
    digits = ("".join(str(unicodedata.digit(c)) for c in match if c.isdigit()) for match in _NUMBER.findall(text))
    return Counter(number.lstrip("0") or "0" for number in digits)


def _required_numbers(text: str) -> Counter[str]:
    """Return the numbers that a translation must keep: single digits only with a unit, others may become words."""
    spans = [text[span.start : span.end] for span in find_spans(text, {"number"})]
    return sum((_numbers(span) for span in spans if not (len(span) == 1 and span.isdigit())), Counter())


def is_usable_translation(segment: Segment, translation: str) -> bool:
    """Whether an external translation, such as one of a translation memory, can take the place of a segment."""
    return not find_lost_content(segment, translation) and not repeats_more(segment.text, translation)


def find_lost_content(segment: Segment, translation: str) -> list[str]:
    """Return what an external translation lacks: protected texts as often as in the segment, and emphasis."""
    wanted = Counter(segment.text[span.start : span.end] for span in segment.protected if span.kind != "number")
    missing = [text for text, count in wanted.items() if translation.strip().count(text) < count]
    emphasis = stored_emphasis_problem(segment, translation) if segment.emphasis and not missing else ""
    return [*missing, emphasis] if emphasis else missing


def wrap_to_width(answer: str, width: int, lines: int) -> str:
    """Return a subtitle in lines of at most ``width`` characters and similar length; unchanged if that needs too many.

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
