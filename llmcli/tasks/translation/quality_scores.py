"""The quality of a translation against a reference: BLEU and chrF, as sacrebleu computes them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from llmcli.errors import MissingExtra
from llmcli.frozen_dataclass import frozen


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
