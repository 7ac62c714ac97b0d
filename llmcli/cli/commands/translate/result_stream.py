"""The outputs of results: files, scores, the report, a line for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.documents.reading.translatable import read_translatable
from llmcli.errors import CannotCreate, LlmError, UsageError
from llmcli.fast_dataclass import asdict, replace
from llmcli.interrupt import run_interruptible
from llmcli.types import Delta, ItemFailed, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.cli.commands.translate.plan import TranslationPlan
    from llmcli.documents.reading.document import Document
    from llmcli.tasks.translate.memory_cache import TranslationMemoryCache
    from llmcli.tasks.translate.segment_state import TranslationReport

MAX_SHOWN_SEGMENTS = 20
"""Suspicious segments of a document that are shown; --json and --report have all."""


def add_scores(events: Iterator[TaskEvent], reference: Document, report: TranslationReport) -> Iterator[TaskEvent]:
    """Add BLEU and chrF to the fields of the one result, segment by segment against another translation.

    Raises ``UsageError`` if the two do not have the same segments, and what ``score_translations`` and ``split`` raise.
    """
    from llmcli.documents.reading.translatable import find_document_format
    from llmcli.tasks.translate.quality import score_translations

    for event in events:
        if not isinstance(event, Result):
            yield event
            continue
        target = event.fields["to"]
        document_format = find_document_format(reference, event.fields["format"])
        theirs = run_interruptible(document_format.split, reference.text, target)
        references = [segment.existing_translation or segment.text for segment in theirs]
        texts = [row.translation or row.source for row in report.outcomes[event.item]]
        if len(texts) != len(references):
            raise UsageError(
                f"{event.name} has {len(texts)} segments and {reference.name} has {len(references)}",
                detail="--eval compares segment by segment: name a translation of the same document",
            )
        yield replace(
            event, fields={**event.fields, **asdict(run_interruptible(score_translations, texts, references, target))}
        )


def format_scores(result: Result) -> str:
    """Return the scores that ``add_scores`` added to a result, a line each."""
    fields = result.fields
    return (
        f"BLEU {fields['bleu']:.2f}  {fields['bleu_signature']}\nchrF {fields['chrf']:.2f}  {fields['chrf_signature']}"
    )


@contextmanager
def guard_rename(remembered: TranslationMemoryCache, path: Path, earlier: Document | None) -> Iterator[None]:
    """Record the file ``path``, which this block renames to its final name.

    Raises ``CannotCreate`` if the file is no longer the ``earlier`` translation: an edit would be lost.
    """
    if earlier is not None and path.exists() and read_translatable(str(path)).text != earlier.text:
        raise CannotCreate(str(path), detail="it was edited while this command ran; run the command again")
    with remembered.record_on_rename(path):
        yield


def write_results(
    ctx: CommandContext,
    events: Iterator[TaskEvent],
    plan: TranslationPlan,
    remembered: TranslationMemoryCache,
) -> Iterator[TaskEvent]:
    """Write each result to its file and pass it on without its text; a result that cannot be written fails.

    Only translations that were written to the file are ``remembered``.
    """
    from llmcli.files.atomic_file import atomic_write

    for event in events:
        if isinstance(event, Delta) and not event.reasoning:
            continue
        if not isinstance(event, Result):
            yield event
            continue
        path = plan.outputs[event.item]
        if event.text is None:
            yield event
            continue
        try:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CannotCreate(str(path), detail=error.strerror or "") from error
            placing = partial(guard_rename, remembered, path, plan.translations[event.item].existing)
            with atomic_write(str(path), interrupt=ctx.runtime.interrupt, placing=placing) as file:
                file.write(_output_bytes(event, plan.translations[event.item].encoding))
        except LlmError as error:
            yield ItemFailed(event.item, event.name, error)
            continue
        if ctx.provenance is not None:
            alone = {"files": [event.name], "to": [event.fields["to"]]}
            ctx.provenance.add_result_output(str(path), event, alone)
        yield replace(event, text=None, data=None, fields={**event.fields, "output": str(path)})


def _output_bytes(result: Result, encoding: str) -> bytes:
    """Return the content of a file: an archive as it is, a text in the encoding of its document."""
    if result.data is not None:
        return result.data
    return (result.text or "").encode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")


def format_quality(result: Result) -> str:
    """Return the segments of a document that look most like errors, a line each: FILE:LINE: SUSPICION TRANSLATION.

    It is "" if no segment has a translation.
    """
    name = "stdin" if result.name == "-" else result.name
    lines = [
        f"{name}:{each['line']}: {each['suspicion']:.2f} {' '.join(each['translation'].split())}"
        for each in result.fields["quality"][:MAX_SHOWN_SEGMENTS]
    ]
    return "\n".join(["segments, the most suspicious first:", *lines] if lines else [])


def format_result_note(result: Result) -> str:
    """Return a note for people about a document: "guide.md (markdown): English to French, 12 segments".

    For an incomplete document it ends with ", 11 left untranslated".
    """
    from llmcli.tasks.languages import parse_language

    fields = result.fields
    source = f"{parse_language(fields['from']).name} " if fields["from"] else ""
    name = "standard input" if result.name == "-" else result.name
    count = f"{fields['segments']} segment{'' if fields['segments'] == 1 else 's'}"
    count += f", {fields['untranslated']} left untranslated" if fields["untranslated"] else ""
    return f"{name} ({fields['format']}): {source}to {parse_language(fields['to']).name}, {count}"


def format_report(ends: Sequence[Result | ItemFailed], report: TranslationReport) -> str:
    """Return the outcome of each document and segment, as JSON; bytes of names that are not UTF-8 are replaced."""
    from llmcli.cli.console import error_messages, json_text

    documents: list[dict[str, Any]] = []
    for end in sorted(ends, key=lambda end: end.item):
        if isinstance(end, Result):
            rest = {**end.fields, "warnings": list(end.warnings), "segments": report.to_json(end.item)}
        else:
            rest = {"error": error_messages.describe(end.error)[0]}
        documents.append({"name": end.name, **rest})
    text = json_text.dumps({"documents": documents}, indent=1) + "\n"
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
