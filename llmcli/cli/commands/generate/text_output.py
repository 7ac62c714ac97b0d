"""The file of a long text: Markdown, HTML or Word by the name of -o, and the job beside it while it is written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.documents.records.job_state import JobState, job_path, load_job
from llmcli.errors import BadDocument, UsageError
from llmcli.errors.saved_state_errors import JobMismatch
from llmcli.fast_dataclass import asdict, frozen, replace
from llmcli.files.resumable_file import is_resumable, lock_output
from llmcli.tasks.generate.outline import Outline
from llmcli.tasks.runner.answer_replay import RecordedAnswer
from llmcli.tasks.runner.answers import aggregate_tokens_per_s
from llmcli.types import Delta, Result, TaskEvent, Usage


class TextFormat(StrEnum):
    """The format of a long text."""

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
        return text.encode("utf-8", "surrogateescape")


# ---- the job ---------------------------------------------------------------------------------------------------------

_OUTLINE, _OUTLINE_USAGE, _ANSWERS = "outline", "outline_usage", "answers"
_DRAFTS = "sections"
"""Jobs of earlier versions have the sections so far in the place of the answers."""


class TextJob:
    """``FILE.job.json``: the outline and the answers so far, with which the next run goes on.

    It is the job of the output ``path``; without a regular file there is none, and nothing is kept.

    ``outline`` is the one that the model made in an earlier run, None if there is none, and ``outline_usage`` what it
    took; ``answers`` are those of the requests for sections, in the order in which they ended.
    """

    def __init__(self, path: str | None, manifest: Mapping[str, Any]) -> None:
        """Raises as ``load_job``, and ``JobMismatch`` if an unfinished job was begun with another manifest."""
        self._state: JobState | None = None
        self._started_at = time.monotonic()
        self._earlier_s = 0.0
        self.outline: Outline | None = None
        self.outline_usage = Usage()
        self.answers: list[RecordedAnswer] = []
        self.is_kept = False
        """Whether there is a job file."""
        if path is None or not is_resumable(path):
            return
        target = Path(os.path.realpath(path))
        found = load_job(target)
        if found is not None:
            if {_OUTLINE, _DRAFTS} <= found.progress.summary.keys():
                raise JobMismatch(str(target), ("version of llm",))
            found.require_same(manifest)
            self._read(found)
        self._state = found or JobState(target, manifest)

    def _read(self, state: JobState) -> None:
        summary = state.progress.summary
        try:
            outline = summary[_OUTLINE]
            self.outline = None if outline is None else Outline.from_dict(outline)
            self.outline_usage = Usage(**summary[_OUTLINE_USAGE])
            self.answers = [RecordedAnswer.from_json(answer) for answer in summary[_ANSWERS]]
            self._earlier_s = float(state.progress.seconds)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _other_text_error(state) from error
        self.is_kept = True

    def answers_for(self, outline: Outline) -> list[RecordedAnswer]:
        """Return the answers about an outline's sections. Raises ``BadDocument`` if there are answers about others."""
        names = {str(number) for number in range(len(outline.written))}
        if self._state is not None and not _begun_sections(self.answers) <= names:
            raise _other_text_error(self._state)
        return self.answers

    def save_outline(self, outline: Outline, usage: Usage) -> None:
        """Write an outline that the model made to the disk, before the first section is begun."""
        self.outline, self.outline_usage = outline, usage
        self.save_answers(())

    def save_answers(self, answers: Sequence[RecordedAnswer]) -> None:
        """Write the answers so far to the disk."""
        if self._state is None:
            return
        progress = self._state.progress
        progress.done = len(_begun_sections(answers))
        progress.seconds = self._earlier_s + time.monotonic() - self._started_at
        progress.summary = {
            _OUTLINE: None if self.outline is None else asdict(self.outline),
            _OUTLINE_USAGE: self.outline_usage.to_json(),
            _ANSWERS: [answer.to_json() for answer in answers],
        }
        self._state.save()
        self.is_kept = True

    def add_earlier_work(self, result: Result) -> Result:
        """Return the text with the tokens of its outline, and with the seconds of earlier runs and the rate of all runs.

        The tokens of replayed answers are in ``result`` already.
        """
        usage, timings = result.usage + self.outline_usage, result.timings
        if self._earlier_s:
            total_s = self._earlier_s + timings.total_s
            rate = aggregate_tokens_per_s(usage, total_s)
            timings = replace(timings, total_s=total_s, tokens_per_second=rate)
        return replace(result, usage=usage, timings=timings)

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


def _begun_sections(answers: Sequence[RecordedAnswer]) -> set[str]:
    """Return the numbers of the sections that have answers: the ids of their requests begin with them."""
    return {answer.id.partition(".")[0] for answer in answers if not answer.is_refusal}


def _other_text_error(state: JobState) -> BadDocument:
    return BadDocument(str(state.path), detail="it is the job file of another command")
