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


@pytest.mark.parametrize(
    "other",
    [
        '<p align="center">The workshop has a roof of its own.</p>',
        "The workshop has a roof<br>and two doors that are open.",
        "Fish &amp; chips are sold in front of the workshop.",
        "[![The build of the workshop passes](https://example.org/a.svg)](https://example.org)",
        "The picture ![of the roof](roof.png) shows what the rain has done.",
        "Read all about the workshop at https://example.org/workshop today.",
        "[The guide for all new members of the workshop](guide.md)",
        "Monday | The workshop is closed. We are sorry for it. | all day",
        "Yes           No        No        Maybe is what they said here",
        "$ make the roof of the workshop and go home",
        "roof = repair(roof); if (roof == None) { return the roof }",
        "Run this:\n\n    make the roof of the workshop and then go home now",
        ".. code-block:: python\n\n   import the roof of the workshop from the rain now",
        "<!--\nThis is a comment about the roof. It is hidden.\n-->",
        "<table>\n<tr><td>\nThe cell has a sentence in it.\n</td></tr>\n</table>",
    ],
)
def test_markup_links_tables_and_code_are_not_eligible(other):
    """Prose around them is."""
    text = f"The roof leaks.\n\n{other}\n\nWe repair it on Monday.\n"
    found = [text[each.start : each.end] for each in find_candidates(text) if each.eligible]
    assert found == ["The roof leaks.", "We repair it on Monday."]


@pytest.mark.parametrize(
    "prose",
    [
        "Run `a | b` to see what the [manual](https://example.org) says.",
        "It is called `std::vector<int>` in that language.",
        "We need:\n\n    - Nails that are long enough for the beams.",
    ],
)
def test_prose_with_links_and_code_in_it_is_eligible(prose):
    """Where enough other words are left."""
    assert [each.eligible for each in find_candidates(prose)][-1]


@pytest.mark.parametrize(
    "unit", ["a" * 10, "a:\n\n    ", "word   ", "`` a ", "<!-- a\n", ".. code:: b\n   ", "[a](", "&a"]
)
def test_the_time_is_linear(unit):
    """Markup that never ends is no trap: a text of 200,000 characters has its sentences at once."""
    text = unit * (200_000 // len(unit))
    found = list(find_candidates(text))
    assert all(one.end <= other.start for one, other in pairwise(found))


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
