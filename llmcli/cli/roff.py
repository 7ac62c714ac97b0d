"""Text in roff, the language of manual pages, with the macros that both groff and mandoc support (man(7)).

Every hyphen becomes a minus sign, since readers copy options and names from a page.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

_MAX_SOURCE_COLUMNS = 79
_ESCAPES = {"\\": "\\e", "-": "\\-", "~": "\\(ti", "^": "\\(ha", "`": "\\(ga"}
_PROSE_PARTS = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<strong>[^*]+)\*\*"
    r"|\[(?P<link>[^\]]+)\]\([^)]+\)"
    r"|(?<![\w-])(?P<option>--?[A-Za-z][\w-]*)"
)
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)][.:;]) (?=[A-Z])")


def escape(text: str) -> str:
    """Return ``text`` as it is read back letter for letter; it may not begin a line."""
    escaped = "".join(_ESCAPES.get(char, char if char.isascii() else f"\\[u{ord(char):04X}]") for char in text)
    return escaped.replace("'", "\\(aq")


def bold(text: str) -> str:
    """Return ``text`` in bold: what is typed as it is."""
    return f"\\fB{escape(text)}\\fR"


def italic(text: str) -> str:
    """Return ``text`` in italics: what stands for something else."""
    return f"\\fI{escape(text)}\\fR"


def placeholders(text: str) -> str:
    """Return the placeholder of a value: words in capitals in italics, literal words in bold; a line may end after |."""
    words = re.split(r"([A-Z]+|[a-z][a-z-]*)", text)
    marked = (italic(word) if word.isupper() else bold(word) if word.isalpha() else escape(word) for word in words)
    return "".join(marked).replace("|", r"|\:")


def prose(text: str) -> Iterator[str]:
    """Yield the source lines of a paragraph: options and Markdown's marked words in bold, links as their text."""
    for sentence in _SENTENCE_END.split(" ".join(_inline(text).split())):
        lines = textwrap.wrap(sentence, _MAX_SOURCE_COLUMNS, break_long_words=False, break_on_hyphens=False)
        yield from (_protect_start(line) for line in lines)


def _inline(text: str) -> str:
    """Return prose with its inline marks as roff."""
    marked, end = "", 0
    for part in _PROSE_PARTS.finditer(text):
        marked += _escape_prose(text[end : part.start()])
        marked += _inline(part["link"]) if part["link"] else bold(part["code"] or part["strong"] or part["option"])
        end = part.end()
    return marked + _escape_prose(text[end:])


def _escape_prose(text: str) -> str:
    return escape(text).replace("\\(aq", "'")  # an apostrophe; in code it is a quotation mark


def _protect_start(line: str) -> str:
    """Return ``line``, protected from being read as a request of roff."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def title(name: str, source: str) -> Iterator[str]:
    """Yield the head of the page called ``name``, which has no date, without hyphenation."""
    yield from [f'.TH {escape(name.upper())} 1 "" "{escape(source)}" "llmcli manual"', ".nh"]


def section(name: str) -> str:
    """Return the heading of a section."""
    return f".SH {escape(name)}"


def subsection(name: str) -> str:
    """Return the heading below a section's."""
    return f".SS {escape(name)}"


def paragraphs(text: str) -> Iterator[str]:
    """Yield paragraphs, which empty lines separate; those that begin with "- " are items."""
    for paragraph in re.split(r"\n\s*\n|\n(?=- )", text.strip()):
        if paragraph.startswith("- "):
            yield from [r".IP \(bu 2", *prose(paragraph[2:])]
        else:
            yield from [".PP", *prose(paragraph)]


def tagged(tag: str, text: str) -> Iterator[str]:
    """Yield an entry of a list: ``tag`` is roff, ``text`` is what it means."""
    yield from [".TP", _protect_start(tag), *prose(text)]


def example(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines as they are."""
    yield from [".PP", ".EX", *(_protect_start(escape(line)) for line in lines), ".EE"]


def join(lines: Iterable[str]) -> str:
    """Return a page; a heading needs no paragraph macro after it."""
    kept: list[str] = []
    for line in lines:
        if line != ".PP" or not kept[-1].startswith((".SH", ".SS")):
            kept.append(line)
    return "\n".join(kept) + "\n"


def see_also(pages: Sequence[str]) -> Iterator[str]:
    """Yield references to manual pages of section 1."""
    yield from (f".BR {escape(page)} (1){',' if page != pages[-1] else ''}" for page in pages)
