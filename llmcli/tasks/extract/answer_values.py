"""The values of one answer: JSON read with the place of each value in it, and each value looked up in the passage."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.fast_dataclass import frozen
from llmcli.tasks.extract.value_locator import ValueLocator
from llmcli.tasks.extract.value_schema import LeafKind, LeafNode, ListNode, ValueNode
from llmcli.tasks.quotes.quotable_text import Quote

MAX_ANSWER_CHARACTERS = 200_000
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
_FENCE = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)


@frozen
class ExtractedValue:
    """A value other than null. ``quote``: what it was taken from, None for a choice that the text does not name.

    ``probability``: of the tokens of the value, given what came before; None if the backend does not report them.
    ``ambiguous``: the quote may mean another value too.
    """

    value: Any
    quote: Quote | None = None
    probability: float | None = None
    ambiguous: bool = False


Tree = ExtractedValue | list["Tree"] | dict[str, "Tree"] | None
"""The values of an answer in their structure; None is null."""


class UnusableAnswer(Exception):
    """An answer that is not JSON of the required form; its text says why."""


@frozen
class TokenProbabilities:
    """The tokens of an answer (bytes) with their natural-log probabilities; empty if they were not reported."""

    tokens: Sequence[tuple[bytes, float]] = ()

    def of_spans(self, text: str, spans: Sequence[tuple[int, int]]) -> list[float | None]:
        """Return the probability of each range of the answer ``text``, in ascending order."""
        written = b"".join(token for token, _ in self.tokens)
        at = written.find(text.encode()) if self.tokens and spans else -1
        if at < 0:
            return [None] * len(spans)
        found: list[float | None] = []
        ends = []
        for token, _ in self.tokens:
            at -= len(token)
            ends.append(-at)
        index = 0
        start_bytes = end_bytes = last = 0
        for start, end in spans:
            start_bytes += len(text[last:start].encode())
            end_bytes = start_bytes + len(text[start:end].encode())
            while index < len(ends) and ends[index] <= start_bytes:
                index += 1
            total, each = 0.0, index
            while each < len(ends) and (each == index or ends[each - 1] < end_bytes):
                total += self.tokens[each][1]
                each += 1
            found.append(math.exp(total))
            start_bytes, last = end_bytes, end
        return found


def parse_answer(answer: str) -> tuple[Any, str, list[tuple[int, int]]]:
    """Return the JSON of an answer, its text without a code fence, and the ranges of its single values in their order.

    Raises ``UnusableAnswer``.
    """
    fenced = _FENCE.match(answer)
    text = fenced[1] if fenced else answer.strip()
    if len(text) > MAX_ANSWER_CHARACTERS:
        raise UnusableAnswer(f"it is longer than {MAX_ANSWER_CHARACTERS:,} characters")
    try:
        value = json.loads(text, object_pairs_hook=_unique_names, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UnusableAnswer(f"it is not JSON: {error}") from error
    return value, text, _value_spans(text)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _value_spans(text: str) -> list[tuple[int, int]]:
    """Return the ranges of texts (inside their quotation marks), numbers and literals that are no names."""
    spans: list[tuple[int, int]] = []
    last: tuple[int, int] | None = None
    for match in _TOKEN.finditer(text):
        part = match[0]
        if part == ":":
            last = None
        elif part not in "[]{},":
            last = (match.start() + 1, match.end() - 1) if part[0] == '"' else match.span()
            continue
        if last is not None:
            spans.append(last)
            last = None
    return spans if last is None else [*spans, last]


class AnswerReader:
    """Looks up the values of one answer; ``problems`` names those that the passage does not hold, which become null."""

    def __init__(self, locator: ValueLocator, probabilities: Iterator[float | None], *, exact: bool) -> None:
        self.problems: list[str] = []
        self._locator = locator
        self._probabilities = probabilities
        self._exact = exact

    def read(self, node: ValueNode, value: Any, name: str) -> Tree:
        """Return the tree of a value that has the form of ``node``; ``name`` is its path."""
        if isinstance(node, LeafNode):
            return self._read_leaf(node, value, name)
        if isinstance(node, ListNode):
            found = [self.read(node.item, each, f"{name}[{index}]") for index, each in enumerate(value or ())]
            return [each for each in found if each is not None]
        if value is None:
            next(self._probabilities)
            return None
        prefix = f"{name}." if name else ""
        nodes = {each.name: each.node for each in node.properties}
        read = {key: self.read(nodes[key], each, prefix + key) for key, each in value.items()}  # in the answer's order
        return {key: read[key] for key in nodes}

    def _read_leaf(self, node: LeafNode, value: Any, name: str) -> ExtractedValue | None:
        probability = next(self._probabilities)
        if value is None:
            return None
        if node.kind is LeafKind.BOOLEAN:
            return ExtractedValue(value, None, probability)
        if node.kind is LeafKind.CHOICE:
            return ExtractedValue(value, self._locator.locate_text(str(value), exact=False), probability)
        if node.kind is LeafKind.TEXT:
            quote = self._locator.locate_text(value, exact=self._exact)
            found = None if quote is None else ExtractedValue(quote.line, quote, probability)
        elif node.kind is LeafKind.DATE:
            placed = self._locator.locate_date(value)
            found = None if placed is None else ExtractedValue(value, placed[0], probability, placed[1])
        else:
            quote = self._locator.locate_number(value)
            number = int(value) if node.kind is LeafKind.INTEGER else value
            found = None if quote is None else ExtractedValue(number, quote, probability)
        if found is None:
            self.problems.append(f"{name} {json.dumps(value, ensure_ascii=False)[:80]} does not stand in the text")
        return found


class FreeAnswerReader:
    """Reads the values of an answer that need not stand in the passage; those that do have their quotes.

    ``forbidden``: texts of examples in lower case, which count only if the passage holds them.
    """

    def __init__(self, locator: ValueLocator, probabilities: Iterator[float | None], forbidden: frozenset[str]) -> None:
        self.problems: list[str] = []
        self._locator = locator
        self._probabilities = probabilities
        self._forbidden = forbidden

    def read(self, value: Any, name: str = "") -> Tree:
        """Return the tree of a value; ``name`` is its path."""
        if isinstance(value, dict):
            prefix = f"{name}." if name else ""
            return {key: self.read(each, prefix + key) for key, each in value.items()}
        if isinstance(value, list):
            found = [self.read(each, f"{name}[{index}]") for index, each in enumerate(value)]
            return [each for each in found if each is not None]
        probability = next(self._probabilities)
        if value is None:
            return None
        quote = self._locate(value)
        if quote is None and isinstance(value, str) and value.strip().casefold() in self._forbidden:
            self.problems.append(f"{name} {value[:80]!r} is from the examples, not from the text")
            return None
        return ExtractedValue(value, quote, probability)

    def _locate(self, value: Any) -> Quote | None:
        if isinstance(value, str):
            placed = self._locator.locate_date(value)
            return self._locator.locate_text(value, exact=False) if placed is None else placed[0]
        return None if isinstance(value, bool) else self._locator.locate_number(value)
