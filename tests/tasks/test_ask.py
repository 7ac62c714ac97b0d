import pytest
from scripted import Reply, ScriptedBackend, all_messages
from tasks.helpers import error, of, result, streamed

from llmcli.documents.reading.document import Document
from llmcli.errors import ContextOverflow, EmptyInput, InternalError, TimedOut
from llmcli.errors.incomplete_results import AnswerTruncated, EmptyAnswer
from llmcli.tasks.ask import ask
from llmcli.tasks.runner.task_requests import RETRY_TEMPERATURE_STEP, GenerationOptions
from llmcli.types import Delta, FinishReason, Usage


def test_the_answer_is_streamed(prompts):
    """The pieces come as they are generated and concatenate to the result."""
    backend = ScriptedBackend(lambda _: "forty two, of course")
    events = list(ask(backend, prompts, "what?", [], GenerationOptions()))
    assert len(of(Delta, events)) == 4
    assert streamed(events) == result(events).text == "forty two, of course"


def test_the_result_names_model_prompt_and_usage(prompts):
    """A result names the model and the prompt file, and has the usage."""
    answer = result(ask(ScriptedBackend(lambda _: "a b c"), prompts, "one two", [], GenerationOptions()))
    assert (answer.model, answer.prompt, answer.usage) == ("scripted", "ask", Usage(2, 0, 3))


def test_documents_reach_the_model_whole(prompts):
    """Each document reaches the model with its name and its whole text."""
    backend = ScriptedBackend()
    documents = [Document("a.txt", "alpha\n beta"), Document("b.txt", "gamma")]
    list(ask(backend, prompts, "why?", documents, GenerationOptions()))
    assert all_messages(backend.requests[0]) == "[a.txt] alpha\n beta [b.txt] gamma why?"


def test_a_prompt_that_is_too_large_is_refused(prompts):
    """A question larger than the context is refused with both numbers, and nothing is sent."""
    backend = ScriptedBackend(context=50)
    for documents in ([], [Document("a", "word " * 100)]):
        failed = error(ask(backend, prompts, "why " * 60, documents, GenerationOptions()))
        assert isinstance(failed, ContextOverflow)
        assert failed.tokens > failed.context == 50 and backend.requests == []


@pytest.mark.parametrize(("question", "texts"), [("  ", []), ("", [" \n"]), ("what?", ["", "\n"])])
def test_nothing_to_ask_about(prompts, question, texts):
    """Without a question and a text, or with blank documents only, there is nothing to ask."""
    with pytest.raises(EmptyInput):
        list(ask(ScriptedBackend(), prompts, question, [Document("d", text) for text in texts], GenerationOptions()))


def test_reasoning_is_kept_apart(prompts):
    """Reasoning is streamed as such and is never part of the answer."""
    backend = ScriptedBackend(lambda _: Reply("yes", reasoning="let me think"))
    events = list(ask(backend, prompts, "really?", [], GenerationOptions(reasoning=True)))
    assert "".join(delta.text for delta in of(Delta, events) if delta.reasoning) == "let me think"
    assert result(events).text == "yes"


def test_the_context_cuts_an_answer(prompts):
    """An answer that fills the context is cut."""
    answer = result(ask(ScriptedBackend(lambda _: "so " * 99, context=20), prompts, "go on", [], GenerationOptions()))
    assert (answer.cut, answer.finish_reason, answer.usage.completion_tokens) == (True, FinishReason.LENGTH, 18)
    assert isinstance(answer.incomplete, AnswerTruncated) and answer.incomplete.limit == "context"


def test_the_users_limit_does_not_cut(prompts):
    """An answer that ends at the user's own limit is complete."""
    answer = result(ask(ScriptedBackend(lambda _: "so " * 99), prompts, "go on", [], GenerationOptions(max_tokens=5)))
    assert (answer.cut, answer.finish_reason, answer.text) == (False, FinishReason.LENGTH, "so so so so so")


