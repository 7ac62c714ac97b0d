"""The work of a translation, without running the model: its segments, its calls, and the tokens of these."""

from __future__ import annotations

from collections.abc import Iterator

from llmcli.documents.text_cutting import split_sentences
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import run_interruptible
from llmcli.tasks.runner.work_estimate import WorkEstimate, WorkRange, count_requests
from llmcli.tasks.translate.document_plan import DocumentPlan
from llmcli.tasks.translate.memory_cache import TranslationMemoryCache
from llmcli.tasks.translate.segment_requests import SegmentRequests, SegmentTask, make_piece
from llmcli.tasks.translate.segment_translation import MAX_SEGMENT_ATTEMPTS
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator
from llmcli.types import Request

_TOKEN_GROWTH = 1.3
"""Tokens of a translation per token of its source: languages other than English need more."""


@frozen
class TranslationEstimate:
    """One document: its language and format, its segments, those that the model would translate, and their work."""

    name: str
    target: str
    format: str
    source: str
    segments: int
    new_segments: int
    work: WorkEstimate


def estimate_translation(spec: TranslationSpec, memory: TranslationMemoryCache) -> TranslationEstimate:
    """Return the estimate of a translation; the backend only counts tokens.

    The work is that of answers that are all valid. The range holds that of all others, and that of translations which
    another document of the same job has put into the memory. Raises ``BadDocument``,
    ``ContextOverflow``, and ``CannotCreate`` for a file that would not be replaced.
    """
    plan = run_interruptible(DocumentPlan, spec, memory)
    translator, tasks = spec.translator, []
    if spec.keep_existing:
        plan.require_finished()
    else:
        plan.apply_known_translations()
        if translator.stub_translate is None:
            tasks = [task for _, task in plan.make_tasks("count")]
    source = plan.source_language
    repeated = [task for task in tasks if memory.is_planned(task.segment, source, translator)]
    calls, tokens = count_requests(translator.backend, _first_requests(translator, tasks))
    known_calls, known_tokens = count_requests(translator.backend, _first_requests(translator, repeated))
    retries = sum(_count_calls_at_most(translator, task) for task in tasks) - calls
    shared = translator.count_instruction_tokens() if calls > 1 else 0
    work = WorkEstimate(
        spec.name,
        "translation",
        calls,
        calls,
        tokens,
        round(sum(count for task in tasks for _, count in task.pieces) * _TOKEN_GROWTH),
        reused_tokens=shared * max(0, calls - 1),
        decided_by_answers=WorkRange(
            calls - known_calls,
            calls + retries,
            tokens - known_tokens,
            tokens + retries * translator.backend.info().context,
        ),
    )
    return TranslationEstimate(
        spec.name,
        translator.target.code,
        plan.format.name,
        source.code if source else "",
        len(plan.states),
        len(tasks),
        work,
    )


def _first_requests(translator: Translator, tasks: list[SegmentTask]) -> Iterator[Request]:
    """Yield the first request about each piece of each segment."""
    for task in tasks:
        requests = SegmentRequests(translator, task)
        for piece in requests.pieces():
            if requests.has_words(piece):
                yield requests.make_translation_request(task.key, piece, task.around)


def _count_calls_at_most(translator: Translator, task: SegmentTask) -> int:
    """Return the most calls for a segment.

    Each piece has its attempts, then one for each of its sentences. All of that comes twice if the model refuses to
    answer beside the texts around the segment. The last call is the review.
    """
    requests, calls = SegmentRequests(translator, task), 0
    for piece in requests.pieces():
        if requests.has_words(piece):
            sentences = split_sentences(piece.text)
            calls += MAX_SEGMENT_ATTEMPTS
            calls += sum(requests.has_words(make_piece(text, 1)) for text in sentences) if len(sentences) > 1 else 0
    if task.around.preceding_text or task.around.following_text:
        calls *= 2
    return calls + (translator.review_prompt is not None) if calls else 0
