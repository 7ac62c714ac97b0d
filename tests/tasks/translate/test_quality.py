"""Signs of a bad translation: lengths, numbers, copied words, and what its source tells of it."""

from __future__ import annotations

import pytest

from llmcli.tasks.translate.quality import (
    QualityFeatures,
    measure_translation,
    suspicion,
    typical_features,
)

SOURCE = "The train to %(city)s leaves at 10:45 from platform 7."
RIGHT = "Le train vers %(city)s part \u00e0 10:45 du quai num\u00e9ro 7."


def rate(translation, surprisal=3.0):
    typical = typical_features([measure_translation(SOURCE, RIGHT, 3.0)])
    return suspicion(measure_translation(SOURCE, translation, surprisal), typical)


@pytest.mark.parametrize(
    "wrong",
    [
        RIGHT.replace("10:45", "10:54"),
        "Le train vers %(city)s",
        SOURCE,
        SOURCE.upper(),
        f"{RIGHT} {RIGHT} 10:45",
    ],
)
def test_errors_that_need_no_model_are_more_suspicious(wrong):
    """Another number, words left out, no translation, twice as much; also where the model sees no difference."""
    assert rate(wrong) > rate(RIGHT)


def test_what_surprises_the_model_is_more_suspicious():
    """Compared with the rest of the document, from 0 to 1 however much."""
    assert 0 < rate(RIGHT, 1.0) < rate(RIGHT, 3.0) < rate(RIGHT, 5.0) < 1
    assert 0 < rate(RIGHT, -1e6) < rate(RIGHT, 1e6) < 1


def test_placeholders_are_no_words_and_no_numbers():
    """They are the same in both languages."""
    measured = measure_translation("Hi %(name)s, see {0} now!", "Va voir %(name)s dans {1} !", 1.0)
    assert (measured.copied, measured.numbers_differ) == (0.0, False)


@pytest.mark.parametrize("pair", [("OK", "OK"), ("2 files", "deux fichiers"), ("1,200 km", "1.200 km")])
def test_what_may_be_the_same_or_a_word_is_no_error(pair):
    """Single words, single digits, separators of thousands."""
    measured = measure_translation(*pair, 1.0)
    assert (measured.copied, measured.numbers_differ) == (0.0, False)


def test_the_typical_features_are_medians():
    """One damaged translation does not move them; a document may have none."""
    measured = [measure_translation("abcd", text, len(text)) for text in ("abcd", "abcd", "a")]
    assert typical_features(measured) == QualityFeatures(4.0) and typical_features([]) == QualityFeatures(0.0)
