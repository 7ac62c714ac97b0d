"""The sentences of a text, and which of them may stand in a summary: prose, but no headings, tables, markup or code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmcli.documents.sentences import find_sentences
from llmcli.fast_dataclass import frozen
from llmcli.tasks.summarize.summary_options import count_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CODE_BLOCK = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL)
_HEADING_MARK = re.compile(r"[ \t>]*#{1,6}[ \t]+\Z")
_TABLE_ROW = re.compile(r"[ \t>]*\|")
_SKIPPED_BLOCK = re.compile(
    rf"{CODE_BLOCK.pattern}"
    r"|^[ \t]*<!--.*?(?:-->|\Z)"
    r"|^[ \t]*<(?P<tag>pre|table|script|style|svg)\b.*?(?:</(?P=tag)>|\Z)"
    # indented lines below a line that ends with a colon, unless they are a list
    r"|^(?P<outer>[ \t]*)[^\s|][^\n]*:[ \t]*\n(?:[ \t]*\n)+"
    r"(?P<code>(?=\s+(?![-*+\u2022] |\d{1,3}[.)] )[^\s])(?:(?P=outer)(?:[ ]{4}|\t)[ \t]*[^\s][^\n]*(?:\n|\Z)|[ \t]*\n)+)"
    # directives of reStructuredText: those of code and pictures with all that is indented below them
    r"|^(?P<at>[ \t]*)\.\.[ ](?:\|[^|\n]*\|[ ])?(?:code-block|code|sourcecode|parsed-literal|raw|image|figure|csv-table|list-table|math)"
    r"::[^\n]*\n(?:(?P=at)[ ]{2,}[ \t]*[^\s][^\n]*(?:\n|\Z)|[ \t]*\n)*"
    r"|^\.\.[ ](?:\[?[\w.-]+\]?:: *|_|\|)[^\n]*(?:\n|\Z)(?:[ ]{2,}:[^\n]*\n)*",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\[\]]*\](?:\([^()]*\)|\[[^\[\]]*\])")
_MARKUP = re.compile(r"!\[|<[a-zA-Z!/]|&(?:[a-z]{1,20}|#\d{1,7});|=[\"']|://|www\.|\|", re.IGNORECASE)
"""Images and badges, HTML, bare links and the borders of cells."""
_COLUMNS = re.compile(r"[^\s] {3,}[^\s][^\n]*[^\s] {3,}[^\s]")
_CODE = re.compile(r"\A(?:\$|>>>|%|#!)\s|[{}]|==|=>|;\Z|::")
_PARAGRAPH_BREAK = re.compile(r"\n[ \t]*\n")
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019\u00bb)\]*_`\u300d\u300f\uff09]{0,3}\Z")
_MIN_LETTER_SHARE = 0.7
_MIN_WORDS, _MIN_UNENDED_WORDS = 3, 8
_MAX_ROW_CHARS = 1000


@frozen
class SentenceCandidate:
    """``text[start:end]`` is a sentence of ``words`` words; ``eligible``: it may stand in a summary."""

    start: int
    end: int
    words: int
    eligible: bool
    begins_paragraph: bool


def find_candidates(text: str) -> Iterator[SentenceCandidate]:
    """Yield the sentences of a text in order."""
    code_blocks = (match.span("code" if match["code"] else 0) for match in _SKIPPED_BLOCK.finditer(text))
    code_start, code_end = next(code_blocks, (len(text), len(text)))
    last_end = 0
    for start, end in find_sentences(text):
        while code_end <= start and code_start < len(text):
            code_start, code_end = next(code_blocks, (len(text), len(text)))
        words = count_words(text[start:end])
        in_code = end > code_start
        eligible = not in_code and _is_prose(text, start, end, words)
        begins = not last_end or _PARAGRAPH_BREAK.search(text, last_end, start) is not None
        yield SentenceCandidate(start, end, words, eligible, begins)
        last_end = end


def _is_prose(text: str, start: int, end: int, words: int) -> bool:
    """Whether a sentence is one: no heading, row, image, markup, address or code, and no scrap such as a title."""
    line_start = max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1
    sentence = text[start:end]
    if _HEADING_MARK.match(text, line_start, start) or _TABLE_ROW.match(text, line_start, start + 1):
        return False
    plain = _LINK.sub("", _CODE_SPAN.sub("", sentence))
    if _MARKUP.search(plain) or _CODE.search(plain) or sentence.endswith(":"):
        return False
    row = _CODE_SPAN.sub("", text[line_start : line_start + _MAX_ROW_CHARS].partition("\n")[0])
    if " | " in row or _COLUMNS.search(plain) or count_words(plain) < _MIN_WORDS:
        return False
    if words < (_MIN_WORDS if _SENTENCE_END.search(sentence) else _MIN_UNENDED_WORDS):
        return False
    visible = sum(not character.isspace() for character in sentence)
    return sum(map(str.isalpha, sentence)) >= _MIN_LETTER_SHARE * visible


BLOCK_ROWS = 1024
_MAX_MEMORY_BYTES = 8 << 20


class SentenceStore:
    """Keeps sentences by their numbers, which may be added in any order; vectors have 16 bits for each number.

    ``eligible`` counts the sentences that may stand in a summary, ``eligible_words`` their words.
    """

    def __init__(self) -> None:
        from tempfile import SpooledTemporaryFile

        self._file = SpooledTemporaryFile(_MAX_MEMORY_BYTES)  # noqa: SIM115 (closed by ``close``)
        self._row: Any = None
        self._count = 0
        self.eligible = self.eligible_words = 0

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def add(self, number: int, sentence: SentenceCandidate, vector: NDArray[np.float32]) -> None:
        """Add a sentence. All vectors have the same length."""
        import numpy as np

        if self._row is None:
            fields = [("start", "<u8"), ("end", "<u8"), ("words", "<u4"), ("eligible", "?"), ("begins", "?")]
            self._row = np.dtype([*fields, ("vector", "<f2", vector.shape)])
        row = np.zeros((), dtype=self._row)
        row["start"], row["end"], row["words"] = sentence.start, sentence.end, sentence.words
        row["eligible"], row["begins"], row["vector"] = sentence.eligible, sentence.begins_paragraph, vector
        self._file.seek(number * self._row.itemsize)
        self._file.write(row.tobytes())
        self._count += 1
        self.eligible += sentence.eligible
        self.eligible_words += sentence.words * sentence.eligible

    def blocks(self) -> Iterator[tuple[int, NDArray[np.void]]]:
        """Yield the number of the first sentence of each block, and the rows of the block.

        A row has the fields ``start``, ``end``, ``words``, ``eligible``, ``begins`` and ``vector``.
        """
        import numpy as np

        for first in range(0, self._count, BLOCK_ROWS):
            self._file.seek(first * self._row.itemsize)
            data = self._file.read(min(BLOCK_ROWS, self._count - first) * self._row.itemsize)
            yield first, np.frombuffer(data, dtype=self._row)
