import re

import pytest
from scripted import Reply, ScriptedBackend, everything, last, words
from tasks.helpers import error, notices, of, result, streamed

from llmcli.documents.reading import Document
from llmcli.errors import ContextOverflow, EmptyInput, InternalError, MissingError, TimedOut
from llmcli.tasks.base import Options
from llmcli.tasks.summarize import summarize, tokens_for
from llmcli.types import Delta, FinishReason, ItemFailed, Priority, Progress, Result, Usage

SHORT = "one two three.\n"


def paragraph(number: int) -> str:
    return f"Paragraph {number} begins. " + "filler " * 26 + "It ends.\n\n"


LONG = "The first line.\n\n" + "".join(paragraph(number) for number in range(30)) + "The last line.\n"  # some 930 words


def gist(request):
    """Answer with the first three words."""
    return " ".join(last(request).split()[:3])


def run(backend, prompts, *texts, options=None, **how):
    documents = [Document(f"doc{index}", text) for index, text in enumerate(texts)]
    return list(summarize(backend, prompts, documents, options or Options(), **how))


def parts(backend):
    return [request for request in backend.requests if request.id.split(".")[1] == "0"]


def test_a_short_document_is_one_request(prompts):
    """What fits the context is summarized by one request, streamed."""
    backend = ScriptedBackend(gist)
    events = run(backend, prompts, SHORT)
    assert len(backend.requests) == 1
    assert streamed(events) == result(events).text == "one two three."
    assert of(Progress, events) == []


def test_nothing_of_a_long_document_is_dropped(prompts):
    """Joined, the texts of the parts' requests are the document."""
    backend = ScriptedBackend(gist, context=300)
    run(backend, prompts, LONG)
    assert len(parts(backend)) > 3
    assert "".join(last(request) for request in parts(backend)) == LONG


def test_parts_end_with_paragraphs(prompts):
    """A long document is cut at paragraph borders only, where paragraphs fit."""
    backend = ScriptedBackend(gist, context=300)
    run(backend, prompts, LONG)
    assert all(last(request).endswith("\n\n") for request in parts(backend)[:-1])


def test_parts_of_all_documents_are_one_job(prompts):
    """All parts of all documents are submitted to one job before anything is answered."""
    before = []
    backend = ScriptedBackend(lambda request: before.append(len(backend.requests)) or gist(request), context=300)
    run(backend, prompts, LONG, SHORT, LONG)
    assert backend.jobs == 1
    assert before[0] == len(parts(backend))


def test_the_parts_are_merged(prompts):
    """The summaries of the parts are joined in their order and merged by the other prompt file."""
    backend = ScriptedBackend(gist, context=300)
    answer = result(run(backend, prompts, LONG))
    merge = backend.requests[-1]
    assert everything(merge).startswith("merge ")
    assert last(merge) == "\n\n".join(gist(request) for request in parts(backend))
    assert answer.text == gist(merge)


def test_merging_goes_on_until_it_fits(prompts):
    """Summaries that together do not fit either are merged in stages."""
    backend = ScriptedBackend(lambda request: " ".join(last(request).split()[:40]), context=300)
    answer = result(run(backend, prompts, LONG * 4))
    assert int(backend.requests[-1].id.split(".")[1]) > 1
    assert answer.text.startswith("The first line.")


def test_only_the_last_stage_is_streamed(prompts):
    """What is streamed is the summary, not the summaries of its parts."""
    backend = ScriptedBackend(gist, context=300)
    events = run(backend, prompts, LONG)
    assert streamed(events) == result(events).text


def test_usage_is_that_of_all_calls(prompts):
    """The usage of a long document is the sum over its parts and merges."""
    backend = ScriptedBackend(gist, context=300)
    answer = result(run(backend, prompts, LONG))
    prompt_tokens = sum(backend.prompt_tokens(request) for request in backend.requests)
    assert answer.usage == Usage(prompt_tokens, 0, 3 * len(backend.requests))


def test_parts_count_as_progress(prompts):
    """Progress counts the parts from none, at once, up to their total."""
    backend = ScriptedBackend(gist, context=300)
    progress = of(Progress, run(backend, prompts, LONG))
    assert [event.done for event in progress] == list(range(len(backend.requests) + 1))
    assert (progress[-1].total, progress[-1].unit) == (len(backend.requests), "parts")


def test_estimated_counts_leave_room(prompts):
    """Where token counts are estimates, 15% of the context stay free."""
    backend = ScriptedBackend(gist, context=300, exact=False)
    run(backend, prompts, LONG)
    assert all(backend.prompt_tokens(request) + 75 <= 255 for request in backend.requests)


def test_every_request_leaves_room_for_its_answer(prompts):
    """Prompt and longest answer of each part together fit the context."""
    backend = ScriptedBackend(gist, context=300)
    run(backend, prompts, LONG)
    assert all(backend.prompt_tokens(request) + request.max_tokens <= 300 for request in parts(backend))


def test_a_paragraph_larger_than_the_context_is_cut(prompts):
    """A single paragraph larger than the context is cut further, and all of it is read."""
    text = "A sentence of five words. " * 200
    backend = ScriptedBackend(gist, context=300)
    result(run(backend, prompts, text))
    assert "".join(last(request) for request in parts(backend)) == text


def test_summaries_that_do_not_shrink_end_in_an_error(prompts):
    """A model whose summaries are as long as their texts is given up with ContextOverflow, after few stages."""
    backend = ScriptedBackend(last, context=300, obeys_limits=False)
    failed = error(run(backend, prompts, LONG))
    assert isinstance(failed, ContextOverflow) and failed.tokens > failed.context == 300
    assert len(backend.requests) < 6 * len(parts(backend))


