"""When an answer counts as repeating itself."""

from __future__ import annotations

import pytest

from llmcli.tasks.conversation.repetition_detector import RepetitionDetector, ends_in_repetition


@pytest.mark.parametrize(
    "block", ["ha ", "I am sorry, I cannot do that. ", "- one\n- two\n- three\n", "a" * 100 + "b" * 90]
)
def test_a_block_over_and_over_is_found(block):
    """Wherever the answer was before, and wherever the block is cut."""
    text = "The answer began well.\n" + block * (1300 // len(block) + 1)
    assert ends_in_repetition(text[-2400:]) and ends_in_repetition(text[-2400:-1])


@pytest.mark.parametrize(
    "text",
    [
        " ".join(str(number) for number in range(500)),
        "ha " * 60,
        "| a | b |\n" + "".join(f"| {number} | {number * number} |\n" for number in range(200)),
        ("One verse of a song.\n" * 4 + "Then another line of it.\n") * 3,
    ],
)
def test_other_texts_are_left_alone(text):
    """Counting, short repetitions, tables, a refrain."""
    assert not ends_in_repetition(text)


def test_pieces_are_put_together():
    """The detector sees the same in any pieces, within its checks of some hundred characters."""
    detector, fed = RepetitionDetector(), 0
    while not detector.feed("again and "):
        fed += 10
        assert fed < 1000
    assert fed >= 500
