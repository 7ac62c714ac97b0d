"""The ranking of passages by the model."""

from __future__ import annotations

import pytest

from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.store.passage_index import IndexedPassage
from llmcli.tasks.ask.document_question import KEPT_FIRST, MAX_PASSAGES, fuse_margins, relevance_requests
from llmcli.tasks.ask.document_question import RELEVANCE_PROMPT as PROMPT
from llmcli.tasks.retrieval.passage_pool import FoundPassage
from llmcli.tasks.runner.task_requests import GenerationOptions

TEXTS = ("The harbour is old.", "Bread costs two coins.\n\nMilk costs one.")
PASSAGES = [
    FoundPassage(number, IndexedPassage("a.txt", text, "a.txt", None, 1, 1, 0, ())) for number, text in enumerate(TEXTS)
]


def starts(prompt, question):
    """Return the part of each request that later requests begin with."""
    requests = relevance_requests(prompt, question, PASSAGES, GenerationOptions())
    return [request.messages[-1].content[: request.document_chars] for request in requests]


def test_the_passage_stands_before_the_question(prompts):
    """So the next question finds it evaluated."""
    prompt = prompts.get(PROMPT)
    found = starts(prompt, "What does milk cost?")
    assert all(text in start and "milk" not in start for text, start in zip(TEXTS, found, strict=True))
    assert found == starts(prompt, "Is the harbour old?")


@pytest.mark.parametrize("question", ["", "\n\n", "Milk costs one."])
def test_any_question_leaves_the_passage_as_it_is(prompts, question):
    """Also one that says the same."""
    assert all(text in start for text, start in zip(TEXTS, starts(prompts.get(PROMPT), question), strict=True))


def test_a_prompt_that_begins_with_the_question_shares_no_passage(tmp_path):
    """It is a user's own."""
    (tmp_path / f"{PROMPT}.yaml").write_text(
        "description: d\nuser: 'Q: {{ question }} P: {{ text }}'\noutput: {labels: ['yes', 'no']}\n"
    )
    assert starts(PromptLibrary(tmp_path).get(PROMPT), "Why?") == ["Q: ", "Q: "]


def test_both_rankings_count_and_the_first_passage_stays():
    """The judgement of a small model alone is too unreliable."""
    assert fuse_margins([-1.0, -2.0, 3.0, -3.0]) == [0, 2, 1, 3]
    assert fuse_margins([0.0]) == [0]


def test_the_first_passages_by_words_are_not_lost():
    """Whatever the model says of them; both the first ones and the others are reordered among themselves."""
    order = fuse_margins([0.0, -9.0, -8.0, -7.0, -6.0, 9.0, *range(10)])
    assert set(order[:KEPT_FIRST]) == set(range(KEPT_FIRST)) and order[:KEPT_FIRST] != list(range(KEPT_FIRST))
    assert sorted(order) == list(range(16)) and order[KEPT_FIRST:] != list(range(KEPT_FIRST, 16))
    assert KEPT_FIRST < MAX_PASSAGES
