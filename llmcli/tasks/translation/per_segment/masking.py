"""Masking: the model sees ``[#1]`` for a text that a translation must not change, and must return it exactly once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from llmcli.documents.segments import Span
from llmcli.frozen_dataclass import frozen
from llmcli.tasks.translation.per_segment.mask_order import group_spans, keeps_group_order

_MASK_SIGNS = "#~@%&"
# models that write Chinese or Japanese use full-width brackets
_OPEN, _CLOSE = r"[\[\uff3b\u3010]\s*", r"\s*[\]\uff3d\u3011]"


@frozen
class MaskedText:
    """A text with marks; the mark of ``originals[0]`` has number 1. ``sign`` tells marks from other brackets."""

    text: str
    originals: tuple[str, ...]
    sign: str = "#"
    groups: tuple[tuple[int, ...], ...] = ()
    """Numbers of marks that belong together (``group_spans``)."""

    def find_mask_numbers(self, text: str) -> list[int]:
        """Return the numbers of the marks in a text, in order, including slightly misspelt marks."""
        return [int(match[1]) for match in self._find_masks(text)]

    def strip_masks(self, text: str) -> str:
        """Return a text without marks, to check its words."""
        return re.sub(self._pattern, " ", text)

    def replace_masks(self, text: str, stand_in: Callable[[str], str]) -> str:
        """Return a text in which ``stand_in`` of its original replaces each mark."""

        def put(match: re.Match[str]) -> str:
            number = int(match[1])
            return stand_in(self.originals[number - 1]) if 0 < number <= len(self.originals) else match[0]

        return re.sub(self._pattern, put, text)

    def find_problem(self, source: str, answer: str) -> str:
        """Return what is wrong with the marks of an answer to ``source``, "" if each occurs once, in a valid order."""
        wanted, found = self.find_mask_numbers(source), self.find_mask_numbers(answer)
        missing, excess = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
        words = [(missing, "missing"), (excess, "repeated or unknown")]
        wrong = [f"{self._format_masks(counts)} {what}" for counts, what in words if counts]
        if not wrong and not keeps_group_order(found, wanted, self.groups):
            wrong = [f"{self._format_masks(wanted)} must stay in this order"]
        if not wrong and (moved := self._outer_blanks(answer) - self._outer_blanks(source)):
            wrong = [f"{self._format_masks(number for number, _ in moved)} must stay between words"]
        return ", ".join(wrong)

    def unmask(self, answer: str) -> str:
        """Return an answer with valid marks, with the originals in their place."""
        return re.sub(self._pattern, lambda match: self.originals[int(match[1]) - 1], answer)

    def transform_unmasked(self, change: Callable[[str], str]) -> str:
        """Return the text with its originals in place of the marks, and ``change`` applied between them."""
        pieces = re.split(self._pattern, self.text)
        return "".join(
            self.originals[int(piece) - 1] if index % 2 else change(piece) for index, piece in enumerate(pieces)
        )

    def _outer_blanks(self, text: str) -> set[tuple[int, bool]]:
        """Return the marks at the ends of a text whose outer character is white space, which would be removed there.

        (Number, whether at the beginning.)
        """
        found = set()
        for mask in self._find_masks(text):
            number = int(mask[1])
            original = self.originals[number - 1]
            if mask.start() == 0 and original[0].isspace():
                found.add((number, True))
            if mask.end() == len(text) and original[-1].isspace():
                found.add((number, False))
        return found

    def _format_masks(self, numbers: Iterable[int]) -> str:
        return " ".join(format_mask(self.sign, number) for number in sorted(set(numbers)))

    @property
    def _pattern(self) -> str:
        return rf"{_OPEN}{re.escape(self.sign)}\s*([0-9]{{1,6}}){_CLOSE}"

    def _find_masks(self, text: str) -> Iterable[re.Match[str]]:
        return re.finditer(self._pattern, text)


def format_mask(sign: str, number: int) -> str:
    """Return the mark with a number."""
    return f"[{sign}{number}]"


def mask_spans(text: str, spans: Sequence[Span]) -> MaskedText:
    """Return ``text`` with a mark in place of each span; spans are in order and disjoint."""
    sign = next((sign for sign in _MASK_SIGNS if not re.search(rf"{_OPEN}{re.escape(sign)}\s*[0-9]", text)), "")
    if not sign:  # a text that contains marks of all kinds gets a private-use character
        sign = next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in text)
    parts, originals, at = [], [], 0
    for span in spans:
        originals.append(text[span.start : span.end])
        parts += [text[at : span.start], format_mask(sign, len(originals))]
        at = span.end
    pairs = group_spans(originals, [span.kind for span in spans])
    return MaskedText("".join([*parts, text[at:]]), tuple(originals), sign, tuple(pairs))
