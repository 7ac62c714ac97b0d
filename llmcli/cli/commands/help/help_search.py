"""The search of ``llm help``: the sections of the documentation that have some words, the best first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmcli.cli.commands.help import help_topics
from llmcli.fast_dataclass import frozen

_MAX_MATCHES = 8
_MAX_COUNT = 5
"""More occurrences of the words than this say nothing more about a section."""
_HEADING_SCORE = 10
_START_SCORE = 3
_LINE_SCORE = 5

_HEADING = re.compile(r"(#{1,4}) (?P<title>.+)")
_BLOCK_START = re.compile(r"[-*|] |\d+\. ")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_SENTENCE_END = re.compile(r"(?<=[.!?]) (?=[A-Z\"])")
_MIN_STEM_CHARS = 3


@frozen
class PageSection:
    """A part of a page: its heading, and the sentences, table rows and lines of code below it, without marks."""

    topic: str
    heading: str
    lines: Sequence[str]


@frozen
class SectionMatch:
    """A section that has the words, and the line that fits them best."""

    topic: str
    section: str
    text: str


def search_sections(words: Sequence[str]) -> list[SectionMatch]:
    """Return the sections whose heading or text has all ``words``, the best first, at most ``_MAX_MATCHES``.

    Case and plurals make no difference. A number is an exit code: only "exit 3", "exit code 3" and the line of the code
    in the table of codes match.
    """
    patterns = [_word_pattern(word) for word in words]
    scored = []
    for topic in help_topics.list_topics():
        for section in split_sections(topic.name, topic.read()):
            score = _score(section, patterns)
            if score:
                scored.append((score, section))
    scored.sort(key=lambda each: each[0], reverse=True)  # sections of one score stay in reading order
    return [
        SectionMatch(section.topic, section.heading, _best_line(section, patterns))
        for _, section in scored[:_MAX_MATCHES]
    ]


def _word_pattern(word: str) -> re.Pattern[str]:
    if word.isdecimal():
        return re.compile(rf"\bexit(?: codes?)? {word}\b|^{word}: ", re.IGNORECASE)
    stem = word[:-1] if word.endswith("s") and len(word) > _MIN_STEM_CHARS else word
    return re.compile(rf"(?<!\w){re.escape(stem)}s?(?!\w)", re.IGNORECASE)


def _score(section: PageSection, patterns: Sequence[re.Pattern[str]]) -> int:
    """Return how well a section fits, 0 if it lacks a word."""
    score = 0
    for pattern in patterns:
        count = sum(len(pattern.findall(line)) for line in section.lines)
        in_heading = pattern.search(section.heading) is not None
        if not count and not in_heading:
            return 0
        starts = any(pattern.match(line) for line in section.lines)
        score += min(count, _MAX_COUNT) + _HEADING_SCORE * in_heading + _START_SCORE * starts
    together = any(all(pattern.search(line) for pattern in patterns) for line in section.lines)
    return score + _LINE_SCORE * together


def _best_line(section: PageSection, patterns: Sequence[re.Pattern[str]]) -> str:
    """Return the line that has most of the words, one that begins with a word before others."""

    def fit(line: str) -> tuple[int, bool]:
        found = [pattern.search(line) for pattern in patterns]
        return sum(match is not None for match in found), any(match and match.start() == 0 for match in found)

    return max(section.lines, key=fit, default="")  # the first of equals


def split_sections(topic: str, markdown: str) -> Iterator[PageSection]:
    """Yield the sections of a page; what stands before the first heading is left out."""
    heading, lines = "", list[str]()
    for title, text in _split_blocks(markdown):
        if not title:
            lines += text
            continue
        if heading:
            yield PageSection(topic, heading, lines)
        heading, lines = title, []
    if heading:
        yield PageSection(topic, heading, lines)


def _split_blocks(markdown: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield a page's headings, and the lines of its other blocks: sentences, the row of a table, a line of code."""
    in_fence = False
    block: list[str] = []
    for line in [*markdown.splitlines(), ""]:
        fence = line.lstrip().startswith("```")
        title = None if in_fence else _HEADING.fullmatch(line)
        if block and (fence or title or not line.strip() or _BLOCK_START.match(line.lstrip())):
            yield "", _plain_sentences(" ".join(block))
            block = []
        if title:
            yield title["title"].replace("`", ""), ()
        elif in_fence and not fence:
            yield "", (line.strip(),)
        elif not fence and line.strip() and not line.startswith(("<!--", "|--")):
            block.append(line.strip())
        in_fence ^= fence


def _plain_sentences(text: str) -> list[str]:
    """Return the sentences of a paragraph or an item without marks.

    The row of a table is one, with colons between cells.
    """
    text = _LINK.sub(r"\1", text).replace("`", "").replace("**", "")
    if text.startswith("|"):
        return [": ".join(filter(None, (cell.strip() for cell in text.split("|"))))]
    return _SENTENCE_END.split(re.sub(r"^[-*] ", "", text))
