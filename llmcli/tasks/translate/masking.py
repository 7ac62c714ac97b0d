"""Masking: the model sees ``[#1]`` for a text that a translation must not change, and must return it exactly once.

Masked texts may belong together: both ends of a link, tags, the parts of a plural. A translation may reorder groups,
but not their members, and pairs may not overlap partially.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from llmcli.documents.segments import Span
from llmcli.fast_dataclass import field, frozen, slotted

_MASK_SIGNS = "#~@%&"
# models that write Chinese or Japanese use full-width brackets
_OPEN, _CLOSE = r"[\[\uff3b\u3010]\s*", r"\s*[\]\uff3d\u3011]"
_ATTRIBUTE_START = re.compile(r"=\s*[\"']\Z")
"""The end of a masked text after which the words of an attribute follow, as in ``<img alt="``."""
_NAME = re.compile(r"</?\s*([A-Za-z][\w:.-]*)")
_PAIRED_CODE = re.compile(r"<(?:[\w.-]+:)?(?:(?P<open>bpt|bx|sc|sm)|ept|ex|ec|em)(?=\s)(?P<attributes>[^<>]*)")
"""The elements of XLIFF that stand for the beginning or the end of something, by an id that both have."""
_PAIR_ID = re.compile(r"\s(id|rid|startRef)\s*=\s*[\"']([^\"']*)")
_VOID_ELEMENTS = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)


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
        return self._pattern.sub(" ", text)

    def replace_masks(self, text: str, stand_in: Callable[[str], str]) -> str:
        """Return a text in which ``stand_in`` of its original replaces each mark."""

        def put(match: re.Match[str]) -> str:
            number = int(match[1])
            return stand_in(self.originals[number - 1]) if 0 < number <= len(self.originals) else match[0]

        return self._pattern.sub(put, text)

    def find_problem(self, source: str, answer: str) -> str:
        """Return what is wrong with the marks of an answer to ``source``, "" if each occurs once, in a valid order."""
        wanted, found = self.find_mask_numbers(source), self.find_mask_numbers(answer)
        missing, excess = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
        words = [(missing, "missing"), (excess, "repeated or unknown")]
        wrong = [f"{self._format_masks(counts)} {what}" for counts, what in words if counts]
        if not wrong and not keeps_group_order(found, wanted, self.groups):
            wrong = [f"{self._format_masks(wanted)} must stay in this order"]
        if not wrong and self._attributes(answer) != self._attributes(source):
            wrong = ["the words of an attribute must stay between its marks"]
        if not wrong and (moved := self._outer_blanks(answer) - self._outer_blanks(source)):
            wrong = [f"{self._format_masks(number for number, _ in moved)} must stay between words"]
        return ", ".join(wrong)

    def unmask(self, answer: str) -> str:
        """Return an answer with valid marks, with the originals in their place."""
        return self._pattern.sub(lambda match: self.originals[int(match[1]) - 1], answer)

    def transform_unmasked(self, change: Callable[[str], str]) -> str:
        """Return the text with its originals in place of the marks, and ``change`` applied between them."""
        if not self.originals:
            return change(self.text)
        pieces = self._pattern.split(self.text)
        return "".join(
            self.originals[int(piece) - 1] if index % 2 else change(piece) for index, piece in enumerate(pieces)
        )

    def _attributes(self, text: str) -> set[tuple[int, int, bool]]:
        """Return the marks around each attribute of a tag, and whether there are words between them."""
        return {
            (int(before[1]), int(after[1]), any(map(str.isalpha, text[before.end() : after.start()])))
            for before, after in pairwise(self._find_masks(text))
            if _ATTRIBUTE_START.search(self.originals[int(before[1]) - 1])
        }

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
    def _pattern(self) -> re.Pattern[str]:
        return _compile_mask(self.sign)

    def _find_masks(self, text: str) -> Iterable[re.Match[str]]:
        return self._pattern.finditer(text)


@lru_cache(maxsize=64)
def _compile_mask(sign: str) -> re.Pattern[str]:
    return re.compile(rf"{_OPEN}{re.escape(sign)}\s*([0-9]{{1,6}}){_CLOSE}")


@lru_cache(maxsize=64)
def _compile_mask_start(sign: str) -> re.Pattern[str]:
    return re.compile(rf"{_OPEN}{re.escape(sign)}\s*[0-9]")


def format_mask(sign: str, number: int) -> str:
    """Return the mark with a number."""
    return f"[{sign}{number}]"


