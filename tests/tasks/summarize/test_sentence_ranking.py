"""The sentences that carry a text, on vectors made for the purpose."""

from __future__ import annotations

import numpy as np

from llmcli.tasks.summarize.sentence_candidates import SentenceCandidate, SentenceStore
from llmcli.tasks.summarize.sentence_ranking import choose_sentences

EAST, NORTH, UP = np.eye(3, dtype=np.float32)
WORDS = 10


def sentences(count: int, *, ineligible=(), words: int = WORDS) -> list[SentenceCandidate]:
    return [
        SentenceCandidate(10 * i, 10 * i + 9, words, i not in ineligible, begins_paragraph=False) for i in range(count)
    ]


def chosen(vectors, words: int, *, focus=None, **kind) -> list[int]:
    store = SentenceStore()
    for number, (sentence, vector) in enumerate(zip(sentences(len(vectors), **kind), vectors, strict=True)):
        store.add(number, sentence, vector)
    return [each.number for each in choose_sentences(store, words, focus)]


def test_a_sentence_like_many_others_is_central():
    """Position counts only in the beginning."""
    noise = np.random.default_rng(1).normal(scale=0.05, size=(100, 3)).astype(np.float32)
    vectors = [EAST if i % 2 else (NORTH if i % 4 else UP) for i in range(100)] + noise
    (number,) = chosen([*vectors], WORDS, ineligible=range(50))
    assert number % 2 == 1


def test_a_sentence_that_repeats_a_chosen_one_is_not_chosen():
    """The second choice is the less central one that says something else."""
    numbers = chosen([EAST, EAST, EAST, NORTH], 2 * WORDS)
    assert len(numbers) == 2
    assert 3 in numbers


def test_the_first_of_equal_sentences_is_chosen():
    """The beginning of a text says most."""
    assert chosen([EAST, EAST, NORTH, NORTH], WORDS)[0] in {0, 2}
    assert chosen([EAST, EAST, EAST, NORTH, UP], WORDS) == [0]


def test_what_is_not_eligible_is_chosen_only_if_nothing_else_is_there():
    """A text of headings has a summary too."""
    assert chosen([EAST, EAST, NORTH], WORDS, ineligible={0, 1}) == [2]
    assert len(chosen([EAST, EAST, NORTH], WORDS, ineligible={0, 1, 2})) == 1


def test_sentences_come_in_the_order_of_the_text_and_within_the_length():
    """The length is met within a tenth where the sentences allow it."""
    vectors = [*np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)]
    for words in (20, 100, 200):
        numbers = chosen(vectors, words)
        assert numbers == sorted(numbers)
        assert abs(len(numbers) * WORDS - words) <= words / 10


def test_a_single_sentence_longer_than_the_length_is_chosen():
    """A summary is never empty, and never cut."""
    assert chosen([EAST, NORTH], 3) != []
    assert chosen([EAST], 3) == [0]


def test_a_focus_prefers_the_sentences_near_to_it():
    """The focus outweighs position and centrality."""
    assert chosen([EAST, EAST, EAST, NORTH], WORDS, focus=NORTH) == [3]
