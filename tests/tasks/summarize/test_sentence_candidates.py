"""Sentences that may stand in a summary."""

from __future__ import annotations

from itertools import pairwise

import pytest

from llmcli.tasks.summarize.sentence_candidates import find_candidates
from llmcli.tasks.summarize.summary_options import count_words, length_warning

TEXT = """\
# The workshop is closed today and tomorrow for all

The roof leaks. It will be
repaired on Monday.

![a picture of the roof](roof.png) and some more words here that go on.

```sh
echo "This is a command that prints a sentence."
```

| day | hours |
|---|---|
| Monday, a day with many words in this row | 10 |

You need:

- a hammer
- Nails that are long enough for the beams.

1234 5678 9012 3456 7890. Done well.
"""


def test_headings_code_tables_images_and_scraps_are_not_eligible():
    """What remains is prose; every sentence is a part of the text."""
    found = list(find_candidates(TEXT))
    assert [TEXT[each.start : each.end] for each in found if each.eligible] == [
        "The roof leaks.",
        "It will be\nrepaired on Monday.",
        "Nails that are long enough for the beams.",
    ]
    assert [each.begins_paragraph for each in found if each.eligible] == [True, False, False]


def test_sentences_are_in_order_and_do_not_overlap():
    """Each begins after the one before."""
    found = list(find_candidates(TEXT))
    assert all(one.end <= other.start for one, other in pairwise(found))


@pytest.mark.parametrize(
    ("text", "words"), [("It's 3.5 km, isn't it?", 5), ("東京は日本の首都です。", 5), ("", 0), ("--", 0)]
)
def test_words_are_counted(text, words):
    """Two Chinese or Japanese characters count as a word."""
    assert count_words(text) == words


@pytest.mark.parametrize(("length", "warned"), [(80, False), (120, False), (79, True), (121, True)])
def test_a_missed_length_is_more_than_a_fifth_off(length, warned):
    """80 to 120 words are about 100."""
    assert bool(length_warning("word " * length, 100)) == warned
    assert not length_warning("word " * length, None)
