"""chrF."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.tasks.translate.back_translation import chrf


@all_rows(
    ("text", "reference"),
    [
        ("The door is closed.", "The door is closed."),
        ("The door was closed today.", "The door is closed."),
        ("It often rains.", "The door is closed."),
        ("a", "the door"),
        ("xyz", "abc"),
        ("门关着。", "门今天关着。"),
        ("The  door\nis", "The door is"),
    ],
)
def test_chrf_is_that_of_sacrebleu(text, reference):
    """To the last digits."""
    sacrebleu = pytest.importorskip("sacrebleu")
    assert chrf(text, reference) == pytest.approx(sacrebleu.sentence_chrf(text, [reference]).score)


def test_nothing_has_nothing_in_common():
    """No division by zero."""
    assert chrf("", "abc") == chrf("abc", "") == chrf("", "") == 0
