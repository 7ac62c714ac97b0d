"""The line of --mark: it says in a text that a language model has written it, as the format of the text allows."""

from __future__ import annotations

import re
from pathlib import PurePath

from llmcli.cli.command_context import CommandContext
from llmcli.cli.render.text_writer import TextEnding
from llmcli.documents.format_registry import document_format_by_suffix, record_format_by_suffix
from llmcli.documents.text_cleaning import detect_newline
from llmcli.errors import UsageError

_VERBS = {"translate": "Translated", "summarize": "Summarized"}
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_XML_DECLARATION = re.compile(r"\ufeff?<\?xml\b[^>]*\?>[ \t]*(?:\r\n|\n)?")
_PARAGRAPH_FORMATS = frozenset({"plain", "rst", "asciidoc", "markdown"})
"""Formats in which the line is a paragraph at the end."""
_XML_FORMATS = frozenset({"xliff", "android", "stringsdict", "resx", "qt"})
_COMMENT_FORMATS = frozenset(
    {"plain", "rst", "asciidoc", "markdown", "html", "vtt", "po", "yaml", "properties", "strings", "fluent", "latex"}
)
_ADVICE = "Leave out --mark; --provenance says beside the output what it was made of."


class Mark:
    """Marks the texts of one command. ``format_name``: their format, None if each result says its own."""

    def __init__(self, verb: str, format_name: str | None) -> None:
        self._verb = _VERBS.get(verb, "Written")
        self._format = format_name

    @property
    def is_appended(self) -> bool:
        """Whether a text can be shown before it is complete, since the line comes at its end."""
        return self._format in _PARAGRAPH_FORMATS

    def apply(self, text: str, model: str, format_name: str | None = None) -> str:
        """Return the marked text of a model. Raises ``UsageError`` for a format without comments."""
        line = f"{self._verb} by a language model" + (f": {PurePath(model).name}" if model else "")
        name, newline = self._format or format_name or "plain", detect_newline(text)
        if name in _PARAGRAPH_FORMATS:
            return text.rstrip("\r\n") + newline * 2 + (f"*{line}*" if name == "markdown" else line) + newline
        if name == "html":
            import html

            paragraph = f"<p><small>{html.escape(line)}</small></p>{newline}"
            ends = [*_BODY_END.finditer(text)]
            at = ends[-1].start() if ends else len(text)
            return text[:at] + paragraph + text[at:]
        if name == "vtt":
            return text.rstrip("\r\n") + newline * 2 + f"NOTE {line.replace('-->', '->')}{newline}"
        require_comments(name)
        bom = "\ufeff" if text.startswith("\ufeff") else ""
        if name in _XML_FORMATS:
            start = _XML_DECLARATION.match(text)
            at = start.end() if start else len(bom)
            return f"{text[:at]}<!-- {line.replace('--', '- -')} -->{newline}{text[at:]}"
        comment = (
            f"/* {line.replace('*/', '* /')} */" if name == "strings" else f"{'%' if name == 'latex' else '#'} {line}"
        )
        return f"{bom}{comment}{newline}{text.removeprefix(bom)}"


def require_comments(format_name: str) -> None:
    """Raise ``UsageError`` for a format in which no line can stand that is no content."""
    if format_name not in _XML_FORMATS | _COMMENT_FORMATS:
        raise UsageError(f"--mark: {format_name.upper()} has no comments", detail=_ADVICE)


def make_mark(ctx: CommandContext, output: str | None, *, ending: TextEnding, is_prose: bool) -> Mark:
    """Return the mark of the command's texts; ``output`` is their file, None for standard output.

    Raises ``UsageError`` for an output that has no place for a line: records, JSON, code.
    """
    if ctx.console.as_json:
        require_comments("json")
    if ending is TextEnding.DOCUMENT:
        return Mark(ctx.verb, None)
    if not is_prose:
        raise UsageError("--mark is for texts, not for records, values or code", detail=_ADVICE)
    name = (output and (document_format_by_suffix(output) or record_format_by_suffix(output))) or "plain"
    require_comments(name)
    return Mark(ctx.verb, name)
