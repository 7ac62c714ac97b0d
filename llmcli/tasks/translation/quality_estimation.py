"""translate --qe: how suspicious each translation is; no reference is needed, and nothing is generated.

The surprisal of a translation is -log2 of its probability as the answer to the translation prompt, in bits a token. It is
joined with features that need no model (``quality_features``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmcli.backends.base import Backend
from llmcli.errors import ContextOverflow, Unsupported
from llmcli.frozen_dataclass import replace
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.translation.languages import Language, parse_language
from llmcli.tasks.translation.per_file.translation_report import SegmentOutcome
from llmcli.tasks.translation.quality_features import (
    QualityFeatures,
    measure_translation,
    suspicion,
    typical_features,
)
from llmcli.tasks.translation.translator import Translator
from llmcli.types import Request, Result

_DIGITS = 2


def require_token_scores(backend: Backend) -> None:
    """Raise ``Unsupported`` if the backend cannot score a text."""
    if not backend.info().token_scores:
        raise Unsupported("the log-probabilities of a text", detail="the server does not report them")


async def add_quality_estimates(
    run: TaskRun, translator: Translator, result: Result, outcomes: Sequence[SegmentOutcome]
) -> tuple[Result, list[SegmentOutcome]]:
    """Return a result with the field ``quality``, and the outcomes with the suspicion and surprisal of each segment.

    ``quality`` lists the segments with a translation, the most suspicious first: ``line``, ``suspicion`` (0 to 1),
    ``surprisal`` (bits a token), ``source`` and ``translation``. A segment that does not fit the context has none.
    Raises the failure of a request.
    """
    source = None if result.fields["from"] is None else parse_language(result.fields["from"])
    measured = await measure_translations(run, translator, outcomes, source)
    typical = typical_features(measured.values())
    rows = list(outcomes)
    for index, each in measured.items():
        estimate, bits = round(suspicion(each, typical), _DIGITS), round(each.surprisal, _DIGITS)
        rows[index] = replace(rows[index], suspicion=estimate, surprisal=bits)
    fields = {**result.fields, "quality": _ranked(rows)}
    model = result.model or translator.backend.info().model
    return replace(result, fields=fields, model=model, usage=run.usage.usage), rows


async def measure_translations(
    run: TaskRun, translator: Translator, outcomes: Sequence[SegmentOutcome], source: Language | None
) -> Mapping[int, QualityFeatures]:
    """Return the features of translations by the positions of their segments.

    A segment that does not fit the context has none. Raises the failure of a request.
    """

    async def measure(index: int) -> QualityFeatures | None:
        row = outcomes[index]
        try:
            answer = await run.ask(_scoring_request(translator, f"{run.item}.quality.{index}", row, source))
        except ContextOverflow:
            return None
        (score,) = answer.scores
        return measure_translation(row.source, row.translation or "", -score.logprob / math.log(2) / score.tokens)

    translated = [index for index, row in enumerate(outcomes) if row.translation]
    features = [found async for found in run.each(translated, measure)]
    return {index: found for index, found in zip(translated, features, strict=True) if found is not None}


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
