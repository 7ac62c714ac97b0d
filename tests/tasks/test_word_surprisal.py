"""The surprisal of a word is the sum over its tokens, whatever the tokenizer cuts."""

from __future__ import annotations

import math

from scripted import score_words as scripted_score

from llmcli.tasks.proofread import find_words, score_words
from llmcli.types import Score


def score_of(*tokens):
    """Return the score of a text from its tokens, each with its bits."""
    logprobs = tuple(-bits * math.log(2) for _, bits in tokens)
    text = "".join(text for text, _ in tokens)
    return Score(text, sum(logprobs), len(tokens), logprobs, tuple(len(text.encode()) for text, _ in tokens))


def bits_of(text, score, start=0):
    """Return the words of a text with their bits."""
    words = find_words(text, start, start + len(score.candidate))
    return {text[each.start : each.end]: round(each.bits, 6) for each in score_words(start, score, words)}


def test_a_word_has_the_sum_of_its_tokens():
    """The blank before a word belongs to it; marks belong to no word."""
    score = score_of(("The", 1), (" re", 2), ("pi", 3), ("ared", 4), (" roof", 5), (".", 6), ("\n\n", 7), ("It's", 8))
    assert bits_of(score.candidate, score) == {"The": 1, "repiared": 9, "roof": 5, "It's": 8}


def test_offsets_are_those_of_the_document():
    """A window that begins later, with letters of several bytes and tokens that end inside one."""
    text = "Vor. \u00dcber \u00c4pfel"
    data = "\u00dcber \u00c4pfel".encode()
    sizes = (1, 1, 3, 1, 1, 1, 4)  # the umlauts are two tokens each
    score = Score(data.decode(), 0.0, 7, tuple(-math.log(2) * bits for bits in (1, 2, 4, 8, 16, 32, 64)), sizes)
    assert sum(sizes) == len(data)
    assert bits_of(text, score, 5) == {"\u00dcber": 7, "\u00c4pfel": 112}


def test_a_first_token_that_begins_earlier_counts():
    """Where the end of the context and the beginning of the window are one token."""
    score = Score("day now", 0.0, 2, (-math.log(2), -2 * math.log(2)), (5, 4))
    assert bits_of("day now", score) == {"day": 1, "now": 2}


def test_code_addresses_and_numbers_are_no_words():
    """They surprise any model."""
    text = "Run `make qwzx` at https://example.org/qwzx or ask jo@example.org about <b>1234</b> 5x."
    found = [text[start:end] for start, end in find_words(text, 0, len(text))]
    assert found == ["Run", "at", "or", "ask", "about", "5x"]


def test_characters_are_words_where_no_spaces_are_used():
    """A sentence in Chinese would be one word otherwise."""
    text = "\u4f60\u597d world"
    assert bits_of(text, scripted_score(text, len)) == {"\u4f60": 2, "\u597d": 0, "world": 5}
