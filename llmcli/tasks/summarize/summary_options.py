"""The options of a summary, and the styles that a model can write."""

from __future__ import annotations

import re

from llmcli.fast_dataclass import frozen
from llmcli.types import BackendInfo

AUTO, PARAGRAPH, HEADLINE, KEY_SENTENCES = "auto", "paragraph", "headline", "key-sentences"
BULLETS, MINUTES = "bullets", "minutes"
FACTS = "facts"
"""How the parts of a long text are summarized: what will be merged into one of the other styles."""
WRITTEN_METHOD = "written"
"""The method of a summary that the model wrote; that of key sentences is ``KEY_SENTENCES``."""
MIN_WRITER_PARAMETERS = 500_000_000
"""A smaller model invents too much to write a summary unless the user wants it to."""


@frozen
class SummaryOptions:
    """``words``: the wanted length, None for a length that depends on the style; ``style``: a value of ``--style``.

    ``focus``: what the summary is to be about, ``audience``: for whom it is, ``language``: the English name of the
    language to write in; each "" if the user did not say.
    """

    words: int | None = None
    style: str = PARAGRAPH
    focus: str = ""
    audience: str = ""
    language: str = ""

    @property
    def needs_writing(self) -> bool:
        """Whether sentences of the text itself cannot be what the user wants."""
        return bool(self.audience or self.language)

    def style_for(self, info: BackendInfo) -> str:
        """Return the style, ``AUTO`` replaced: key sentences for a small model, a paragraph for others.

        A model whose size is unknown, as that of most servers, counts as large.
        """
        if self.style != AUTO:
            return self.style
        small = info.parameters is not None and info.parameters < MIN_WRITER_PARAMETERS
        return KEY_SENTENCES if small and not self.needs_writing else PARAGRAPH


WORDS_TOLERANCE = 0.2
"""A summary whose length differs from the wanted one by a larger share has missed it."""
_WORD = re.compile(r"[^\W_]+(?:['\u2019.,-][^\W_]+)*")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_CHARS_PER_CJK_WORD = 2


def count_words(text: str) -> int:
    """Return the number of words; two Chinese or Japanese characters count as one."""
    without, characters = _CJK.subn(" ", text)
    return len(_WORD.findall(without)) + -(-characters // _CHARS_PER_CJK_WORD)


def length_warning(text: str, words: int | None) -> str:
    """Return a warning about a summary that is not about ``words`` words long; "" if it is, or if None was wanted."""
    if words is None:
        return ""
    length = count_words(text)
    if abs(length - words) <= WORDS_TOLERANCE * words:
        return ""
    return f"the summary has {length:,} words, not about {words:,}"
