"""The form of a written summary: bullets are a list, a headline is one line, minutes have their sections.

What models put around a summary (a fence, quotes, "Here is the summary:") is taken away without asking them again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.fast_dataclass import frozen
from llmcli.tasks.summarize.summary_options import BULLETS, HEADLINE, MINUTES

CHECKED_STYLES = frozenset({BULLETS, HEADLINE, MINUTES})
"""The styles with a form of their own; all others are words of any form."""
MINUTES_SECTIONS = ("topics", "decisions", "tasks")
"""The headings of minutes in English."""
_MAX_HEADING_WORDS = 6
_MAX_HEADLINE_WORDS = 30
_SENTENCE_ENDS = (".", "!", "?", "\u2026", "\u3002")
_FENCE = re.compile(r"\A(```|~~~)[^\n`]*\n(.*?)\n?[ \t]*\1\Z", re.DOTALL)
_QUOTES = {'"""': '"""', '"': '"', "\u201c": "\u201d", "\u201e": "\u201c", "\u00ab": "\u00bb", "'''": "'''"}
_ITEM = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+|[-\u2022\u2013\u2014](?:[ \t]+|(?=[^\W\d_])))(?P<text>.*)")
_HEADING_MARKS = re.compile(r"\A[ \t]*(?:#{1,6}[ \t]+|\*\*|__)+|[ \t]*(?:#+|\*\*|__)[ \t]*\Z")
_NAME = r"(?:headline|title|summary|minutes|bullets|bullet points|main points|abstract|outline|list)"
_PREAMBLE = re.compile(
    r"\A(?:(?:sure|certainly|of course|okay|ok)[,!.][^\n:]{0,120}|here(?:'s|\u2019s| is| are)\b[^\n:]{0,60}\b"
    rf"{_NAME}\b[^\n:]{{0,80}}|(?:the )?{_NAME}(?: of (?:the|this) \w+)?):[ \t]*",
    re.IGNORECASE,
)
_QUOTING = re.compile(r"has (?:text outside of|a section that)[^:]*: ")
_LAST_HEADING = re.compile(r"\n[ \t]*#{1,6}[ \t][^\n]*\Z")


def clean_summary(text: str, style: str) -> str:
    """Return a summary without the text around it, and a list without blank lines; the text if nothing is left."""
    cleaned = _unwrap(text.strip())
    cleaned = _unwrap(_PREAMBLE.sub("", _HEADING_MARKS.sub("", cleaned) if style == HEADLINE else cleaned).strip())
    if style == HEADLINE:
        cleaned = _unwrap(_HEADING_MARKS.sub("", cleaned).strip())
    elif style == BULLETS:
        cleaned = "\n".join(line.text for line in _clean_list(cleaned))
    elif style == MINUTES:
        cleaned = _clean_minutes(cleaned)
    else:
        cleaned = _LAST_HEADING.sub("", cleaned).rstrip()
    return cleaned if cleaned.strip() else text.strip()


def find_form_problem(text: str, style: str) -> str:
    """Return what is wrong with the form of a cleaned summary, as the end of "the summary ..."; "" if nothing is."""
    if not any(map(str.isalnum, text)):
        return "has no words"
    if style == BULLETS:
        return _list_problem(text)
    if style == HEADLINE:
        lines, words = len(text.splitlines()), len(text.split())
        if lines > 1:
            return f"is no headline: it has {lines} lines"
        return f"is no headline: it has {words} words" if words > _MAX_HEADLINE_WORDS else ""
    return _minutes_problem(text) if style == MINUTES else ""


_WORDS_OF_LINE = r"/[^\n]*\p{L}[^\n]*/"
_WORD = r"[^\n ]{1,40}"
_WORD_WITHIN = r"([^\n ]{0,39}[^\n .!?]|[^\n ]{1,3})"
"""A word that ends no sentence; a short one may be an abbreviation."""
_ITEMS = rf"""ITEM: "- " {_WORDS_OF_LINE}
items: ITEM ("\n" ITEM){{0,11}}
"""
_GRAMMARS = {
    BULLETS: f"start: items\n{_ITEMS}",
    # one word more than is right, so that a headline that does not end by itself is seen
    HEADLINE: f"start: LINE\nLINE: /({_WORD_WITHIN} ){{0,{_MAX_HEADLINE_WORDS}}}{_WORD}/ & {_WORDS_OF_LINE}\n",
    MINUTES: 'start: "## Topics\\n" items ("\\n\\n## Decisions\\n" items)? ("\\n\\n## Tasks\\n" items)?\n' + _ITEMS,
}


def form_grammar(draft: str, style: str) -> str | None:
    """Return the grammar of summaries that have their form, to be written after a ``draft`` that has not.

    None for a style of any form, and for minutes in another language than English, whose headings are not known.
    """
    return None if style == MINUTES and not _is_english(draft) else _GRAMMARS.get(style)


def _unwrap(text: str) -> str:
    """Return a text without a fence or quotes around all of it."""
    fenced = _FENCE.match(text)
    if fenced:
        text = fenced[2].strip()
    for opening, closing in _QUOTES.items():
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner.strip() and closing not in inner:
            return inner.strip()
    return text


@frozen
class _Line:
    """A line that is not blank: it begins a list item with the words ``item``, continues one, or is another line."""

    text: str
    item: str = ""
    begins: bool = False
    continues: bool = False

    @property
    def is_heading(self) -> bool:
        """Whether it can stand above a list: it is marked as a heading, or short and no sentence."""
        if self.begins or self.continues:
            return False
        if _HEADING_MARKS.search(self.text) or self.text.endswith(":"):
            return True
        return len(self.text.split()) <= _MAX_HEADING_WORDS and not self.text.endswith(_SENTENCE_ENDS)

    @property
    def title(self) -> str:
        """The words of a heading."""
        return _HEADING_MARKS.sub("", self.text.strip().rstrip(":")).strip().rstrip(":").casefold()


def _read_lines(text: str) -> Iterator[_Line]:
    """Yield the lines of a list that are not blank, without items that have no word or number."""
    in_item = False
    for line in text.splitlines():
        if not line.strip():
            continue
        found = _ITEM.fullmatch(line)
        if found:
            in_item = True
            if any(map(str.isalnum, found["text"])):
                yield _Line(line.rstrip(), found["text"], begins=True)
            continue
        in_item = in_item and (line.startswith(("  ", "\t")) or line[:1].islower())
        yield _Line(line.rstrip(), continues=in_item)


def _clean_list(text: str) -> list[_Line]:
    """Return the lines without headings above the first item and below the last one."""
    lines = list(_read_lines(text))
    if not any(line.begins for line in lines):
        return lines
    while lines[0].is_heading:
        del lines[0]
    while lines[-1].is_heading:
        del lines[-1]
    return lines


def _list_problem(text: str) -> str:
    lines = list(_read_lines(text))
    if not any(line.begins and any(map(str.isalpha, line.item)) for line in lines):
        return "is no list"
    others = [line for line in lines if not line.begins and not line.continues]
    return f"has text outside of its list: {_shorten(others[0].text)}" if others else ""


def _clean_minutes(text: str) -> str:
    """Return minutes without headings that have nothing below them, and with a blank line above the other ones."""
    lines = list(_read_lines(text))
    if not any(line.begins for line in lines):
        return text
    after = [*lines[1:], _Line("")]
    kept = [line for line, below in zip(lines, after, strict=True) if not line.is_heading or below.begins]
    return "\n".join(f"\n{line.text}" if line.is_heading else line.text for line in kept).strip()


def _minutes_problem(text: str) -> str:
    lines = list(_read_lines(text))
    after = [*lines[1:], _Line("")]
    titles = [line.title for line, below in zip(lines, after, strict=True) if line.is_heading and below.begins]
    if not titles or lines[0].begins:
        return "has no sections: headings with list items below them"
    others = [line for line in lines if not line.begins and not line.continues and not line.is_heading]
    if others:
        return f"has text outside of its sections: {_shorten(others[0].text)}"
    if not set(titles) <= set(MINUTES_SECTIONS) and _is_english(text):
        wrong = next(title for title in titles if title not in MINUTES_SECTIONS)
        return f"has a section that is none of topics, decisions and tasks: {_shorten(wrong)}"
    return ""


def _is_english(text: str) -> bool:
    """Whether a text is in English as far as one can say."""
    from llmcli.tasks.languages import detect_language

    language = detect_language(text)
    return language is None or language.code.startswith("en")


def quoted_words(problem: str) -> str:
    """Return the words of a summary that ``find_form_problem`` quotes; "" if it quotes none."""
    found = _QUOTING.match(problem)
    return problem[found.end() :] if found else ""


def _shorten(line: str) -> str:
    words = line.split()
    return " ".join(words[:_MAX_HEADING_WORDS]) + (" ..." if len(words) > _MAX_HEADING_WORDS else "")
