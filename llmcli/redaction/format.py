"""One format of private values: how it is found, an example and a counter-example, and who defines it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from llmcli.fast_dataclass import frozen
from llmcli.redaction.normalization import Range
from llmcli.redaction.text_index import TextIndex

VALUE_START, VALUE_END = "\u27e6", "\u27e7"
"""The marks around the value in an example."""


@frozen
class Format:
    """A format of private values.

    ``pattern``: what documentation shows, and for most formats the regular expression that finds the value: its group
    ``v`` or ``b``, else the whole match. ``context``: the format is searched in texts that hold one of these words,
    in lower case. ``example``: a text with the value between marks; ``counter_example``: a similar text without a
    private value. ``source``: who defines the format. ``find``: a function instead of a pattern; ``decodes``: it
    reads the text with escaped spaces, hyphens and digits decoded.
    """

    name: str
    pattern: str
    example: str
    counter_example: str
    source: str
    context: tuple[str, ...] = ()
    kind: str = "key"
    find: Callable[[TextIndex], Iterable[Range]] | None = None
    decodes: bool = False

    def example_parts(self) -> tuple[str, str]:
        """Return the text of the example and the value in it."""
        value = self.example.partition(VALUE_START)[2].partition(VALUE_END)[0]
        return self.example.replace(VALUE_START, "").replace(VALUE_END, ""), value

    def compile(self) -> re.Pattern[str]:
        """Return the compiled pattern."""
        return re.compile(self.pattern, re.MULTILINE)
