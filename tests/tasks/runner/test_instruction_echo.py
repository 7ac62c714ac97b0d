"""What an answer repeats of the request in which the model was told what is wrong."""

from __future__ import annotations

import pytest

from llmcli.tasks.runner.answers import Answer
from llmcli.tasks.runner.instruction_echo import LeadingEchoFilter, remove_instructions
from llmcli.types import Finished, FinishReason, Message, ReasoningDelta, Request, Role, TextDelta

AGAIN = (
    'That summary is no list. Write it again as a list, each point on a line that starts with "- ". '
    "Answer with the summary alone."
)
MINUTES = "That summary has no sections: headings with list items below them. Write it again as minutes."
POINTS = "- The roof leaks.\n- The workshop is closed on Monday.\n"


@pytest.mark.parametrize(
    "echo",
    [
        "The summary is no list.\n",
        "- That summary is not a list.\n",
        "1. The summary is no list. Write it again as a list.\n",
        '- Write it again as a list, each point on a line that starts with "- ".\n',
        "## Answer with the summary alone.\n\n",
        '- Each point on each line that starts with "- ". Answer with the summary alone.\n',
    ],
)
def test_a_repeated_sentence_is_removed(echo):
    """Also with another determiner, in a list, or as a heading; the rest stays as it is."""
    left = remove_instructions(echo + POINTS, AGAIN)
    assert left.lstrip("\n") == POINTS
    assert remove_instructions(POINTS + echo, AGAIN).rstrip("\n") + "\n" == POINTS


def test_a_sentence_that_goes_on_is_removed():
    """It begins with the words of the request."""
    answer = "This sentence has no sections: headings with list items below them, and the summary in a language."
    assert remove_instructions(answer, MINUTES) == ""


def test_a_sentence_in_the_middle_of_a_line_is_removed():
    """The sentences around it stay."""
    answer = "It leaks. The summary is no list. It is closed."
    assert remove_instructions(answer, AGAIN) == "It leaks. It is closed."


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ("- The summary is no list. - It leaks.\n", "- It leaks.\n"),
        ("1. The summary is no list. It leaks.\n", "1. It leaks.\n"),
        ("- - The summary is no list.\n- It leaks.", "- It leaks."),
        ("- It leaks. The summary is no list.\n- It is closed.", "- It leaks.\n- It is closed."),
        ("- It leaks.\r\n- The summary is no list.\r\n", "- It leaks.\r\n"),
        ("**The summary is no list.** It leaks.", "It leaks."),
        ("*The summary is no list.*\n\n- It leaks.\n", "- It leaks.\n"),
        ("It leaks.\n\nThe summary is no list.\n\nIt is closed.", "It leaks.\n\nIt is closed."),
        ("It leaks.\n\nThe summary is no list.\n", "It leaks.\n"),
        ("The summary is no list.\n\n", ""),
    ],
)
def test_nothing_is_left_of_the_sentence(answer, left):
    """No second mark of a list item, no empty item and no blank end."""
    assert remove_instructions(answer, AGAIN) == left


@pytest.mark.parametrize(
    "text",
    [
        POINTS,
        "- The list has 12 points.\n- The summary of the year is on page 3.\n",
        "The library is no museum.\r\nIt has a list of its books.\r\n",
        "",
        "no sentence",
    ],
)
def test_other_sentences_stay(text):
    """A few common words are no repetition."""
    assert remove_instructions(text, AGAIN) == text == remove_instructions(text, "")


def test_what_the_document_says_stays():
    """It is a quotation, unless it stands only in the instructions themselves."""
    answer = "- The summary is no list.\n"
    assert remove_instructions(answer, AGAIN, ["Rules of the house: the summary is no list."]) == answer
    assert remove_instructions(answer, AGAIN, [AGAIN]) == ""


class Sink:
    """Keeps what it gets."""

    def __init__(self):
        self.texts = []

    def __call__(self, delta):
        self.texts.append(delta.text)

    def restart(self):
        return not self.texts


def filtered(text, size, instructions=AGAIN, source=""):
    """Return the pieces of a text that the filter passes on, and the text of the answer that it returns."""
    sink = Sink()
    request = Request("1", (Message(Role.USER, f"{source}\n{instructions}"),))
    echo_filter = LeadingEchoFilter(sink, request, instructions)
    for start in range(0, len(text), size):
        echo_filter(TextDelta("1", text[start : start + size]))
    answer = echo_filter.finish(Answer(Finished("1", FinishReason.STOP), text))
    return sink.texts, answer.text


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The summary is no list. It leaks. It rains.", "It leaks. It rains."),
        ("The summary is no list.\n\nIt leaks.", "It leaks."),
        ("\n\n**The summary is no list.**\n- It leaks.\n", "- It leaks.\n"),
        ("- The summary is no list.\n- Answer with the summary alone.\n- It leaks.", "- It leaks."),
        ("The summary is no list. Write it again as a list. It leaks.", "It leaks."),
        ("The summary is no list", ""),
        ("It leaks. The summary is no list.", "It leaks. The summary is no list."),
        ("It leaks", "It leaks"),
        ("Dr. Who of the U.S. repairs 3.5 roofs. It rains.", "Dr. Who of the U.S. repairs 3.5 roofs. It rains."),
        ("\n\n", "\n\n"),
        ("::", "::"),
        ("The summary is no list.\n---", "---"),
        ("", ""),
    ],
)
def test_an_answer_is_passed_on_without_its_repeated_beginning(text, shown, size):
    """In pieces of any size, and the answer has what was shown."""
    texts, answer = filtered(text, size)
    assert "".join(texts) == shown == answer


def test_only_the_first_sentence_waits():
    """The rest is passed on as it comes, and all of it if there are no instructions."""
    texts, _ = filtered("It leaks. It rains.", 1)
    assert texts == ["It leaks. I", *"t rains."]
    assert filtered("It leaks.", 1, "")[0] == [*"It leaks."]


def test_a_quotation_at_the_beginning_stays():
    """The source has the sentence."""
    text = "The summary is no list. It leaks."
    assert filtered(text, 5, source="A rule: the summary is no list.")[1] == text


def test_an_answer_begins_again_until_it_was_passed_on():
    """What was held back is forgotten; reasoning does not wait."""
    sink = Sink()
    echo_filter = LeadingEchoFilter(sink, Request("1", (Message(Role.USER, AGAIN),)), AGAIN)
    echo_filter(TextDelta("1", "The summary is"))
    assert echo_filter.restart()
    echo_filter(TextDelta("1", "It leaks. It rains."))
    assert sink.texts == ["It leaks. It rains."] and not echo_filter.restart()
    echo_filter(ReasoningDelta("1", "hm"))
    assert sink.texts[-1] == "hm"
