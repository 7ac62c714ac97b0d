import pytest
from scripted import ScriptedBackend

from llmcli.errors import ContextOverflow
from llmcli.tasks.base import Options, make_request
from llmcli.tasks.fitting import Room
from llmcli.types import Message, Role


@pytest.fixture
def room(prompts):
    """Return a function that makes a room of 3 words of instructions and an answer as long as the text."""

    def make(context, *, exact=True):
        def request(text):
            messages = (Message(Role.SYSTEM, "a b c"), Message(Role.USER, text))
            return make_request("count", messages, prompts.get("ask"), Options())

        return Room(ScriptedBackend(context=context, exact=exact), request, lambda tokens: tokens, subject="book")

    return make


def test_texts_are_counted_without_instructions(room):
    """The count of a text leaves the instructions out."""
    assert room(100).count(["", "x", "x y z"]) == [0, 1, 3]


def test_instructions_text_and_answer_share_the_context(room):
    """A text fits when it, the instructions and its answer fill the context and no more."""
    assert room(43).holds(20)
    assert not room(43).holds(21)


def test_estimates_use_less_of_the_context(room):
    """With estimated counts 85% of the context are planned with."""
    assert room(100).holds(48) and not room(100, exact=False).holds(48)
    assert room(100, exact=False).holds(41)


def test_pieces_fit_and_join(room):
    """The pieces of a split text fit and are the text."""
    text = "some words here. " * 100
    pieces = room(60).split(text)
    assert "".join(pieces) == text
    assert all(room(60).fits(piece) for piece in pieces)


def test_no_room(room):
    """With room for less than a few words the error names text and context."""
    with pytest.raises(ContextOverflow) as caught:
        room(20).split("x " * 50)
    assert (caught.value.subject, caught.value.tokens, caught.value.context) == ("book", 53, 20)