def test_an_error_fails_the_item_after_what_was_delivered(prompts):
    """Text delivered before an error is kept, and the item fails."""
    backend = ScriptedBackend(lambda _: Reply("half an", error=InternalError(detail="crash")))
    events = list(ask(backend, prompts, "go on", [], GenerationOptions()))
    assert streamed(events) == "half an"
    assert isinstance(error(events), InternalError)


def test_a_timeout_fails_the_item_after_what_was_delivered(prompts):
    """Text delivered before the deadline is kept, and the item fails with TimedOut."""
    backend = ScriptedBackend(lambda _: Reply("half an", reason=FinishReason.TIMEOUT))
    events = list(ask(backend, prompts, "go on", [], GenerationOptions()))
    assert streamed(events) == "half an"
    assert isinstance(error(events), TimedOut)


def test_the_deadline_reaches_the_backend(prompts):
    """A stalled answer ends at the user's deadline."""
    backend = ScriptedBackend(lambda _: Reply("half an", stalls=True))
    assert isinstance(error(ask(backend, prompts, "go on", [], GenerationOptions(deadline=0.0))), TimedOut)


def test_closing_cancels(prompts):
    """Closing the iterator cancels the request."""
    backend = ScriptedBackend(lambda _: Reply("well then", stalls=True))
    events = ask(backend, prompts, "go on", [], GenerationOptions())
    next(events)
    events.close()
    assert backend.cancelled == ["ask"]


@pytest.mark.parametrize("empty", ["", " \n"])
def test_an_empty_answer_is_retried(prompts, empty):
    """The second answer counts, with another seed; nothing of the first one is shown, and the usage includes both."""
    answers = iter([empty, "yes"])
    backend = ScriptedBackend(lambda _: next(answers))
    events = list(ask(backend, prompts, "go on", [], GenerationOptions(seed=7)))
    assert streamed(events) == result(events).text == "yes"
    assert [request.sampling.seed for request in backend.requests] == [7, 8]
    assert result(events).usage.prompt_tokens == sum(map(backend.prompt_tokens, backend.requests))


def test_a_greedy_answer_is_retried_with_a_temperature(prompts, tmp_path):
    """If the prompt file is greedy; the user's own choice is kept, and not retried."""
    (tmp_path / "prompts" / "ask.yaml").write_text(
        'description: d\nuser: "{{ question }}"\noptions: {temperature: 0}\n'
    )
    backend = ScriptedBackend(lambda _: "")
    list(ask(backend, prompts, "go on", [], GenerationOptions()))
    list(ask(backend, prompts, "go on", [], GenerationOptions(temperature=0)))
    assert [request.sampling.temperature for request in backend.requests] == [0, RETRY_TEMPERATURE_STEP, 0]


def test_two_empty_answers_are_a_failure(prompts):
    """A model that answers nothing fails the item."""
    backend = ScriptedBackend(lambda _: "")
    failed = error(ask(backend, prompts, "go on", [], GenerationOptions()))
    assert isinstance(failed, EmptyAnswer) and (failed.exit_code, failed.limit) == (1, None)
    assert len(backend.requests) == 2


def test_a_limit_that_leaves_no_answer_is_not_retried(prompts):
    """An answer of blanks or reasoning alone would reach the same limit again."""
    backend = ScriptedBackend(lambda _: Reply("", reason=FinishReason.LENGTH))
    failed = error(ask(backend, prompts, "go on", [], GenerationOptions(max_tokens=3)))
    assert isinstance(failed, EmptyAnswer) and failed.limit == "max_tokens"
    assert len(backend.requests) == 1


def test_blanks_at_the_beginning_belong_to_the_answer(prompts):
    """They come with its first word."""
    events = list(ask(ScriptedBackend(lambda _: Reply("\n  x y ")), prompts, "go on", [], GenerationOptions()))
    assert streamed(events) == result(events).text == "\n  x y "
