"""The first code block of an answer. Source of the rules: CommonMark 0.31.2, section 4.5, "Fenced code blocks"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.errors.incomplete_results import InvalidAnswer
from llmcli.fast_dataclass import frozen, replace
from llmcli.types import Delta, ItemFailed, Result, TaskEvent

_OPENING = re.compile(r"(?P<indent> *(?:(?:[-*+]|\d{1,9}[.)]) +)?)(?P<fence>`{3,}(?=[^`]*$)|~{3,})\s*(?P<language>\S*)")
"""The line that opens a block; inside a list item it is indented, or stands behind the item's mark."""


@frozen
class CodeBlock:
    """A code block: its text without the newline at its end, and its language ("" if the answer names none)."""

    text: str
    language: str


def find_code_block(text: str) -> CodeBlock | None:
    """Return the first fenced code block of ``text`` that is not blank; None if there is none.

    A block without a closing fence ends with the text.
    """
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    for line in lines:
        opening = _OPENING.match(line)
        if opening is None:
            continue
        block = list(_read_block(lines, opening["fence"], len(opening["indent"])))
        code = "\n".join(block).rstrip("\n")
        if code.strip():
            return CodeBlock(code, opening["language"])
    return None


class CodeBlockDetector:
    """Reads an answer as it comes, until its first code block that is not blank is complete."""

    def __init__(self) -> None:
        self._rest = ""  # a line that is not complete yet
        self._closing: re.Pattern[str] | None = None  # the line that ends the open block
        self._blank = True

    def feed(self, piece: str) -> bool:
        """Return whether the block is complete with this piece of the answer."""
        *lines, self._rest = (self._rest + piece).split("\n")
        return any(self._ends_block(line.removesuffix("\r")) for line in lines)

    def _ends_block(self, line: str) -> bool:
        if self._closing is None:
            if opening := _OPENING.match(line):
                self._closing, self._blank = _closing_pattern(opening["fence"]), True
            return False
        if self._closing.fullmatch(line):
            self._closing = None
            return not self._blank
        self._blank = self._blank and not line.strip()
        return False


def _closing_pattern(fence: str) -> re.Pattern[str]:
    """Return the pattern of the closing fence, which is as long as the opening one at least."""
    return re.compile(rf" *{re.escape(fence[0])}{{{len(fence)},}}\s*")


def _read_block(lines: Iterator[str], fence: str, indent: int) -> Iterator[str]:
    """Yield the lines up to the closing fence."""
    closing = _closing_pattern(fence)
    for line in lines:
        if closing.fullmatch(line):
            return
        own = len(line) - len(line.lstrip(" "))
        yield line[min(indent, own) :]


def extract_code(events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
    """Replace the text of a Result by its first code block (field ``language``), or it by an ``InvalidAnswer``.

    The field ``answer`` is the whole text that the model wrote.
    """
    for event in events:
        if isinstance(event, Result):
            block = find_code_block(event.text or "")
            if block is None:
                yield ItemFailed(event.item, event.name, _no_code_block())
            else:
                fields = {**event.fields, "language": block.language, "answer": event.text}
                yield replace(event, text=block.text, fields=fields)
        elif not isinstance(event, Delta) or event.reasoning:
            yield event


def _no_code_block() -> InvalidAnswer:
    return InvalidAnswer(
        "answer",
        message="the answer has no code block; without --extract it is printed as it is",
        type_name="NoCodeBlock",
    )
