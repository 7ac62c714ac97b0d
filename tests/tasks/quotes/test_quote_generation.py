"""No backend can make the tool print a quote that does not stand in the passage."""

from __future__ import annotations

import random

import pytest
from scripted import Reply, ScriptedBackend
from tasks.helpers import run_work

from llmcli.errors import InternalError, LlmError, Unsupported
from llmcli.errors.model_errors import BadGrammar
from llmcli.tasks.quotes.quotable_text import QuotableDocument
from llmcli.tasks.quotes.quote_generation import QuoteOptions, generate_quote
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import MAX_PENDING_REQUESTS
from llmcli.types import FinishReason, Message, Request, Role, Sampling

TEXT = "The council met on Monday.\nIt raised the budget for schools by 12 percent.\n\nThe mayor was absent. No vote."
QUOTE = "raised the budget for schools by 12 percent."
SEVERAL = 40
MESSAGES = (Message(Role.USER, "quote"),)


def without_grammars(answer):
    """Return a script that refuses grammars as servers elsewhere do."""
    return lambda request: Unsupported("a grammar") if request.grammar else answer(request)


def generate(answer, options=None, *, greedy=False, count=1):
    """Return that many quotes, or the errors in their places, and the backend."""
    backend = ScriptedBackend(answer)
    passage = QuotableDocument("a.txt", TEXT).whole()
    generation = GenerationOptions(temperature=0.0 if greedy else None)

    async def quote(run, number):
        request = Request(str(number), MESSAGES, sampling=Sampling(0.0 if greedy else 0.7))
        try:
            return await generate_quote(run, passage, request, generation, options or QuoteOptions())
        except LlmError as error:
            return error

    return run_work(backend, lambda run: run.gather(quote(run, number) for number in range(count))), backend


def test_a_quote_by_grammar_is_located():
    """One request; the quote has its offsets and lines."""
    (found,), backend = generate(lambda _: QUOTE)
    assert found.quote.text == QUOTE
    assert (found.quote.first_line, found.is_constrained, len(backend.requests)) == (2, True, 1)
    assert "substring_chunks" in backend.requests[0].grammar


def test_a_passage_whose_grammar_is_too_large_is_quoted_without():
    """The engine refuses it; what the model writes then counts only if it stands in the passage."""

    def refuse(answer):
        return lambda request: BadGrammar("the grammar", detail="too large") if request.grammar else answer(request)

    (found,), backend = generate(refuse(lambda _: QUOTE))
    assert (found.quote.text, found.is_constrained, len(backend.requests)) == (QUOTE, False, 2)
    (lied,), _ = generate(refuse(lambda _: "It lowered the budget for all of the schools."))
    assert lied.quote is None


def test_few_grammars_are_pending_at_a_time():
    """Each takes memory in the engine: a request is sent when an earlier one has ended."""
    pending, most = 0, 0

    class Counting(ScriptedBackend):
        def open(self):
            job = super().open()
            submit = job.submit

            def counted(request):
                nonlocal pending, most
                pending += 1
                most = max(most, pending)
                submit(request)

            job.submit = counted
            return job

    def answer(_):
        nonlocal pending
        pending -= 1
        return QUOTE

    passage = QuotableDocument("a.txt", TEXT).whole()
    requests = [Request(str(number), MESSAGES) for number in range(3 * MAX_PENDING_REQUESTS)]
    found = run_work(
        Counting(answer),
        lambda run: run.gather(generate_quote(run, passage, request, GenerationOptions()) for request in requests),
    )
    assert len(found) == len(requests) and most == MAX_PENDING_REQUESTS


def test_none_is_an_answer():
    """The model may find nothing to quote."""
    (found,), _ = generate(lambda _: "NONE")
    assert (found.quote, found.declined) == (None, True)


def test_a_cut_quote_ends_with_a_whole_word():
    """A limit on tokens may cut "12" to "1"."""
    cut = Reply("It raised the budget for schools by 1", reason=FinishReason.LENGTH)
    (found,), _ = generate(lambda _: cut)
    assert found.quote.text == "It raised the budget for schools by"


@pytest.mark.parametrize(
    "answer",
    [
        f'The text says: "{QUOTE}"',
        f"Sure!\n> {QUOTE}\n\nThis supports the point.",
        "It raised the budget for schools by 13 percent.",
        "it raised the Budget for schools by 12 percent",
    ],
)
def test_an_answer_without_grammar_is_searched_for_the_quote(answer):
    """What is printed is the text of the passage, never that of the model."""
    (found,), backend = generate(without_grammars(lambda _: answer))
    assert "12 percent" in found.quote.text and found.quote.text in TEXT
    assert (len(backend.requests), found.is_constrained) == (2, False)


@pytest.mark.parametrize("lie", ["The mayor praised the schools and wept.", "", "It", "budget", "It said.\n" * 500])
@pytest.mark.parametrize("wrap", [without_grammars, lambda answer: answer])
def test_lies_are_requested_again_and_then_dropped(lie, wrap):
    """Three answers are checked at most, also where a server ignores the grammar."""
    (found,), backend = generate(wrap(lambda _: lie))
    assert found.quote is None and not found.declined
    assert len([request for request in backend.requests if not request.grammar or wrap is not without_grammars]) == 3


def test_greedy_answers_are_not_requested_again():
    """They would be the same."""
    (found,), backend = generate(without_grammars(lambda _: "A lie that is long enough."), greedy=True)
    assert found.quote is None and len(backend.requests) == 2


def test_a_later_attempt_may_succeed():
    """The first answer is a lie."""
    (found,), _ = generate(without_grammars(lambda request: QUOTE if request.id.endswith("again") else "A lie."))
    assert found.quote.text == QUOTE


def test_a_failure_belongs_to_its_quote():
    """The others go on."""
    answers = {"0": InternalError(detail="broken")}
    found, _ = generate(lambda request: answers.get(request.id, QUOTE), count=3)
    assert isinstance(found[0], InternalError) and [each.quote.text for each in found[1:]] == [QUOTE, QUOTE]


@pytest.mark.parametrize("wrap", [without_grammars, lambda answer: answer])
def test_of_a_thousand_lies_none_is_printed(wrap):
    """Sentences shuffled, with words changed, numbers swapped, made up: each quote stands in the text, or there is none."""
    choice = random.Random(3)
    words = TEXT.split()

    def lie(_):
        said = [choice.choice([*words, "not", "13", "unanimously"]) for _ in range(choice.randrange(1, 20))]
        start = choice.randrange(len(words))
        true = words[start : start + choice.randrange(1, 12)]
        return " ".join(
            [*said, *true] if choice.random() < 0.5 else true[::-1] if choice.random() < 0.3 else [*true, *said[:1]]
        )

    printed = 0
    for _ in range(25):
        found, _ = generate(wrap(lie), count=SEVERAL)
        assert len(found) == SEVERAL
        for each in found:
            if each.quote is not None:
                printed += 1
                assert TEXT[each.quote.start : each.quote.end] == each.quote.text
    assert printed
