"""translate --qe: how unexpected each translation is to the model, given its source; no reference is needed.

The surprisal of a translation is -log2 of its probability as the answer to the translation prompt, in bits a token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmcli.backends.base import run_requests
from llmcli.errors import ContextOverflow, Unsupported
from llmcli.frozen_dataclass import replace
from llmcli.tasks.execution.response_buffer import raise_request_error
from llmcli.tasks.translation.languages import Language, parse_language
from llmcli.tasks.translation.per_file.target_file import TranslationJob
from llmcli.tasks.translation.per_file.translation_report import SegmentOutcome, TranslationReport
from llmcli.tasks.translation.translator import Translator
from llmcli.types import CandidateScores, Finished, ItemFailed, Request, Result, TaskEvent, Usage

QUALITY_FIELD = "surprisal"
_DIGITS = 2


def add_quality_estimates(
    events: Iterator[TaskEvent], jobs: Sequence[TranslationJob | ItemFailed], report: TranslationReport
) -> Iterator[TaskEvent]:
    """Add the surprisal of each segment to ``report``, and to the field ``quality`` of the results.

    ``quality`` lists the segments with a translation, the most surprising first: ``line``, ``surprisal`` (bits a token),
    ``source`` and ``translation``. A segment that does not fit the context has none. Raises ``Unsupported`` if the
    backend cannot score, and the failure of a request.
    """
    first = next((job for job in jobs if isinstance(job, TranslationJob)), None)
    if first is not None and not first.translator.backend.info().token_scores:
        raise Unsupported("the log-probabilities of a text", detail="the server does not report them")
    for event in events:
        if not isinstance(event, Result):
            yield event
            continue
        job = jobs[event.item]
        assert isinstance(job, TranslationJob)
        source = None if event.fields["from"] is None else parse_language(event.fields["from"])
        rows = report.outcomes.get(event.item, [])
        estimates, usage = estimate_surprisal(job.translator, rows, source)
        report.outcomes[event.item] = [replace(row, surprisal=estimates.get(index)) for index, row in enumerate(rows)]
        yield replace(
            event,
            fields={**event.fields, "quality": _ranked(report.outcomes[event.item])},
            model=event.model or job.translator.backend.info().model,
            usage=event.usage + usage,
        )


def estimate_surprisal(
    translator: Translator, rows: Sequence[SegmentOutcome], source: Language | None
) -> tuple[Mapping[int, float], Usage]:
    """Return the surprisal of translations by the positions of their segments, and the usage.

    Raises the failure of a request; a segment that does not fit the context has no surprisal.
    """
    requests = [
        _scoring_request(translator, str(index), row, source) for index, row in enumerate(rows) if row.translation
    ]
    found: dict[int, float] = {}
    usage = Usage()
    for event in run_requests(translator.backend, requests):
        if isinstance(event, CandidateScores):
            score = event.scores[0]
            found[int(event.id)] = round(-score.logprob / math.log(2) / score.tokens, _DIGITS)
        elif isinstance(event, Finished):
            usage += event.usage
            if not isinstance(event.error, ContextOverflow):
                raise_request_error(event)
    return found, usage


def _scoring_request(translator: Translator, request_id: str, row: SegmentOutcome, source: Language | None) -> Request:
    request = translator.make_translation_request(request_id, row.source, 1, source=source)
    return replace(request, candidates=(row.translation or "",), max_tokens=None, stop=(), progress=False)


def _ranked(rows: Sequence[SegmentOutcome]) -> list[dict[str, Any]]:
    scored = [row for row in rows if row.surprisal is not None]
    return [
        {"line": row.line, QUALITY_FIELD: row.surprisal, "source": row.source, "translation": row.translation}
        for row in sorted(scored, key=lambda row: -(row.surprisal or 0.0))
    ]
