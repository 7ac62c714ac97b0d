"""Find codes that restore access to an account or a disk, behind words that say so: each code of a list alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.redaction.literal_prefilter import PrefilteredPattern
from llmcli.redaction.normalization import Range
from llmcli.redaction.text_index import TextIndex

_GROUP = r"(?=[a-z]{0,11}[0-9])[a-z0-9]{4,12}"
_CODE = (
    rf"(?:{_GROUP}(?: {_GROUP}){{1,7}}|(?=[a-z-]{{0,40}}[0-9])[a-z0-9]{{4,12}}(?:-[a-z0-9]{{4,12}}){{1,7}}"
    r"|[a-z]{0,6}[0-9][a-z0-9]{5,20})(?![\w-])"
)
_MARK = r"(?:[0-9]{1,2}[.)] {1,4}|[-*\u2022] {1,4})?"
_FIRST = PrefilteredPattern(
    r"(?:recovery|backup|scratch|restore|wiederherstellungs|emergency)[ -]?(?:codes?|keys?)"
    rf"(?:[^\r\n]{{0,30}}?[:=]?\s{{1,12}}|[^\r\n]{{0,160}}\r?\n\s{{0,12}}){_MARK}(?P<code>{_CODE})",
    lowered=True,
)
_NEXT = re.compile(rf"(?:[ \t,;]{{1,12}}|[ \t]{{0,8}}\r?\n[ \t]{{0,12}}){_MARK}(?P<code>{_CODE})")


def find_recovery_codes(index: TextIndex) -> Iterator[Range]:
    """Yield the codes of each list: groups of letters and digits, each with a digit or joined by hyphens."""
    for first in _FIRST.finditer(index):
        code: re.Match[str] | None = first
        while code is not None:
            yield code.span("code")
            code = _NEXT.match(index.lowered, code.end())
