"""Quotes of the passages that an answer cites: they stand there, whatever the model says."""

from __future__ import annotations

import pytest
from scripted import Reply, ScriptedBackend, all_messages, last_message
from tasks.helpers import notices, result

from llmcli.documents.reading.document import Document
from llmcli.errors import TemporaryFailure
from llmcli.tasks.ask import ask
from llmcli.tasks.ask.reference_quotes import find_statement
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import FinishReason, Role

LEASE = (
    "# Lease\n\nIntroduction of the contract.\n\n# Rent\n\nThe rent rises by five percent in May. Heating is extra.\n"
)
SENTENCE = "The rent rises by five percent in May."


def run(prompts, quote, answer="The rent rises [2].", **how):
    """Return the result, and the backend, for a model that quotes so."""
    backend = ScriptedBackend(
        lambda request: quote if request.grammar or "word for word" in last_message(request) else answer, **how
    )
    documents = [Document("lease.md", LEASE)]
    events = list(ask(backend, prompts, "What rises?", documents, GenerationOptions(), cite=True))
    return result(events), backend, events


def test_a_cited_passage_is_quoted(prompts):
    """With the place of the quote in the document; passages that are not cited are not quoted."""
    answer, backend, _ = run(prompts, SENTENCE)
    first, second = answer.fields["references"]
    assert "quote" not in first
    quote = second["quote"]
    assert LEASE[quote["start"] : quote["end"]] == quote["text"] == SENTENCE
    assert (quote["source"], quote["first_line"], quote["last_line"], quote["exact"]) == ("lease.md", 7, 7, True)
    assert answer.usage.prompt_tokens == sum(map(backend.prompt_tokens, backend.requests))


def test_the_request_continues_the_conversation(prompts):
    """So that the passages are not evaluated again; decoding admits only the words of the cited one."""
    _, backend, _ = run(prompts, SENTENCE)
    asked, quoted = backend.requests
    assert quoted.messages[: len(asked.messages)] == asked.messages
    assert [each.role for each in quoted.messages[len(asked.messages) :]] == [Role.ASSISTANT, Role.USER]
    assert "passage [2]" in last_message(quoted) and "The rent rises" in last_message(quoted)
    assert "rises" in quoted.grammar and "Introduction" not in quoted.grammar


@pytest.mark.parametrize(
    "lie", ["The rent falls by nine percent in June.", "", "word " * 900, "Introduction of the contract."]
)
def test_a_lie_is_no_quote(prompts, lie):
    """A backend without grammars may say anything: what does not stand in the passage is not quoted."""
    answer, _, _ = run(prompts, lie)
    assert all("quote" not in each for each in answer.fields["references"])
    assert answer.text == "The rent rises [2]." and answer.cut is False


def test_the_model_may_decline(prompts):
    """NONE is an answer, and it is not asked again."""
    answer, backend, _ = run(prompts, "NONE")
    assert "quote" not in answer.fields["references"][1] and len(backend.requests) == 2


def test_a_failure_leaves_the_answer(prompts):
    """It is complete without the quote."""
    failed = Reply(reason=FinishReason.ERROR, error=TemporaryFailure("server"))
    answer, _, events = run(prompts, failed)
    assert answer.text == "The rent rises [2]." and notices(events) == ["no quote for [2]: the request failed"]


def test_an_answer_without_citation_is_not_quoted(prompts):
    """Neither is "not in these documents", which is an answer."""
    for said in ("The rent rises.", "Not in these documents. [2]"):
        answer, backend, _ = run(prompts, SENTENCE, said)
        assert len(backend.requests) == 1
    assert answer.fields["answered"] is False and answer.cut is False


def test_a_full_context_asks_with_the_passage_alone(prompts):
    """If question, passages and answer leave no room."""
    _, backend, _ = run(prompts, SENTENCE, "word " * 150 + "[2].", context=380)
    assert "Introduction" not in all_messages(backend.requests[-1]) and SENTENCE in all_messages(backend.requests[-1])


@pytest.mark.parametrize(
    ("answer", "number", "statement"),
    [
        ("One thing [1]. Another [2].", 2, "Another."),
        ("One thing. [1] Another. [2]", 2, "Another."),
        ("Both [1, 2]. More [1].", 1, "Both. More."),
        ("No citation.", 3, "No citation."),
    ],
)
def test_the_statement_is_what_cites(answer, number, statement):
    """The sentences with the number, or the one before it."""
    assert find_statement(answer, number) == statement
