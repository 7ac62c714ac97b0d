"""Lines of Markdown that are markup only on their own line, in dialects other than CommonMark.

CommonMark reads them as words of a paragraph. Joined with the lines around them they would no longer be an alert, a
container or a definition.
"""

from __future__ import annotations

import re

_LINE_WITHOUT_TEXT = re.compile(
    r":{3,}.*"  # containers of Docusaurus, VitePress, Pandoc and MyST
    r"|\{:?[ \t]*[.#:][^{}]*\}|\{:[^{}]*\}"  # attributes of kramdown
    r"|\[\[?_?toc_?\]\]?|\$\{toc\}"
    r"|\([\w.:-]+\)="  # targets of MyST
    r"|\{%(?:[^%]|%(?!\}))*%\}|\{\{[<%](?:[^{}])*[<%]?[>%]\}\}"  # tags of Liquid, shortcodes of Hugo
    r"|(?-i:(?:import|export)[ \t]+(?:[\w$*{},\t ]+[ \t]+from[ \t]+)?(?P<quote>['\"])[^'\"\s]+(?P=quote);?)"  # MDX
    r"|(?-i:export[ \t]+(?:const|let|var)[ \t]+[\w$]+[ \t]*=.*)",
    re.IGNORECASE,
)
_OPTION = re.compile(r":[\w-]+:(?:\s.*)?")
_TITLED = re.compile(  # blocks and tabs of MkDocs
    r"(?:!!!|\?\?\?\+?)[ \t]*[\w-][\w \t-]*+(?:\"(?P<words>.*)\")?|===[!+]?[ \t]+\"(?P<tab>.*)\""
)
_LEAD_MARKER = re.compile(r"\[![a-z][\w-]*\][+-]?(?:[ \t]+|\Z)|:[ \t]+", re.IGNORECASE)  # alerts, definitions


def standalone_text_span(line: str, before: str = "") -> tuple[int, int] | None:
    """Return the span of the words in a line that has to stand alone, None for a line of a paragraph.

    ``line`` has no blanks at its ends and is not empty; ``before`` is the line above it in its paragraph. In a line of
    symbols only, both offsets are the same.
    """
    if _LINE_WITHOUT_TEXT.fullmatch(line) or (before.startswith(":::") and _OPTION.fullmatch(line)):
        return 0, 0
    if titled := _TITLED.fullmatch(line):
        return titled.span(titled.lastgroup) if titled.lastgroup else (0, 0)
    lead = _LEAD_MARKER.match(line)
    return (lead.end(), len(line)) if lead else None