def test_endless_summaries_are_tamed_by_shorter_limits(prompts):
    """A model that fills every limit comes to an end, since the limits become shorter."""
    backend = ScriptedBackend(lambda _: "word " * 5000, context=300)
    assert result(run(backend, prompts, LONG * 3)).text


def test_no_room_for_text_is_an_error(prompts):
    """Instructions that fill the context leave nothing to plan with."""
    assert isinstance(error(run(ScriptedBackend(gist, context=16), prompts, LONG)), ContextOverflow)


def test_a_cut_part_is_noticed(prompts):
    """A part whose summary was cut is named in a notice and in the result's warnings, which is not cut itself."""
    backend = ScriptedBackend(lambda r: "word " * 5000 if "part=2/" in everything(r) else gist(r), context=300)
    events = run(backend, prompts, LONG)
    assert result(events).warnings == tuple(notices(events))
    (notice,) = notices(events)
    assert re.fullmatch(r"part 2 of \d+: its summary was cut at 75 tokens", notice)
    assert not result(events).cut


def test_an_empty_part_is_noticed(prompts):
    """A part whose summary is empty is named in a notice."""
    backend = ScriptedBackend(lambda r: "" if "part=2/" in everything(r) else gist(r), context=300)
    (notice,) = notices(run(backend, prompts, LONG))
    assert notice.startswith("part 2 of ") and notice.endswith("the model gave an empty answer")


def test_the_automatic_limit_cuts(prompts):
    """A summary that ends at the automatic limit is cut."""
    answer = result(run(ScriptedBackend(lambda _: "word " * 5000), prompts, SHORT))
    assert (answer.cut, answer.finish_reason, answer.usage.completion_tokens) == (True, FinishReason.LENGTH, 512)


def test_the_users_limit_holds_for_the_summary_only(prompts):
    """The user's limit ends the summary, which counts as complete; the parts have limits of their own."""
    backend = ScriptedBackend(lambda _: "word " * 20, context=300)
    answer = result(run(backend, prompts, LONG, options=Options(max_tokens=5)))
    assert (answer.cut, answer.finish_reason, words(answer.text)) == (False, FinishReason.LENGTH, 5)
    assert answer.warnings == ()


def test_words_reach_prompt_and_limit(prompts):
    """The wanted number of words stands in the prompt, and the answer has room for it."""
    backend = ScriptedBackend(gist)
    run(backend, prompts, SHORT, words=20)
    (request,) = backend.requests
    assert "words=20 " in everything(request)
    assert request.max_tokens == tokens_for(20)


def test_the_style_is_for_the_last_stage(prompts):
    """The summary is written in the wanted style; the parts are written as paragraphs."""
    backend = ScriptedBackend(gist, context=300)
    run(backend, prompts, LONG, style="headline")
    assert {"style=paragraph" in everything(request) for request in parts(backend)} == {True}
    assert "style=headline" in everything(backend.requests[-1])


def test_a_blank_document_fails_alone(prompts):
    """A blank document has nothing to summarize; the others are summarized."""
    events = run(ScriptedBackend(gist), prompts, SHORT, " \n", SHORT)
    assert isinstance(error(events), EmptyInput)
    assert sorted(answer.item for answer in of(Result, events)) == [0, 2]


def test_an_unreadable_file_is_passed_on(prompts):
    """A failure among the inputs keeps its place and its error."""
    missing = ItemFailed(0, "gone", MissingError("gone", kind="input"))
    events = list(summarize(ScriptedBackend(gist), prompts, [Document("a", SHORT), missing], Options()))
    (failed,) = of(ItemFailed, events)
    assert (failed.item, failed.name, failed.error) == (1, "gone", missing.error)


def test_no_document_at_all(prompts):
    """Without documents there is nothing to yield."""
    assert run(ScriptedBackend(gist), prompts) == []


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(Reply(error=InternalError()), InternalError), (Reply(reason=FinishReason.TIMEOUT), TimedOut)],
)
def test_a_failing_part_fails_its_document_alone(prompts, reply, kind):
    """When a part fails, its document fails once and its other parts are cancelled; other documents go on."""
    backend = ScriptedBackend(
        lambda r: reply if "part=1/" in everything(r) and "part=1/1" not in everything(r) else Reply("fine " * 9),
        context=300,
    )
    events = run(backend, prompts, LONG, SHORT)
    assert isinstance(error(events), kind)
    assert [answer.item for answer in of(Result, events)] == [1]
    assert len(backend.cancelled) == len(parts(backend)) - 2


def test_closing_cancels_all_parts(prompts):
    """Closing the iterator cancels every request that is under way."""
    backend = ScriptedBackend(lambda r: "so" if "part=1/" in everything(r) else Reply(stalls=True), context=300)
    events = summarize(backend, prompts, [Document("a", LONG)], Options())
    while next(events) != Progress(1, len(parts(backend)), "parts"):
        pass
    events.close()
    assert len(backend.cancelled) == len(parts(backend)) - 1 > 2


def test_documents_alternate(prompts):
    """Several documents are summarized side by side: their pieces alternate, each under its own item."""
    events = run(ScriptedBackend(gist), prompts, SHORT, "four five six")
    assert [delta.item for delta in of(Delta, events)] == [0, 1, 0, 1, 0, 1]
    assert streamed(events, 1) == "four five six"


def test_the_parts_of_a_summary_arrive_whole_and_the_summary_as_it_is_written(prompts):
    """All of it is bulk work, which gives way to answers that people wait for."""
    backend = ScriptedBackend(gist, context=300)
    run(backend, prompts, LONG)
    assert {request.priority for request in backend.requests} == {Priority.BULK}
    assert {request.gathered for request in parts(backend)} == {True}
    assert not backend.requests[-1].gathered
