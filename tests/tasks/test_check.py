"""check: each sentence is scored against the passages that have its words."""

from __future__ import annotations

import pytest
from grid import grid
from scripted import ScriptedBackend, all_messages
from tasks.helpers import error, notices, result

from llmcli.documents.reading.document import Document
from llmcli.errors import BadDocument, EmptyInput, TimedOut
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.check import check, find_claims, plain_claim
from llmcli.tasks.runner.task_requests import GenerationOptions

SOURCE = (
    "The town of Arvik has 1,200 inhabitants.\n\nIts library opened in 1950 and is closed on Mondays.\n\n"
    "Anna Berg paid for the library. The mayor thanked her in a speech."
)
TRUE, FALSE = "The library opened in 1950.", "The library opened in 1962."
FOREIGN = "Zebras gallop quickly."


@pytest.fixture
def prompts(tmp_path):
    """Return the built-in prompt files."""
    return PromptLibrary(tmp_path)


def say_yes_if(supported):
    """Return a script that answers Yes with a probability of 0.9 where the condition holds."""

    def answer(request):
        said = all_messages(request)
        holds = "N/A" not in said and supported(said)
        return {"Yes": -0.1 if holds else -2.3, "No": -2.3 if holds else -0.1}

    return answer


def run(prompts, text, *, answer=None, sources=(SOURCE,), **how):
    answer = answer or say_yes_if(lambda said: "1962" not in said)
    scripting = {name: how.pop(name) for name in ("scores",) if name in how}
    backend = ScriptedBackend(answer, **scripting)
    documents = [Document(f"source{number}.txt", source) for number, source in enumerate(sources)]
    return list(check(backend, prompts, Document("answer.md", text), documents, GenerationOptions(), **how)), backend


def test_true_sentences_have_more_support_than_false_ones(prompts):
    """Each comes with its lines and the nearest sentence of the sources."""
    events, _ = run(prompts, f"# Arvik\n\n{TRUE}\n{FALSE}\n{FOREIGN}\n")
    true, false, foreign = result(events).fields["sentences"]
    assert true["probability"] > false["probability"] > foreign["probability"] == 0
    assert (true["text"], true["first_line"]) == (TRUE, 3)
    assert true["quote"]["text"] == "Its library opened in 1950 and is closed on Mondays."
    assert (true["quote"]["source"], true["quote"]["first_line"]) == ("source0.txt", 3)
    assert (foreign["support"], foreign["quote"]) == ("unsupported", None)


def test_the_lowest_probability_decides(prompts):
    """A text passes if no sentence falls below the threshold."""
    fields = result(run(prompts, f"{TRUE} {FALSE}")[0]).fields
    lowest = min(sentence["probability"] for sentence in fields["sentences"])
    assert fields["lowest"] == lowest
    assert result(run(prompts, f"{TRUE} {FALSE}", threshold=lowest)[0]).fields["passed"]
    assert not result(run(prompts, f"{TRUE} {FALSE}", threshold=lowest + 0.001)[0]).fields["passed"]


def test_requests_about_a_passage_follow_each_other(prompts):
    """The passage comes first in the prompt and the sentence last, so that the evaluated passage is used again."""
    _, backend = run(prompts, f"{TRUE} {FALSE} Anna Berg paid for the library.", passages=1, sources=(SOURCE,) * 2)
    asked = [all_messages(request) for request in backend.requests if ".answer" in request.id]
    passages = [said.partition("Statement:")[0] for said in asked if "N/A" not in said]
    assert passages == sorted(passages) and all(said.index("Text:") < said.index("Statement:") for said in asked)


def test_the_number_of_passages_is_limited(prompts):
    """Two requests for a sentence alone are one without token scores; then one for each passage."""
    source = "\n\n".join(f"The library opened in {year}. " + "It has many books. " * 25 for year in range(1900, 1910))
    _, backend = run(prompts, TRUE, sources=(source,), passages=3)
    assert len(backend.requests) == 4


def test_without_scores_sentences_are_compared_by_rule(prompts):
    """No request is made, and a notice says so."""
    events, backend = run(prompts, f"{TRUE} {FALSE}", scores=False)
    true, false = result(events).fields["sentences"]
    assert backend.requests == [] and true["probability"] > false["probability"]
    assert "by rule" in notices(events)[0]


@pytest.mark.parametrize(
    "text", ["# Title\n", "```\ncode is here now\n```\n", "Why is it so?", "In short:", "图书馆开着吗？"]
)
def test_a_text_without_claims_fails(prompts, text):
    """Headings, code, questions and one or two words state nothing; the text is not called empty."""
    failed = error(run(prompts, text)[0])
    assert isinstance(failed, BadDocument) and "no sentence to check" in failed.detail
    assert isinstance(error(run(prompts, " \n")[0]), EmptyInput)


def test_a_failure_of_a_request_is_that_of_the_check(prompts):
    """No sentence is judged on half of its scores."""
    events, _ = run(
        prompts, TRUE, answer=lambda request: TimedOut() if ".0.0" in request.id else {"Yes": -1.0, "No": -1.0}
    )
    assert isinstance(error(events), TimedOut)


def test_markdown_is_no_part_of_a_claim():
    """Links keep their text; numbers of sources and emphasis go."""
    assert (
        plain_claim("The **town** has [1,200](http://a.b) `inhabitants` [2].").text == "The town has 1,200 inhabitants."
    )
    text = "Title here now\n=====\n\nIt is so, they say. <!-- it is not so -->\n"
    assert [text[start:end] for start, end in find_claims(text)] == ["It is so, they say."]


@grid("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("times", [3, 30])
def test_a_needle_is_found_anywhere(prompts, place, times):
    """At head, middle and tail of a source of 3 and 30 times the context, which is never sent as a whole."""
    needle = "The password of the vault is xylophone."
    hay = [f"Sentence {number} tells of the weather in city {number % 97}." for number in range(times * 2048 // 10)]
    hay.insert(round(place * len(hay)), needle)
    text = "\n".join(hay)
    events, backend = run(prompts, "The vault has the password xylophone.", sources=(text,))
    (sentence,) = result(events).fields["sentences"]
    assert text[sentence["quote"]["start"] : sentence["quote"]["end"]] == needle
    assert sentence["support"] == "supported"
    assert max(map(backend.prompt_tokens, backend.requests)) < 2048