def mask_spans(text: str, spans: Sequence[Span]) -> MaskedText:
    """Return ``text`` with a mark in place of each span; spans are in order and disjoint."""
    sign = next((sign for sign in _MASK_SIGNS if not _compile_mask_start(sign).search(text)), "")
    if not sign:  # a text that contains marks of all kinds gets a private-use character
        sign = next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in text)
    if not spans:
        return MaskedText(text, (), sign)
    parts, originals, at = [], [], 0
    for span in spans:
        originals.append(text[span.start : span.end])
        parts += [text[at : span.start], format_mask(sign, len(originals))]
        at = span.end
    pairs = group_spans(originals, [span.kind for span in spans])
    return MaskedText("".join([*parts, text[at:]]), tuple(originals), sign, tuple(pairs))


# ---- groups ----------------------------------------------------------------------------------------------------------


@slotted
class _SpanGroup:
    """Texts that belong together, by their numbers; ``name``: of a tag."""

    kind: str
    name: str
    numbers: list[int] = field(default_factory=list)


def group_spans(texts: Sequence[str], kinds: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the groups of protected texts, as their numbers from 1 in order; single texts have none."""
    opened: list[_SpanGroup] = []
    found: list[tuple[int, ...]] = []
    for number, (text, kind) in enumerate(zip(texts, kinds, strict=True), 1):
        role, name = _span_role(text, kind)
        if role == "open":
            opened.append(_SpanGroup(kind, name, [number]))
            continue
        at = _find_open_group(opened, role, kind, name)
        if at is None:
            continue
        del opened[at + 1 :]  # they have no end
        opened[at].numbers.append(number)
        if role == "close" or (role == "part" and opened[at].name in _VOID_ELEMENTS and text.endswith(">")):
            found.append(tuple(opened.pop().numbers))
    return found


def keeps_group_order(answer: Sequence[int], wanted: Sequence[int], pairs: Sequence[tuple[int, ...]]) -> bool:
    """Return whether the numbers of an answer keep the groups of a text with the numbers ``wanted``.

    If the text has only a part of a group, all grouped texts have to stay in order.
    """
    here = set(wanted)
    touched = [pair for pair in pairs if here & set(pair)]
    grouped = {number for pair in touched for number in pair}
    if any(not here.issuperset(pair) for pair in touched):
        return [n for n in answer if n in grouped] == [n for n in wanted if n in grouped]
    following = {a: b for pair in touched for a, b in pairwise(pair)}
    first = {pair[0] for pair in touched}
    expected: list[int] = []
    for number in answer:
        if number not in grouped:
            continue
        if number not in first and (not expected or expected.pop() != number):
            return False
        if number in following:
            expected.append(following[number])
    return not expected


def _span_role(text: str, kind: str) -> tuple[str, str]:
    """Return "open", "part" (of a group that continues), "close" or "" for a single text, and the name of a tag."""
    if kind == "link":
        return "open", ""
    if kind == "target":
        return ("part" if text.startswith("]") and not text.endswith((")", "]")) else "close"), ""
    code = _PAIRED_CODE.match(text) if kind in {"tag", "code"} else None
    if code:
        ids = dict(_PAIR_ID.findall(code["attributes"]))
        pair = ids.get("rid") or ids.get("startRef") or ids.get("id", "")
        return ("open" if code["open"] else "close"), f"#{pair}"
    if kind == "tag":
        return _tag_role(text)
    depth = lowest = 0
    for character in text if kind == "placeholder" else "":
        depth += (character == "{") - (character == "}")
        lowest = min(lowest, depth)
    if lowest == 0:
        return ("open" if depth else ""), ""
    return ("part" if depth > lowest else "close"), ""


def _tag_role(text: str) -> tuple[str, str]:
    match = _NAME.match(text)
    name = match[1].lower() if match else ""
    if text.startswith("</"):
        return "close", name
    if not text.startswith("<"):  # the text after an attribute
        return "part", ""
    if text.endswith(">") and (text.endswith("/>") or name in _VOID_ELEMENTS or not name):
        return "", name
    return "open", name


def _find_open_group(opened: Sequence[_SpanGroup], role: str, kind: str, name: str) -> int | None:
    """Return the index of the group that a text continues or ends."""
    wanted = "link" if kind == "target" else kind
    if not role:
        return None
    for index in range(len(opened) - 1, -1, -1):
        group = opened[index]
        if group.kind == wanted and (not name or role != "close" or group.name == name):
            return index
    return None
