"""Markdown as an HTML page or a Word document: headings, paragraphs, lists, emphasis, links, code, quotes, rules."""

from __future__ import annotations

import html
import io
import re
from typing import TYPE_CHECKING, Any

from llmcli.documents.reading.sources.optional_library import import_optional

if TYPE_CHECKING:
    from markdown_it.token import Token

_MAX_HEADING_LEVEL = 9
_MAX_LIST_LEVEL = 3
_LIST_STYLES = {"ul": "List Bullet", "ol": "List"}
"""Word goes on counting from list to list in a numbered style, so numbers are text."""
_CODE_FONT = "Courier New"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = (
    "body{max-width:44rem;margin:2rem auto;padding:0 1rem;font:1.05rem/1.6 serif}"
    "h1,h2,h3{font-family:sans-serif;line-height:1.25}hr{margin:2rem 0}"
)
_PAGE = """\
<!DOCTYPE html>
<html{language}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}</body>
</html>
"""


def to_html(markdown: str, title: str, language: str) -> str:
    """Return a page. HTML inside the Markdown is text; ``language`` is a code such as "de", "" if unknown."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).render(markdown)
    code = f' lang="{html.escape(language)}"' if language else ""
    return _PAGE.format(language=code, title=html.escape(title), style=_STYLE, body=body)


def require_docx() -> None:
    """Raise ``MissingExtra`` if Word documents cannot be written."""
    import_optional("docx", "python-docx")


def to_docx(markdown: str, title: str) -> bytes:
    """Return a Word document called ``title``. Raises ``MissingExtra``."""
    from markdown_it import MarkdownIt

    docx = import_optional("docx", "python-docx")
    document = docx.Document()
    document.core_properties.title = title[:255]
    _DocxWriter(document).write(MarkdownIt("commonmark", {"html": False}).parse(markdown))
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


class _DocxWriter:
    """Adds the blocks of a Markdown text to a document of python-docx."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._lists: list[str] = []  # the styles of the lists that are open
        self._quotes = 0
        self._heading: int | None = None
        self._number = ""  # of the item of a list, until it is written

    def write(self, tokens: list[Token]) -> None:
        """Add all blocks."""
        for token in tokens:
            self._open(token)
            match token.type:
                case "inline":
                    self._add_runs(self._add_paragraph(), token.children or [])
                case "fence" | "code_block":
                    run = self._document.add_paragraph().add_run(_clean(token.content.rstrip("\n")))
                    run.font.name = _CODE_FONT
                case "hr":
                    self._document.add_paragraph()

    def _open(self, token: Token) -> None:
        """Note which block begins or ends."""
        match token.type:
            case "heading_open" | "heading_close":
                self._heading = int(token.tag[1:]) - 1 if token.nesting > 0 else None  # level 0 is the style Title
            case "bullet_list_open" | "ordered_list_open":
                self._lists.append(_LIST_STYLES[token.tag])
            case "list_item_open":
                self._number = f"{token.info}. " if token.info else ""
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
            case "blockquote_open" | "blockquote_close":
                self._quotes += token.nesting

    def _add_paragraph(self) -> Any:
        if self._heading is not None:
            return self._document.add_heading(level=min(self._heading, _MAX_HEADING_LEVEL))
        if self._lists:
            depth = min(len(self._lists), _MAX_LIST_LEVEL)
            number, self._number = self._number, ""
            return self._document.add_paragraph(number, style=self._lists[-1] + (f" {depth}" if depth > 1 else ""))
        return self._document.add_paragraph(style="Quote" if self._quotes else None)

    def _add_runs(self, paragraph: Any, tokens: list[Token]) -> None:
        bold = italic = 0
        target = ""
        for token in tokens:
            match token.type:
                case "strong_open" | "strong_close":
                    bold += token.nesting
                case "em_open" | "em_close":
                    italic += token.nesting
                case "link_open":
                    target = str(token.attrGet("href") or "")
                case "link_close":
                    if target:
                        paragraph.add_run(f" ({_clean(target)})")
                    target = ""
                case "softbreak":
                    paragraph.add_run(" ")
                case "hardbreak":
                    paragraph.add_run().add_break()
                case _:
                    run = paragraph.add_run(_clean(token.content))
                    run.bold, run.italic = bold > 0 or None, italic > 0 or None
                    if token.type == "code_inline":
                        run.font.name = _CODE_FONT


def _clean(text: str) -> str:
    """Return a text without characters that XML does not allow."""
    return _NOT_XML.sub("", text)
