"""translate --qe: how suspicious each translation is; no reference is needed, and nothing is generated.

The surprisal of a translation is -log2 of its probability as the answer to the translation prompt, in bits a token. It is
joined with features that need no model (``quality_features``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmcli.backends.base import run_requests
from llmcli.errors import ContextOverflow, Unsupported
from llmcli.frozen_dataclass import replace
from llmcli.tasks.runner.answers import raise_request_error
from llmcli.tasks.translation.languages import Language, parse_language
from llmcli.tasks.translation.per_file.target_file import TranslationJob
from llmcli.tasks.translation.per_file.translation_report import SegmentOutcome, TranslationReport
from llmcli.tasks.translation.quality_features import (
    QualityFeatures,
    measure_translation,
    suspicion,
    typical_features,
)
from llmcli.tasks.translation.translator import Translator
from llmcli.types import CandidateScores, Finished, ItemFailed, Request, Result, TaskEvent, Usage

_DIGITS = 2


def add_quality_estimates(
    events: Iterator[TaskEvent], jobs: Sequence[TranslationJob | ItemFailed], report: TranslationReport
) -> Iterator[TaskEvent]:
    """Add the suspicion and surprisal of each segment to ``report``, and to the field ``quality`` of the results.

    ``quality`` lists the segments with a translation, the most suspicious first: ``line``, ``suspicion`` (0 to 1),
    ``surprisal`` (bits a token), ``source`` and ``translation``. A segment that does not fit the context has none. Raises ``Unsupported`` if the backend cannot score, and the failure of a
    request.
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
        measured, usage = measure_translations(job.translator, rows, source)
        typical = typical_features(measured.values())
        for index, each in measured.items():
            estimate, bits = round(suspicion(each, typical), _DIGITS), round(each.surprisal, _DIGITS)
            rows[index] = replace(rows[index], suspicion=estimate, surprisal=bits)
        yield replace(
            event,
            fields={**event.fields, "quality": _ranked(rows)},
            model=event.model or job.translator.backend.info().model,
            usage=event.usage + usage,
        )


def measure_translations(
    translator: Translator, rows: Sequence[SegmentOutcome], source: Language | None
) -> tuple[Mapping[int, QualityFeatures], Usage]:
    """Return the features of translations by the positions of their segments, and the usage.

    Raises the failure of a request; a segment that does not fit the context has no features.
    """
    requests = [
        _scoring_request(translator, str(index), row, source) for index, row in enumerate(rows) if row.translation
    ]
    found: dict[int, QualityFeatures] = {}
    usage = Usage()
    for event in run_requests(translator.backend, requests):
        if isinstance(event, CandidateScores):
            score, row = event.scores[0], rows[int(event.id)]
            bits = -score.logprob / math.log(2) / score.tokens
            found[int(event.id)] = measure_translation(row.source, row.translation or "", bits)
        elif isinstance(event, Finished):
            usage += event.usage
            if not isinstance(event.error, ContextOverflow):
                raise_request_error(event)
    return found, usage


def _scoring_request(translator: Translator, request_id: str, row: SegmentOutcome, source: Language | None) -> Request:
    request = translator.make_translation_request(request_id, row.source, 1, source=source)
    return replace(request, candidates=(row.translation or "",), max_tokens=None, stop=(), progress=False)


def _ranked(rows: Sequence[SegmentOutcome]) -> list[dict[str, Any]]:
    scored = [row for row in rows if row.suspicion is not None]
    return [
        {
            "line": row.line,
            "suspicion": row.suspicion,
            "surprisal": row.surprisal,
            "source": row.source,
            "translation": row.translation,
        }
        for row in sorted(scored, key=lambda row: -(row.suspicion or 0.0))
    ]
