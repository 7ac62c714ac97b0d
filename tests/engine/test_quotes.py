"""Quotes by a real engine of random weights: it would write anything, and the grammar admits only the passage."""

from __future__ import annotations

import random

from tasks.helpers import run_work

from llmcli.tasks.quotes.quotable_text import QuotableDocument
from llmcli.tasks.quotes.quote_generation import generate_quote
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Message, Request, Role, Sampling


def test_whatever_the_model_would_say_the_quote_stands_in_the_passage(engines):
    """Sampled at a high temperature; each quote is a part of the document at its offsets."""
    choice = random.Random(2)
    words = ["Zoë", "has", "3.5", "(a)", "dogs.", "The", "cat", "sat\non", "it,", "while\n\nNo", '"one"', "spoke"]
    document = QuotableDocument("a.txt", " ".join(choice.choice(words) for _ in range(120)))
    requests = [
        Request(str(number), (Message(Role.USER, "Quote."),), sampling=Sampling(2.0, None, None, None, seed=number))
        for number in range(40)
    ]
    passage, options = document.whole(), GenerationOptions()
    found = run_work(
        engines("chatml"),
        lambda run: run.gather(generate_quote(run, passage, request, options) for request in requests),
    )
    assert len(found) == 40 and all(each.is_constrained for each in found)
    located = [each.quote for each in found if each.quote is not None]
    assert len(located) > 20
    assert all(document.text[quote.start : quote.end] == quote.text and quote.exact for quote in located)
