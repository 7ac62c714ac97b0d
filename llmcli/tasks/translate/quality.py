"""The quality of translations: without a reference (translate --qe surprisal), and against one (--eval).

The surprisal of a translation is -log2 of its probability as the answer to the translation prompt, in bits a token.
That alone ranks badly: the model expects a copy of the source more than any translation, and it does not notice words
that are left out. So lengths, copied words and numbers are compared too. The features are added up with the weights of
a logistic regression. It was fitted to right and damaged messages of a PO file with the starter
(``benchmarks/translation_quality.py``; its figures are those of other messages). The surprisal without the source, from
a second prefill, was tried as well, and added nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans
from llmcli.errors import ContextOverflow, MissingExtra, Unsupported
from llmcli.fast_dataclass import frozen, replace
from llmcli.tasks.languages import Language, parse_language
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.translate.segment_state import SegmentOutcome
from llmcli.tasks.translate.translator import Translator
from llmcli.types import Request, Result

_DIGITS = 2
_INTERCEPT, _SURPRISAL, _SHORT, _LONG, _COPIED, _NUMBERS = -1.2, 0.4, 6.0, 3.0, 6.0, 4.0
_COPIED_POWER = 4
"""Translations share names with their sources; nearly all words are shared only by those that are none."""
_MIN_COPIED_WORDS = 3
"""Fewer words are often the same in both languages."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_NUMBER = re.compile(r"\d+")


def require_token_scores(backend: Backend) -> None:
    """Raise ``Unsupported`` if the backend cannot score a text."""
    if not backend.info().token_scores:
        raise Unsupported("the log-probabilities of a text", detail="the server does not report them")


async def add_quality_estimates(
    run: TaskRun,
    translator: Translator,
    result: Result,
    outcomes: Sequence[SegmentOutcome],
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
    for index, features in measured.items():
        estimate, bits = round(suspicion(features, typical), _DIGITS), round(features.surprisal, _DIGITS)
        rows[index] = replace(rows[index], suspicion=estimate, surprisal=bits)
    fields = {**result.fields, "quality": _rank_segments(rows)}
    model = result.model or translator.backend.info().model
    return replace(result, fields=fields, model=model, usage=run.usage.usage), rows


async def measure_translations(
    run: TaskRun,
    translator: Translator,
    outcomes: Sequence[SegmentOutcome],
    source: Language | None,
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
    measured = [features async for features in run.each(translated, measure)]
    return {index: features for index, features in zip(translated, measured, strict=True) if features is not None}


def _scoring_request(translator: Translator, request_id: str, row: SegmentOutcome, source: Language | None) -> Request:
    request = translator.make_translation_request(request_id, row.source, 1, source=source)
    return replace(request, candidates=(row.translation or "",), max_tokens=None, stop=(), progress=False)


def _rank_segments(rows: Sequence[SegmentOutcome]) -> list[dict[str, Any]]:
    """Return the segments with an estimate as JSON, the most suspicious first."""
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


# ---- features --------------------------------------------------------------------------------------------------------


@frozen
class QualityFeatures:
    """``surprisal`` of a translation given its source, in bits a token.

    ``length`` is the natural logarithm of its length over that of its source, in characters. ``copied``: the share of
    its words that stand in the source, 0 if it has few words. ``numbers_differ``: its numbers are not those of the
    source.
    """

    surprisal: float
    length: float = 0.0
    copied: float = 0.0
    numbers_differ: bool = False


def measure_translation(source: str, translation: str, surprisal: float) -> QualityFeatures:
    """Return the features of a translation, which is not empty."""
    plain, said = _without_code(source), _without_code(translation)
    words, known = _words(said), {*_words(plain)}
    copied = sum(word in known for word in words) / len(words) if len(words) >= _MIN_COPIED_WORDS else 0.0
    length = math.log(len(translation) / max(1, len(source)))
    return QualityFeatures(surprisal, length, copied, _numbers_differ(plain, said))


def typical_features(measured: Collection[QualityFeatures]) -> QualityFeatures:
    """Return the median surprisal and length: languages and models differ, and most translations are right."""
    if not measured:
        return QualityFeatures(0.0)
    return QualityFeatures(median(each.surprisal for each in measured), median(each.length for each in measured))


def suspicion(measured: QualityFeatures, typical: QualityFeatures) -> float:
    """Return how suspicious a translation is, from 0 to 1, compared with those that are ``typical`` of its document.

    It would be the probability of an error if there were as many wrong translations as right ones.
    """
    longer = measured.length - typical.length
    total = (
        _INTERCEPT
        + _SURPRISAL * (measured.surprisal - typical.surprisal)
        + _SHORT * max(0.0, -longer)
        + _LONG * max(0.0, longer)
        + _COPIED * measured.copied**_COPIED_POWER
        + _NUMBERS * measured.numbers_differ
    )
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


def _without_code(text: str) -> str:
    """Return a text without what a translation keeps as it is: placeholders, tags, addresses."""
    parts, at = [], 0
    for span in find_spans(text, PLAIN_TEXT_KINDS):
        parts.append(text[at : span.start])
        at = span.end
    return " ".join([*parts, text[at:]])


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _numbers_differ(source: str, translation: str) -> bool:
    """Return whether numbers are missing, added or others; single digits may become words, and words digits."""
    one, other = (sorted(_NUMBER.findall(text)) for text in (source, translation))
    if len(one) == len(other):
        return one != other
    return [number for number in one if len(number) > 1] != [number for number in other if len(number) > 1]


# ---- scores ----------------------------------------------------------------------------------------------------------


@frozen
class QualityScores:
    """``bleu`` and ``chrf`` from 0 to 100, with the signatures that make them comparable."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


def require_sacrebleu() -> None:
    """Raise ``MissingExtra`` if sacrebleu is not installed."""
    if find_spec("sacrebleu") is None:
        raise MissingExtra("sacrebleu", detail="eval")


def score_translations(texts: Sequence[str], references: Sequence[str], target: str) -> QualityScores:
    """Return the scores of ``texts``, each against its reference; ``target`` is a BCP 47 code.

    Source: Papineni et al. 2002 (BLEU), Popovic 2015 (chrF), Post 2018 (sacrebleu). Raises ``MissingExtra``.
    """
    require_sacrebleu()
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    tokenizer = {"zh": "zh", "ja": "char", "ko": "char", "th": "char"}.get(target.partition("-")[0], "13a")
    bleu, chrf = BLEU(tokenize=tokenizer), CHRF()
    one, two = (metric.corpus_score(list(texts), [list(references)]).score for metric in (bleu, chrf))
    return QualityScores(one, two, str(bleu.get_signature()), str(chrf.get_signature()))
