"""summarize: a document of any length becomes a summary.

A text that fits the context is one request. A longer text is cut at paragraph borders. The summaries of its parts are
joined into the text of the next stage, until that fits one request. The parts of all documents run concurrently. A part
with an empty or cut answer is requested again; the result lists the lines of parts that are still missing. Key
sentences are chosen without an answer (``key_sentences``).
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedFile, StreamedText
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.answers import renumber_failure
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun, run_inputs
from llmcli.tasks.summarize.summary_options import KEY_SENTENCES, SummaryOptions
from llmcli.types import ItemFailed, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.documents.records.record import Row
    from llmcli.tasks.summarize.joined_documents import CombinedText


def summarize_document(
    run: TaskRun,
    prompts: PromptLibrary,
    document: Document | StreamedText,
    options: GenerationOptions,
    wanted: SummaryOptions,
    *,
    row: Row | None = None,
    earlier: str = "",
    combined: CombinedText | None = None,
) -> Coroutine[Any, Any, Result]:
    """Return the summary of a document, or of a record's text, whose columns are ``row``, when it is awaited.

    The rest is as in ``summarize``. Raises ``BadDocument`` for a streamed text that has to be kept in memory, and is
    too large for that.
    """
    style = wanted.style_for(run.backend.info())
    if style == KEY_SENTENCES:
        from llmcli.tasks.summarize.key_sentences import choose_key_sentences

        return choose_key_sentences(run, document, options, wanted, is_record=row is not None)
    from llmcli.tasks.summarize.summary_plan import SummaryPlan
    from llmcli.tasks.summarize.written_summary import write_summary

    plan = SummaryPlan(run.backend, prompts, options, wanted, style, row, earlier, combined)
    return write_summary(run, plan, document if isinstance(document, Document) else document.read_whole())


def summarize(
    backend: Backend,
    prompts: PromptLibrary,
    documents: Iterable[Document | StreamedFile | ItemFailed],
    options: GenerationOptions,
    wanted: SummaryOptions | None = None,
    *,
    earlier: str = "",
) -> Iterator[TaskEvent]:
    """Summarize each document: per item its Deltas (items may alternate), then Result or ItemFailed.

    ``options.max_tokens`` limits the summary, not the summaries of parts of a long text. An ``ItemFailed`` among the
    documents (an unreadable file) is passed on in its position. A blank document fails with ``EmptyInput``, one that
    cannot be made to fit with ``ContextOverflow``, an empty answer with ``EmptyAnswer``, key sentences with
    ``Unsupported`` where the backend reports no hidden states; the others go on. ``earlier``: a summary to update, to
    which the documents add what is new. A Result has the fields ``method`` ("written" or "key-sentences"), ``coverage``
    (the share of the document's tokens that calls with an answer have read), ``missing``, the ``MissingPart``s of the
    document that the summary lacks, and with key sentences ``sentences`` (each with ``text``, ``start``, ``end``,
    ``first_line``, ``last_line`` and ``score``). A summary whose length is not about ``wanted.words``, or that is not
    in the form of its style, is written once more. If the better one of both is not about that long either it has a
    warning; if its form is wrong it is incomplete (``InvalidAnswer``). Key sentences of a ``StreamedFile`` are
    chosen without keeping it in memory. ``Progress`` counts "parts" or "sentences", and the prompt tokens evaluated for
    all of them.
    """
    chosen = wanted or SummaryOptions()

    def task(run: TaskRun, document: Document | StreamedFile) -> Coroutine[Any, Any, Result]:
        return summarize_document(run, prompts, document, options, chosen, earlier=earlier)

    texts: Iterable[Any] = documents  # mypy finds no common type of three
    yield from run_inputs(backend, texts, task, _counted_unit(backend, chosen))


def _counted_unit(backend: Backend, wanted: SummaryOptions) -> str:
    """Return what each request is about."""
    return "sentences" if wanted.style_for(backend.info()) == KEY_SENTENCES else "parts"


def summarize_together(
    backend: Backend,
    prompts: PromptLibrary,
    documents: Sequence[Document | StreamedFile | ItemFailed],
    options: GenerationOptions,
    wanted: SummaryOptions,
    *,
    headings: bool = True,
) -> Iterator[TaskEvent]:
    """Summarize several documents in one summary: item 0, then the documents that could not be read or are blank.

    The result is as in ``summarize``; ``documents`` names them, ``sentences`` and ``missing`` name that of each place.
    For key sentences, one document at a time is in memory. ``headings`` is as in ``CombinedText``.
    """
    from llmcli.tasks.summarize.joined_documents import CombinedText

    combined = CombinedText(documents, headings=headings)
    if combined.is_empty:
        raise combined.failed[0].error
    events = run_inputs(
        backend,
        [combined],
        lambda run, document: summarize_document(run, prompts, document, options, wanted, combined=combined),
        _counted_unit(backend, wanted),
    )
    yield from combined.locate_results(events)
    for item, each in enumerate(combined.failed, 1):
        yield renumber_failure(each, item)
