"""The elements of a page that are not translated: by name, by ``translate="no"`` or by the class ``notranslate``.

Source: the HTML standard, "The translate attribute".
"""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.documents.formats.markup.html_tokenizer import HtmlAttribute, HtmlToken, parse_attributes
from llmcli.frozen_dataclass import slotted

INLINE_ELEMENTS = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "br", "cite", "data", "del", "dfn", "em", "font", "i", "img",
     "input", "ins", "label", "mark", "meter", "nobr", "output", "progress", "q", "rp", "rt", "ruby", "s", "slot",
     "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "wbr", "code", "kbd", "samp", "var",
     "math", "svg", "picture", "source", "audio", "video", "canvas", "object", "noscript", "map", "area", "embed"}
)  # fmt: skip
VOID_ELEMENTS = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)  # fmt: skip
_UNTRANSLATED_ELEMENTS = frozenset(
    {"code", "kbd", "samp", "var", "svg", "math", "pre", "script", "style", "iframe", "object", "canvas", "xmp"}
)  # fmt: skip
"""Elements in which nothing is translated."""


@slotted
class _TranslateYesElement:
    """An element with translate="yes" inside a hidden one: its open namesakes, and the outer hidden elements."""

    name: str
    enclosing_hidden: list[str]
    depth: int = 1


def is_hidden(text: str, token: HtmlToken, pairs: Sequence[HtmlAttribute]) -> bool:
    """Whether an element is not translated; ``pairs`` are the attributes of its opening tag."""
    if token.name in _UNTRANSLATED_ELEMENTS:
        return True
    values = {pair.name: text[pair.start : pair.end].lower() for pair in pairs}
    return values.get("translate") == "no" or "notranslate" in values.get("class", "").split()


def _is_translate_yes(text: str, token: HtmlToken) -> bool:
    pairs = parse_attributes(text, token)
    values = {pair.name: text[pair.start : pair.end].lower() for pair in pairs}
    return (
        values.get("translate") in {"yes", ""} and token.name not in VOID_ELEMENTS and not is_hidden(text, token, pairs)
    )


class HiddenElements:
    """The hidden element that a pass through the tokens of ``text`` is in.

    ``start``: the offset where the last hidden element began; ``is_inline``: whether that element is inline.
    """

    def __init__(self, text: str) -> None:
        self.start = 0
        self.is_inline = False
        self._text = text
        self._open: list[str] = []  # from the outermost hidden element inwards
        self._translated: list[_TranslateYesElement] = []

    @property
    def is_open(self) -> bool:
        """Whether the pass is inside a hidden element."""
        return bool(self._open)

    def open(self, token: HtmlToken, *, inline: bool) -> None:
        """Enter a hidden element."""
        self._open, self.start, self.is_inline = [token.name], token.start, inline

    def skip(self, token: HtmlToken) -> bool:
        """Advance inside a hidden element; return whether the token is visible since the hidden text ends before it."""
        outer = self._open[0]
        if outer == "p" and token.kind == "open" and token.name not in INLINE_ELEMENTS:
            self._open = []  # a paragraph without a closing tag ends there
            return True
        if (
            not self.is_inline
            and outer not in _UNTRANSLATED_ELEMENTS
            and token.kind == "open"
            and _is_translate_yes(self._text, token)
        ):
            self._translated.append(_TranslateYesElement(token.name, self._open))
            self._open = []
            return True
        if token.kind == "open" and token.name == outer:
            self._open.append(outer)
        elif token.kind == "close" and token.name == outer:
            self._open.pop()
        return False

    def resume(self, token: HtmlToken) -> bool:
        """After a visible tag: return whether it ends a translated element in a hidden one, which is then reentered."""
        if self._open or not self._translated or self._translated[-1].name != token.name:
            return False
        self._translated[-1].depth += 1 if token.kind == "open" else -1
        if self._translated[-1].depth:
            return False
        self._open, self.is_inline = self._translated.pop().enclosing_hidden, False
        return True
