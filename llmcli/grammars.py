"""Lark grammars for ``Request.grammar``: regular expressions and aspects; and the error of a bad one.

Source of the format: llguidance, "Grammar syntax" (docs/syntax.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

NO_QUOTATION = "NONE"
"""What a model answers where nothing in a passage is worth quoting."""
MAX_ASPECTS = 8
MAX_SPAN_CHARACTERS = 80


def aspect_grammar(text: str, polarities: Sequence[str], separator: str, max_aspects: int = MAX_ASPECTS) -> str:
    """Return a grammar of lines "ASPECT | OPINION | POLARITY", with ``separator`` between the parts, or "NONE".

    Aspect and opinion stand in one line of ``text`` from word to word, without the separator.
    """
    mark = re.escape(separator.strip())
    polarity = " | ".join(json.dumps(each) for each in polarities)
    between = json.dumps(separator)
    return (
        f'start: "{NO_QUOTATION}" | line ("\\n" line){{0,{max_aspects - 1}}}\n'
        f"line: SPAN {between} SPAN {between} polarity\n"
        f"polarity: {polarity}\n"
        f"SPAN: WORDS & /[^\\s{mark}]([^\\n{mark}]{{0,{MAX_SPAN_CHARACTERS - 2}}}[^\\s{mark}])?/\n"
        f"WORDS: %regex {json.dumps({'substring_words': text}, ensure_ascii=False)}\n"
    )
