"""The nearest examples: by words, by hidden states, and a backend that has none."""

from __future__ import annotations

import struct

from scripted import ScriptedBackend

from llmcli.tasks.labels.example_choice import ExampleChooser, make_chooser

EXAMPLES = [("the red house is old", "a"), ("cats and dogs", "b"), ("a red and a blue house", "c"), ("nothing", "d")]


def vector(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def test_common_rare_words_make_texts_similar():
    """The most similar one comes last; words in all examples count less."""
    chosen = ExampleChooser(EXAMPLES, 2).choose("Red house!")
    assert [label for _, label in chosen] == ["c", "a"] or [label for _, label in chosen] == ["a", "c"]
    assert ExampleChooser(EXAMPLES, 1).choose("my dogs") == [EXAMPLES[1]]


def test_without_a_common_word_the_first_ones_are_chosen():
    """So that the same text always gets the same examples."""
    assert ExampleChooser(EXAMPLES, 2).choose("xyz") == [EXAMPLES[1], EXAMPLES[0]]


def test_hidden_states_decide_if_they_are_there():
    """By the cosine, after the common part of all examples is taken out."""
    states = [vector(10, 1), vector(10, -1), vector(10, 0.9), vector(10, -0.9)]
    chooser = ExampleChooser(EXAMPLES, 2, states)
    assert chooser.needs_hidden_states
    assert {label for _, label in chooser.choose("x", vector(10, 2))} == {"a", "c"}
    assert {label for _, label in chooser.choose("x", vector(10, -2))} == {"b", "d"}


def test_equal_states_do_not_divide_by_zero():
    """All examples are then equally near."""
    chooser = ExampleChooser(EXAMPLES[:2], 1, [vector(1, 1), vector(1, 1)])
    assert chooser.choose("x", vector(1, 1)) == [EXAMPLES[0]]


def test_a_backend_without_hidden_states():
    """Words decide then."""
    assert not make_chooser(ScriptedBackend(), EXAMPLES, 2).needs_hidden_states
