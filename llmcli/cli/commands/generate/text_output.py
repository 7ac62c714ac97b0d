"""The file of a long text: Markdown, HTML or Word by the name of -o, and the job beside it while it is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.documents.records.job_state import JobState, job_path, load_job
from llmcli.errors import BadDocument, UsageError
from llmcli.fast_dataclass import asdict, frozen
from llmcli.files.resumable_file import is_resumable, lock_output
from llmcli.tasks.generate.outline import Outline
from llmcli.tasks.generate.section_writing import SectionDraft
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

    def hold(self) -> AbstractContextManager[None]:
        """Keep other processes from writing the file in the block. Raises as ``lock_output``."""
        return nullcontext() if self.path is None else lock_output(self.path)

    def write(
        self,
        make_events: Callable[[], Iterator[TaskEvent]],
        *,
        prefix: str = "",
        on_written: Callable[[], object] = lambda: None,
    ) -> Iterator[TaskEvent]:
        """Write the text of the result to the file, after a ``prefix``, and pass all events on, the result last.

        The file is opened before the events are made, so before a model is looked for; it stays unchanged without a
        result. ``on_written`` is called when it has the text. Raises as ``atomic_write``.
        """
        if self.path is None:
            yield from make_events()
            return
        from llmcli.files.atomic_file import atomic_write

        result: Result | None = None
        with suppress(_NothingWritten), atomic_write(self.path, interrupt=self.ctx.runtime.interrupt) as file:
            for event in make_events():
                if isinstance(event, Result) and event.text is not None:
                    file.write(prefix.encode() + self._encode(event))
                    result = event
                elif not isinstance(event, Delta):
                    yield event
            if result is None:
                raise _NothingWritten
        if result is not None:
            on_written()
            yield result

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


# ---- the job ---------------------------------------------------------------------------------------------------------

_OUTLINE, _DRAFTS = "outline", "sections"


class TextJob:
    """``FILE.job.json``: the outline and the sections so far, with which the next run goes on.

    It is the job of the output ``path``; without a regular file there is none, and nothing is kept.

    ``outline`` is the one that the model made in an earlier run, None if there is none; ``drafts`` are the sections of
    that run.
    """

    def __init__(self, path: str | None, manifest: Mapping[str, Any]) -> None:
        """Raises as ``load_job``, and ``JobMismatch`` if an unfinished job was begun with another manifest."""
        self._state: JobState | None = None
        self.outline: Outline | None = None
        self.drafts: list[SectionDraft] = []
        self.is_kept = False
        """Whether there is a job file."""
        if path is None or not is_resumable(path):
            return
        target = Path(os.path.realpath(path))
        found = load_job(target)
        if found is not None:
            found.require_same(manifest)
            self._read(found)
        self._state = found or JobState(target, manifest)

    def _read(self, state: JobState) -> None:
        try:
            outline = state.progress.summary[_OUTLINE]
            self.outline = None if outline is None else Outline.from_dict(outline)
            self.drafts = [SectionDraft.from_json(draft) for draft in state.progress.summary[_DRAFTS]]
        except (AttributeError, KeyError, TypeError) as error:
            raise _other_text_error(state) from error
        self.is_kept = True

    def drafts_of(self, outline: Outline) -> list[SectionDraft]:
        """Return the drafts of an outline's sections; none before one is begun. Raises ``BadDocument`` for others."""
        if self._state is not None and self.drafts and len(self.drafts) != len(outline.written):
            raise _other_text_error(self._state)
        return self.drafts

    def keep_outline(self, outline: Outline) -> None:
        """Write an outline that the model made to the disk, before the first section is begun."""
        self.outline = outline
        self.save(())

    def save(self, drafts: Sequence[SectionDraft]) -> None:
        """Write the sections so far to the disk."""
        if self._state is None:
            return
        self._state.progress.done = sum(bool(draft.turns) for draft in drafts)
        outline = None if self.outline is None else asdict(self.outline)
        self._state.progress.summary = {_OUTLINE: outline, _DRAFTS: [draft.to_json() for draft in drafts]}
        self._state.save()
        self.is_kept = True

    @property
    def num_begun(self) -> int:
        """The sections that are kept for the next run."""
        return 0 if self._state is None else self._state.progress.done

    def finish(self) -> None:
        """Remove the job: the text is complete."""
        if self._state is not None:
            with suppress(FileNotFoundError):
                job_path(self._state.target).unlink()
            self._state, self.is_kept = None, False


def _other_text_error(state: JobState) -> BadDocument:
    return BadDocument(str(state.path), detail="it is the job file of another command")
