"""Answers that repeat themselves or are too long, on the real engine: a grammar forces a tiny model to write them."""

from __future__ import annotations

from engine.tools import answer, req
from llmcli.types import CHARS_LIMIT, REPETITION_LIMIT, FinishReason, RepetitionPolicy

LOOP = 'start: "the same line once again\\n"{60}'
ANSWER = RepetitionPolicy.ANSWER


def test_an_answer_that_repeats_itself_is_stopped(engines):
    """Its end says so, two rounds are delivered, and the request next to it goes on. A grammar is no excuse."""
    asked = [req("a", max_tokens=2000, grammar=LOOP, repetition=ANSWER), req("b", max_tokens=2000, grammar=LOOP)]
    found = answer(engines("chatml", ctx=4096), *asked)
    stopped = found["a"].finished
    assert (stopped.reason, stopped.limit) == (FinishReason.LENGTH, REPETITION_LIMIT)
    assert (found["a"].text, found["b"].text) == ("the same line once again\n" * 2, "the same line once again\n" * 60)
    assert stopped.usage.completion_tokens < found["b"].finished.usage.completion_tokens / 2


def test_lines_that_vary_are_stopped(engines):
    """After three rounds, in any order; an engine in a worker has the same guard."""
    first, second = "the same line once again\n", "and one more of the lines\n"
    block = first + second * 2 + first * 2 + second
    escaped = block.replace("\n", "\\n")
    grammar = f'start: "{escaped}"{{20}}'
    found = answer(engines("chatml", ctx=4096), req("a", max_tokens=3000, grammar=grammar, repetition=ANSWER))
    assert (found["a"].text, found["a"].finished.limit) == (block, REPETITION_LIMIT)


def test_an_answer_that_is_too_long_is_stopped(engines):
    """At the first token beyond its characters; the request next to it goes on."""
    asked = [req("a", max_tokens=2000, grammar=LOOP, max_chars=90), req("b", max_tokens=2000, grammar=LOOP)]
    found = answer(engines("chatml", ctx=4096), *asked)
    stopped = found["a"].finished
    assert (stopped.reason, stopped.limit) == (FinishReason.LENGTH, CHARS_LIMIT)
    assert 90 < len(found["a"].text) < 90 + 25 and len(found["b"].text) == 25 * 60
    assert stopped.usage.completion_tokens < found["b"].finished.usage.completion_tokens / 10
