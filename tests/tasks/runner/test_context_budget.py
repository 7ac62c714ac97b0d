"""Planning how much text fits the context."""

from __future__ import annotations

from scripted import ScriptedBackend

from llmcli.tasks.runner.context_budget import ContextBudget
from llmcli.types import Message, Request, Role


class Counting(ScriptedBackend):
    """Records how many characters it was asked to count."""

    counted = 0

    def count(self, requests):
        self.counted += sum(len(message.content) for request in requests for message in request.messages)
        return super().count(requests)


def test_a_huge_line_is_split_without_repeated_counting():
    """The counted characters grow linearly with the text: what is far too long is not counted at all."""
    backend = Counting(lambda _: "", context=200)
    room = ContextBudget(backend, lambda text: Request("r", (Message(Role.USER, text),)), lambda _: 50)
    text = "many words " * 20_000
    pieces = list(room.split_to_fit(text))
    assert "".join(pieces) == text
    assert all(room.fits(piece) for piece in pieces)
    assert backend.counted < 30 * len(text)
