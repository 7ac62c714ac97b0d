r"""Lark grammars that admit only what stands in a passage.

Source of the format: llguidance, "Grammar syntax" (docs/syntax.md), regular expressions from ``substring_chunks``: the
texts of consecutive chunks, as an automaton over the suffixes of the list (linear in its length).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

from llmcli.documents.sentences import UNSPACED_CHARACTERS

NO_QUOTATION = "NONE"
"""The answer of a model where nothing in a passage is worth quoting."""
MAX_QUOTATION_CHARACTERS = 400
MIN_QUOTATION_WORDS = 5
CHARACTERS_PER_WORD = 2
"""Of a script without spaces; so many count as one word."""
PARAGRAPH_END = re.compile(r"(?:\r\n?|\n)[ \t]*(?:\r\n?|\n)\s*|\f")
"""A blank line, or the end of a page."""
_UNSPACED = re.compile(f"[{UNSPACED_CHARACTERS}]")
_WORD_PARTS = re.compile(f"[{UNSPACED_CHARACTERS}]|[^{UNSPACED_CHARACTERS}]+")
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026]) |(?<=[\u3002\uff01\uff1f])")
_SENTENCE_MARKS = ".!?\u2026\u3002\uff01\uff1f"


def quote_grammar(
    passage: str,
    *,
    min_words: int = MIN_QUOTATION_WORDS,
    max_characters: int = MAX_QUOTATION_CHARACTERS,
    allows_none: bool = True,
) -> str:
    """Return a grammar of the quotes from ``passage``, and of "NONE" if it is allowed; see ``quote_terminal``.

    A passage without words admits "NONE" alone.
    """
    terminal = quote_terminal("QUOTATION", passage, min_words=min_words, max_characters=max_characters)
    choices = ([json.dumps(NO_QUOTATION)] if allows_none or not terminal else []) + (["QUOTATION"] if terminal else [])
    return f"start: {' | '.join(choices)}\n{terminal}"


def quote_terminal(
    name: str,
    passage: str,
    *,
    min_words: int = 1,
    max_characters: int = MAX_QUOTATION_CHARACTERS,
    json_escaped: bool = False,
) -> str:
    """Return the lines that define the terminal ``name``, the quotes from ``passage``; "" if it has no words.

    A quote begins and ends where white space does (or a character of a script without spaces), so it cuts no number
    and no name. White space inside a paragraph is one blank, as models write it, and a quote lies in one paragraph.
    It has at least ``min_words`` words, or is a whole sentence of less, and at most ``max_characters`` characters.
    ``json_escaped``: it is written as inside the quotes of a JSON string. ``PassageSpan.locate`` finds it.
    """
    write: Callable[[str], str] = _escape_json if json_escaped else str
    chunks = [chunk if chunk == "\n" else write(chunk) for chunk in split_chunks(passage)]
    if not chunks:
        return ""
    words = rf"\S+( \S+){{{min_words - 1},}}" if min_words > 1 else r"\S[^\n]*"
    if min_words > 1 and _UNSPACED.search(passage):
        few = CHARACTERS_PER_WORD * min_words - 1
        words += rf"|[^\n]*[{UNSPACED_CHARACTERS}][^\n]{{{few},}}|[^\n]{{{few},}}[{UNSPACED_CHARACTERS}][^\n]*"
    shorter = [json.dumps(write(each), ensure_ascii=False) for each in _short_sentences(passage, min_words)]
    return (
        f"{name}: {' | '.join([f'{name}_SPAN', *shorter])}\n"
        rf"{name}_SPAN: {name}_CHUNKS & /\S([^\n]{{0,{max(0, max_characters - 2)}}}\S)?/ & /({words})/"
        f"\n{chunks_terminal(f'{name}_CHUNKS', chunks)}"
    )


def chunks_terminal(name: str, chunks: Sequence[str]) -> str:
    """Return the line that defines the terminal ``name``: the texts of consecutive ``chunks``, the empty one too."""
    return f"{name}: %regex {json.dumps({'substring_chunks': list(chunks)}, ensure_ascii=False)}\n"


def split_chunks(passage: str, word_parts: re.Pattern[str] = _WORD_PARTS) -> Iterator[str]:
    """Yield the words of a passage with a blank between them, and a line end between two paragraphs.

    A word is yielded in its parts, the matches of ``word_parts``, which have all of its characters.
    """
    for number, paragraph in enumerate(filter(str.strip, PARAGRAPH_END.split(passage))):
        if number:
            yield "\n"
        for index, word in enumerate(paragraph.split()):
            if index:
                yield " "
            yield from word_parts.findall(word)


def count_quoted_words(text: str) -> int:
    """Return the number of words by which ``min_words`` is meant: those between spaces, or characters by the pair."""
    return max(len(text.split()), len(_UNSPACED.findall(text)) // CHARACTERS_PER_WORD)


def is_long_enough(text: str, passage: str, min_words: int) -> bool:
    """Whether a text from ``passage`` has so many words, or is a whole sentence of it."""
    said = " ".join(text.split())
    return count_quoted_words(said) >= min_words or said in _short_sentences(passage, min_words)


def _short_sentences(passage: str, min_words: int) -> list[str]:
    """Return the sentences of two words or more but less than ``min_words``; a passage of so few words as a whole."""
    paragraphs = "".join(split_chunks(passage)).split("\n")
    found = {
        sentence: None
        for paragraph in paragraphs
        for sentence in _SENTENCE_END.split(paragraph)
        if 1 < len(sentence.split()) < min_words and sentence[-1] in _SENTENCE_MARKS
    }
    if len(paragraphs) == 1 and 0 < count_quoted_words(paragraphs[0]) < min_words:
        found[paragraphs[0]] = None
    return list(found)


def _escape_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
