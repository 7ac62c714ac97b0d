"""Checks whether an answer is a valid translation, and removes what models add around it.

Emphasis in Markdown comes as often as in the text, for each kind, anywhere in the sentence. A phrase is not repeated
over and over, as small models do.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise

from llmcli.documents.formats.markup.markdown_emphasis import count_emphasis, flanking_stand_in, space_wide_delimiters
from llmcli.documents.formats.markup.message_markdown import has_emphasis, lost_lines
from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans
from llmcli.documents.segments import Segment, protected_texts, split_at_protected
from llmcli.documents.text_cutting import split_sentences
from llmcli.fast_dataclass import frozen
from llmcli.tasks.languages import Language, base_code
from llmcli.tasks.translate.glossary import Term, uses_translation
from llmcli.tasks.translate.language_check import MIN_WORDS, is_foreign
from llmcli.tasks.translate.masking import MaskedText
from llmcli.tasks.translate.number_comparison import compare_numbers

REPETITION_PROBLEM = "the answer repeats itself"
_MIN_COMPARED_CHARS = 80
"""Number of characters of a text below which its translation may be as short as one character."""
_MAX_SHRINK_FACTOR = 10
"""How many times shorter a translation may be: one Chinese character can replace six letters."""
MIN_COPIED_WORDS = 5
"""Number of words from which an answer that repeats the text is no translation; fewer may all be names."""
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Bidirectional embeddings, overrides and isolates (UAX 9): they can show a text in another order than it has."""
_DIRECTION_MARKS = re.compile("[\u061c\u200e\u200f]")
"""Invisible characters with a direction, which right translations into a language of a right-to-left script may need."""
_RIGHT_TO_LEFT = frozenset({"ar", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"})
_PREAMBLE = re.compile(
    r"\A[\s*_#>\"'\u201c\u00ab-]{0,3}(?:sure|certainly|of course|okay|ok|here(?:'s|\u2019s| is| are)|the translation|translation|"
    r"translated (?:text|version)|voici|hier ist|aqu\u00ed (?:est\u00e1|tienes)|ecco|aqui est\u00e1)\b[^\n]{0,120}?:[ \t]*(?:\n+|(?=\S))",
    re.IGNORECASE,
)
_COMMENTARY = re.compile(
    r"\n[ \t]*\n[\s*_#>(\[-]{0,5}(?:notes?|explanations?|translat(?:ion|ed)|breakdown|original|source|this (?:is|translation|means)|here(?:'s| is| are)"
    r"|please note|let me|i(?:'ve| have|'m| am| hope| kept| used)|in this|hinweis|anmerkung|erkl\u00e4rung|remarque|explication|nota|explicaci\u00f3n"
    r"|spiegazione|explica\u00e7\u00e3o)\b",
    re.IGNORECASE,
)
_EMPTY_LINE = re.compile(r"\n[ \t]*\n")
_QUOTES = {'"': '"', "\u201c": "\u201d", "\u00ab": "\u00bb", "'": "'", "\u201e": "\u201c", "`": "`"}
_FENCE = re.compile(r"\A```[^\n`]*\n(.*?)\n?```\Z", re.DOTALL)
_EMPHASIS_CHARACTERS = frozenset("*_~")
MIN_ROUNDS = 3
"""A phrase that follows itself so often, and more often than any in the source, was not translated."""
MIN_PAIR_CHARS = 12
"""Letters of a pair of words that does not come often by itself, as "of the" does."""
MIN_PAIR_SHARE = 0.5
"""A translation of which such a pair takes so much was not translated either."""
_MAX_PHRASE_WORDS = 16
_WORD = re.compile(r"\w+")
_ROUNDS_WITHOUT_SPACES = re.compile(r"(\w{1,8}?)\1{2,}")
_IDEOGRAPH = re.compile("[\u3041-\u30ff\u3400-\u9fff]")
"""Characters of languages that separate no words: Japanese and Chinese."""


@frozen
class AnswerRequirements:
    """The requirements on the translation of one text.

    ``width`` of a line; ``emphasis`` and ``lines``: whether those of Markdown count.
    """

    masked: MaskedText
    source: Language | None
    target: Language
    terms: tuple[Term, ...] = ()
    width: int | None = None
    emphasis: bool = False
    lines: bool = False


def clean_answer(text: str, answer: str) -> str:
    """Return an answer without a preamble, commentary, quotes or a fence that ``text`` lacks; models add them."""
    answer = _unwrap_json(text, answer.strip())
    fenced = _FENCE.match(answer)
    if fenced and not text.startswith("```"):
        answer = fenced[1].strip()
    preamble = _PREAMBLE.match(answer)
    if preamble and not _PREAMBLE.match(text) and answer[preamble.end() :].strip():
        answer = answer[preamble.end() :].strip()
    commentary = None if _COMMENTARY.search(text) else _COMMENTARY.search(answer)
    if commentary and len(split_sentences(answer[: commentary.start()])) >= len(split_sentences(text)):
        answer = answer[: commentary.start()].rstrip()
    closing = _QUOTES.get(answer[:1])
    if closing and len(answer) > 2 and answer.endswith(closing) and text[:1] != answer[:1]:  # noqa: PLR2004 (a text between two quotes)
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
    plain, said = (_strip_controls(marked.strip_masks(part)) for part in (text, answer))
    if len(plain) > _MIN_COMPARED_CHARS and len(said) * _MAX_SHRINK_FACTOR < len(plain):
        found.append("the translation is far too short")
    if _is_copy(plain, said, expected) or is_foreign(plain, said, expected.source, expected.target):
        found.append(wrong_language_problem(expected.target))
    if any(map(str.isalpha, plain)) and not any(map(str.isalpha, said)):
        found.append("the answer has no words")
    if said.lstrip().startswith('{"') and not plain.lstrip().startswith("{"):
        found.append("the answer is JSON")
    if repeats_more(plain, said):
        found.append(REPETITION_PROBLEM)
    invented = _count_syntax(said) - _count_syntax(plain)
    if invented:
        found.append(f"not in the source text: {' '.join(invented)}")
    found += _number_problems(plain, said, expected)
    if added := added_directions(plain, said, expected.target):
        found.append(f"bidirectional controls are not in the source text: {' '.join(added)}")
    lost = [term for term in expected.terms if not uses_translation(term, said, expected.target.code)]
    found += [f"{term.term!r} must be translated as {term.translation!r}" for term in lost]
    return found + _width_problems(answer, expected.width)


def _number_problems(text: str, answer: str, expected: AnswerRequirements) -> list[str]:
    numbers = compare_numbers(text, answer, expected.source, expected.target)
    if numbers is None:
        return []
    kinds = [("missing", numbers.missing), ("not in the source text", numbers.added)]
    return [f"numbers are {what}: {', '.join(sorted(texts))}" for what, texts in kinds if texts]


def _width_problems(answer: str, width: int | None) -> list[str]:
    longest = max(map(len, answer.split("\n")))
    return [f"a line has {longest} characters; at most {width} fit"] if width is not None and longest > width else []


def _strip_controls(text: str) -> str:
    """Return a text without control sequences; those that an answer invents are removed from it."""
    return "".join(
        part
        for part, kept in split_at_protected(text, protected_texts(text, find_spans(text, {"control"})))
        if not kept
    )


def _markup_problems(text: str, answer: str, expected: AnswerRequirements) -> list[str]:
    marks = expected.masked.find_problem(text, answer)
    emphasis = emphasis_problem(expected.masked, text, answer) if expected.emphasis else ""
    lines = lost_lines(text, answer) if expected.lines else ""
    wrong = {"marks are": marks, "emphasis is": emphasis, "lines are": lines}
    found = [f"the {what} wrong: {problem}" for what, problem in wrong.items() if problem]
    if _EMPTY_LINE.search(answer) and not _EMPTY_LINE.search(text):
        found.append("the answer has several paragraphs")
    if expected.lines and _adds_backticks(text, answer, expected.masked):
        found.append("a backtick is not in the source text")
    longer = [] if marks else _lengthened_addresses(text, answer, expected.masked)
    return found + [f"the address {address} needs a blank after it" for address in longer]


def _adds_backticks(text: str, answer: str, masked: MaskedText) -> bool:
    """Whether an answer has more backticks between its code, so that other words become code."""
    if not any(original.startswith("`") for original in masked.originals):
        return False
    return masked.strip_masks(answer).count("`") > masked.strip_masks(text).count("`")


def _lengthened_addresses(text: str, answer: str, masked: MaskedText) -> list[str]:
    """Return the addresses that get longer by the words which follow them at once in an answer with valid marks."""
    originals = [original for original in masked.originals if "://" in original]
    if not originals:
        return []
    source, said = masked.unmask(text), masked.unmask(answer)
    found = {said[span.start : span.end] for span in find_spans(said, {"url"})} - set(originals)
    longer = [address for address in found if address not in source]
    return [original for original in originals if any(address.startswith(original) for address in longer)]


def _count_syntax(text: str) -> Counter[str]:
    """Count the tags, addresses and placeholders in a text: text that other programs interpret."""
    return Counter(text[span.start : span.end] for span in find_spans(text, PLAIN_TEXT_KINDS - {"code", "control"}))


def _is_copy(text: str, answer: str, expected: AnswerRequirements) -> bool:
    if expected.source is not None and base_code(expected.source) == base_code(expected.target):
        return False
    words = text.split()
    plain_words = [word for word in words if not any(map(str.isdigit, word))]
    if len(words) < MIN_COPIED_WORDS or len(plain_words) < MIN_WORDS:
        return False
    return [w.casefold() for w in words] == [w.casefold() for w in answer.split()]


def wrong_language_problem(target: Language) -> str:
    """Return the problem of an answer in another language."""
    return f"the answer is not in {target.name}"


def added_directions(text: str, translation: str, target: Language) -> list[str]:
    """Return the bidirectional controls that a translation has more often than its source, by their code points."""
    patterns = [_DIRECTIONS] if base_code(target) in _RIGHT_TO_LEFT else [_DIRECTIONS, _DIRECTION_MARKS]
    added = Counter[str]()
    for pattern in patterns:
        added += Counter(pattern.findall(translation)) - Counter(pattern.findall(text))
    return [f"U+{ord(character):04X}" for character in added]


def is_usable_translation(segment: Segment, translation: str) -> bool:
    """Whether an external translation, such as one of a translation memory, can take the place of a segment."""
    return not find_lost_content(segment, translation) and not repeats_more(segment.text, translation)


def find_lost_content(segment: Segment, translation: str) -> list[str]:
    """Return what an external translation lacks: protected texts as often as in the segment, emphasis, and lines."""
    wanted = Counter(segment.text[span.start : span.end] for span in segment.protected if span.kind != "number")
    missing = [text for text, count in wanted.items() if translation.strip().count(text) < count]
    emphasis = stored_emphasis_problem(segment, translation) if counts_emphasis(segment) and not missing else ""
    lines = lost_lines(segment.text, translation) if counts_lines(segment) else ""
    return [*missing, *filter(None, (emphasis, lines))]


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


# ---- Markdown --------------------------------------------------------------------------------------------------------


def counts_emphasis(segment: Segment) -> bool:
    """Whether the emphasis of a segment counts: in Markdown, and in a message that has some."""
    return segment.emphasis or (segment.kind == "message" and has_emphasis(segment.text, segment.protected))


def counts_lines(segment: Segment) -> bool:
    """Whether the lines of a segment may be paragraphs and lists: in Markdown, those are segments of their own."""
    return segment.kind == "message"


def emphasis_problem(marked: MaskedText, text: str, answer: str) -> str:
    """Return what is wrong with the emphasis of ``answer``, the translation of a part of ``marked``; "" if nothing.

    An unmatched delimiter in a whole text is a literal character, and the answer may not have more of them. In a part
    of a text its other end may be in the next part, so it has to stay.
    """
    source, found = (marked.replace_masks(part, flanking_stand_in) for part in (text, answer))
    return _compare_emphasis(source, found, whole=text == marked.text)


def fix_delimiter_spacing(marked: MaskedText, text: str, answer: str) -> str:
    """Return an answer with blanks around delimiters, if that alone corrects its emphasis."""
    if not emphasis_problem(marked, text, answer):
        return answer
    changed = space_wide_delimiters(answer)
    return answer if emphasis_problem(marked, text, changed) else changed


def stored_emphasis_problem(segment: Segment, translation: str) -> str:
    """Return what is wrong with the emphasis of an external translation that contains its protected texts."""
    wanted = protected_texts(segment.text, segment.protected)
    source, found = (
        "".join(flanking_stand_in(part) if kept else part for part, kept in split_at_protected(text, wanted))
        for text in (segment.text, translation)
    )
    return _compare_emphasis(source, found, whole=True)


def _compare_emphasis(text: str, answer: str, *, whole: bool) -> str:
    if not _EMPHASIS_CHARACTERS & {*text, *answer}:
        return ""
    wanted, found = count_emphasis(text), count_emphasis(answer)
    stray = found.unpaired - wanted.unpaired
    torn = Counter() if whole else wanted.unpaired - found.unpaired
    words = [
        (wanted.pairs - found.pairs, "is missing"),
        (found.pairs - wanted.pairs, "is not in the source text"),
        (stray, "is unmatched"),
        (torn, "is missing"),
    ]
    return ", ".join(f"{' '.join(sorted(kinds))} {what}" for kinds, what in words if kinds)


# ---- repeated phrases ------------------------------------------------------------------------------------------------


def repeats_more(source: str, translation: str) -> bool:
    """Whether a translation repeats a phrase over and over that its source does not repeat."""
    before, after = (_WORD.findall(text.casefold()) for text in (source, translation))
    rounds = _count_rounds(after)
    if rounds >= MIN_ROUNDS and rounds > max(_count_rounds(before), _count_rounds_without_spaces(source)):
        return True
    count, share = _most_frequent_pair(after)
    words = Counter([*before, *_IDEOGRAPH.findall(source)])
    return count >= MIN_ROUNDS and share >= MIN_PAIR_SHARE and count > max(words.values(), default=0)


def _count_rounds(words: list[str]) -> int:
    """Return how often the phrase that follows itself most often does so."""
    most = min(1, len(words))
    for length in range(1, min(_MAX_PHRASE_WORDS, len(words) // 2) + 1):
        run = 0
        for word, later in zip(words, words[length:], strict=False):
            run = run + 1 if word == later else 0
            most = max(most, 1 + run // length)
    return most


def _count_rounds_without_spaces(text: str) -> int:
    return max((len(match[0]) // len(match[1]) for match in _ROUNDS_WITHOUT_SPACES.finditer(text)), default=1)


def _most_frequent_pair(words: list[str]) -> tuple[int, float]:
    """Return how often the most frequent long pair of words comes, and its share of the words."""
    pairs = Counter(pair for pair in pairwise(words) if len(pair[0]) + len(pair[1]) >= MIN_PAIR_CHARS)
    count = max(pairs.values(), default=0)
    return count, 2 * count / len(words) if count else 0.0
