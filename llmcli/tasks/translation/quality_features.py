"""What can be said of a translation without a reference, and how suspicious that makes it.

The model tells how unexpected the translation is, given its source. That alone ranks badly: the model expects a copy of the
source more than any translation, and it does not notice words that are left out. So lengths, copied words and numbers are
compared too. The features are added up with the weights of a logistic regression, which was fitted to right and damaged
messages of a PO file with the starter (``benchmarks/translation_quality.py``; its figures are those of other messages). The
surprisal without the source, from a second prefill, was tried as well, and added nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from statistics import median

from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans
from llmcli.frozen_dataclass import frozen

_INTERCEPT, _SURPRISAL, _SHORT, _LONG, _COPIED, _NUMBERS = -1.2, 0.4, 6.0, 3.0, 6.0, 4.0
_COPIED_POWER = 4
"""Translations share names with their sources; nearly all words are shared only by those that are none."""
_MIN_COPIED_WORDS = 3
"""Fewer words are often the same in both languages."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_NUMBER = re.compile(r"\d+")


@frozen
class QualityFeatures:
    """``surprisal`` of a translation given its source, in bits a token.

    ``length`` is the natural logarithm of its length over that of its source, in characters. ``copied``: the share of its
    words that stand in the source, 0 if it has few words. ``numbers_differ``: its numbers are not those of the source.
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
    """Return the median surprisal and length: languages and models differ, and most translations of a document are right."""
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
