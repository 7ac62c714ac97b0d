"""How near a translation comes to one that people made: BLEU and chrF, as sacrebleu computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmcli.errors import MissingExtra


@dataclass(frozen=True, slots=True)
class Scores:
    """``bleu`` and ``chrf`` from 0 to 100, with the signatures that make them comparable; over ``segments`` texts."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str
    segments: int


def evaluate(texts: Sequence[str], references: Sequence[str], target: str) -> Scores:
    """Return the scores of ``texts``, each against its reference; ``target`` is a BCP 47 code.

    Source: Papineni et al. 2002 (BLEU), Popovic 2015 (chrF), Post 2018 (sacrebleu). Raises ``MissingExtra``.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise MissingExtra("sacrebleu", extra="eval") from error

    tokenizer = {"zh": "zh", "ja": "char", "ko": "char", "th": "char"}.get(target.partition("-")[0], "13a")
    bleu, chrf = BLEU(tokenize=tokenizer), CHRF()
    scores = [metric.corpus_score(list(texts), [list(references)]).score for metric in (bleu, chrf)]
    return Scores(*scores, str(bleu.get_signature()), str(chrf.get_signature()), len(texts))
