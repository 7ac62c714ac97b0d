"""Records: the items of a line-oriented input."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from llmcli.frozen_dataclass import frozen


@frozen
class Record:
    """``text`` without its line ending; ``index`` counts records from 0, ``line`` counts lines from 1.

    ``file`` names the input if there are several.
    """

    index: int
    text: str
    line: int
    file: str = ""


def iter_line_records(text: str) -> Iterator[Record]:
    """Yield one record a line, including blank lines, so that output lines match input lines; "" has none.

    A line ends with LF or CRLF; the last line may lack it.
    """
    start = 0
    for index in itertools.count():
        if start >= len(text):
            return
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield Record(index, text[start:end].removesuffix("\r"), index + 1)
        start = end + 1


def count_line_records(text: str) -> int:
    """Return how many records ``iter_line_records`` yields, without creating them."""
    return text.count("\n") + (text != "" and not text.endswith("\n"))
