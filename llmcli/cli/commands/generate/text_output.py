"""The file of a long text: Markdown, HTML or Word, by the name of -o."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import PurePath

from llmcli.cli.command_context import CommandContext
from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen
from llmcli.types import Delta, Result, TaskEvent


class TextFormat(StrEnum):
    """The format of a long text, as ``render.mark`` calls it."""

    MARKDOWN = "markdown"
    HTML = "html"
    DOCX = "docx"


_SUFFIXES = {".html": TextFormat.HTML, ".htm": TextFormat.HTML, ".docx": TextFormat.DOCX}
_UNKNOWN = frozenset({".pdf", ".doc", ".odt", ".rtf", ".pptx", ".ppt", ".odp", ".epub", ".tex", ".xlsx"})


class _NothingWritten(Exception):
    """Leaves the block of the file with an exception, so that it stays unchanged."""


@frozen
class TextOutput:
    """Where a long text goes. ``path`` None: standard output, or a field of ``--json``."""

    ctx: CommandContext
    path: str | None
    format: TextFormat

    @classmethod
    def choose(cls, ctx: CommandContext, *, is_outline: bool) -> TextOutput:
        """Return the output of -o. Raises ``UsageError`` for a format that is not written, and ``MissingExtra``."""
        path = ctx.flags.output
        suffix = PurePath(path or "").suffix.lower()
        if suffix in _UNKNOWN:
            raise UsageError(f"a text is not written as {suffix}", detail="Name a file with .md, .html or .docx.")
        found = _SUFFIXES.get(suffix, TextFormat.MARKDOWN)
        if is_outline and found is not TextFormat.MARKDOWN:
            raise UsageError("an outline is Markdown", detail="Name a file with .md: -o outline.md")
        if found is TextFormat.DOCX:
            from llmcli.documents.markdown_export import require_docx

            require_docx()
        if ctx.flags.mark and found is TextFormat.DOCX:
            from llmcli.cli.render.mark import require_comments

            require_comments(found)
        return cls(ctx, path, found)

    def require_markdown(self) -> None:
        """Raise ``UsageError`` if the output is no Markdown, which alone can be read again."""
        if self.format is not TextFormat.MARKDOWN:
            raise UsageError("--revise changes Markdown", detail="Keep the text as .md, and name that file: -o FILE")

    def write(self, make_events: Callable[[], Iterator[TaskEvent]], *, prefix: str = "") -> Iterator[TaskEvent]:
        """Write the text of the result to the file, after a ``prefix``, and pass all events on.

        The file is opened before the events are made, so before a model is looked for; it stays unchanged without a
        result. Raises as ``atomic_write``.
        """
        if self.path is None:
            yield from make_events()
            return
        from llmcli.files.atomic_file import atomic_write

        with suppress(_NothingWritten), atomic_write(self.path, interrupt=self.ctx.runtime.interrupt) as file:
            written = False
            for event in make_events():
                if isinstance(event, Result) and event.text is not None:
                    file.write(prefix.encode() + self._encode(event))
                    written = True
                if not isinstance(event, Delta):
                    yield event
            if not written:
                raise _NothingWritten

    def _encode(self, result: Result) -> bytes:
        text, title = result.text or "", str(result.fields.get("title", result.name))
        if self.format is TextFormat.DOCX:
            from llmcli.documents.markdown_export import to_docx

            return to_docx(text, title)
        if self.format is TextFormat.HTML:
            from llmcli.documents.markdown_export import to_html
            from llmcli.tasks.languages import detect_language

            language = detect_language(text)
            text = to_html(text, title, "" if language is None else language.code)
        if self.ctx.flags.mark:
            from llmcli.cli.render.mark import Mark

            text = Mark(self.ctx.verb, self.format).apply(text, result.model)
        return text.encode("utf-8", "surrogateescape")
