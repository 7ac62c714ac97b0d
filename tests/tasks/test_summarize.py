import re
from collections import Counter
from dataclasses import asdict

import pytest
from scripted import Reply, ScriptedBackend, all_messages, count_words, last_message
from tasks.helpers import error, notices, of, result, streamed

from llmcli.documents.reading.document import Document
from llmcli.errors import ContextOverflow, EmptyInput, InternalError, MissingError, RequestRejected, TimedOut
from llmcli.errors.incomplete_results import EmptyAnswer, MissingPart, PartsMissing
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.summarize import summarize
from llmcli.tasks.summarize.summary_options import SummaryOptions
from llmcli.tasks.summarize.summary_plan import max_summary_tokens
from llmcli.types import Delta, FinishReason, ItemFailed, Priority, Progress, Result, Role, Usage

SHORT = "one two three.\n"


def paragraph(number: int) -> str:
    return f"Paragraph {number} begins. " + "filler " * 26 + "It ends.\n\n"


LONG = "The first line.\n\n" + "".join(paragraph(number) for number in range(30)) + "The last line.\n"  # some 930 words


def gist(request):
    """Answer with the first three words."""
    return " ".join(last_message(request).split()[:3])


def run(backend, prompts, *texts, options=None, **how):
    documents = [Document(f"doc{index}", text) for index, text in enumerate(texts)]
    return list(summarize(backend, prompts, documents, options or GenerationOptions(), SummaryOptions(**how)))


def parts(backend):
    return [request for request in backend.requests if request.id.split(".")[1] == "0"]


def test_a_short_document_is_one_request(prompts):
    """A text that fits the context is summarized by one streamed request."""
    backend = ScriptedBackend(gist)
    events = run(backend, prompts, SHORT)
    assert len(backend.requests) == 1
    assert streamed(events) == result(events).text == "one two three."
    assert of(Progress, events) == []


def test_nothing_of_a_long_document_is_dropped(prompts):
    """The joined texts of the parts' requests equal the document."""
    backend = ScriptedBackend(gist, context=300)
    run(backend, prompts, LONG)
    assert len(parts(backend)) > 3
    assert "".join(last_message(request) for request in parts(backend)) == LONG


def test_parts_end_with_paragraphs(prompts):
    """A long document is cut only at paragraph borders if paragraphs fit."""
    backend = ScriptedBackend(gist, context=300)
    run(backend, prompts, LONG)
    assert all(last_message(request).endswith("\n\n") for request in parts(backend)[:-1])


def test_parts_of_all_documents_are_one_job(prompts):
    """All parts of all documents are submitted in one job before anything is answered."""
    before = []
    backend = ScriptedBackend(lambda request: before.append(len(backend.requests)) or gist(request), context=300)
    run(backend, prompts, LONG, SHORT, LONG)
    assert backend.jobs == 1
    assert before[0] == len(parts(backend))


def test_the_parts_are_merged(prompts):
    """The summaries of the parts are joined in order and merged with the other prompt file."""
    backend = ScriptedBackend(gist, context=300)
    answer = result(run(backend, prompts, LONG))
    merge = backend.requests[-1]
    assert all_messages(merge).startswith("merge ")
    assert last_message(merge) == "\n\n".join(gist(request) for request in parts(backend))
    assert answer.text == gist(merge)


def test_merging_continues_until_it_fits(prompts):
    """Summaries that do not fit together either are merged in stages."""
    backend = ScriptedBackend(lambda request: " ".join(last_message(request).split()[:40]), context=300)
    answer = result(run(backend, prompts, LONG * 4))
    assert int(backend.requests[-1].id.split(".")[1]) > 1
    assert answer.text.startswith("The first line.")


def test_only_the_last_stage_is_streamed(prompts):
    """Only the final summary is streamed, not the summaries of its parts."""
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
    """Progress counts the parts from 0, starting at once, to their total."""
    backend = ScriptedBackend(gist, context=300)
    progress = of(Progress, run(backend, prompts, LONG))
    assert [event.done for event in progress] == list(range(len(backend.requests) + 1))
    assert (progress[-1].total, progress[-1].unit) == (len(backend.requests), "parts")


def test_estimated_counts_leave_room(prompts):
    """If token counts are estimates, 15% of the context stay free."""
    backend = ScriptedBackend(gist, context=300, exact=False)
    run(backend, prompts, LONG)
    assert all(backend.prompt_tokens(request) + 75 <= 255 for request in backend.requests)


def test_every_request_leaves_room_for_its_answer(prompts):
    """Prompt and longest answer of each part fit the context together."""
    backend = ScriptedBackend(gist, context=300)
    run(backend, prompts, LONG)
    assert all(backend.prompt_tokens(request) + request.max_tokens <= 300 for request in parts(backend))


def test_a_paragraph_larger_than_the_context_is_cut(prompts):
    """A paragraph larger than the context is cut further, and all of it is read."""
    text = "A sentence of five words. " * 200
    backend = ScriptedBackend(gist, context=300)
    result(run(backend, prompts, text))
    assert "".join(last_message(request) for request in parts(backend)) == text


def test_summaries_that_do_not_shrink_end_in_an_error(prompts):
    """If summaries are as long as their texts, it fails with ContextOverflow after a few stages."""
    backend = ScriptedBackend(last_message, context=300, obeys_limits=False)
    failed = error(run(backend, prompts, LONG))
    assert isinstance(failed, ContextOverflow) and failed.tokens > failed.context == 300
    assert len(backend.requests) < 6 * len(parts(backend))


def test_shorter_limits_end_endless_summaries(prompts):
    """A model that always reaches its limit comes to an end, since the limits become shorter."""
    backend = ScriptedBackend(lambda _: "word " * 5000, context=300)
    assert result(run(backend, prompts, LONG * 3)).text


def test_no_room_for_text_is_an_error(prompts):
    """Instructions that fill the context leave no room for text."""
    assert isinstance(error(run(ScriptedBackend(gist, context=16), prompts, LONG)), ContextOverflow)


def of_part(number, bad, *, tries=2):
    """Answer ``bad`` to the first attempts at a part, and well to everything else."""
    seen = []

    def answer(request):
        if f"part={number}/" not in all_messages(request) or len(seen) == tries:
            return gist(request)
        seen.append(request)
        return bad

    return answer


def lines_of(backend, number):
    """Return the first and the last line of the document in the text of a part."""
    before = sum(last_message(request).count("\n") for request in parts(backend)[: number - 1])
    return before + 1, before + last_message(parts(backend)[number - 1]).rstrip().count("\n") + 1


@pytest.mark.parametrize("bad", ["", " \n", "word " * 5000], ids=["empty", "blank", "cut"])
def test_a_bad_answer_about_a_part_is_retried(prompts, bad):
    """An empty or cut answer about a part is requested once more, sampled differently, and the second one counts."""
    backend = ScriptedBackend(of_part(2, bad, tries=1), context=300)
    events = run(backend, prompts, LONG)
    first, second = [request for request in backend.requests if "part=2/" in all_messages(request)]
    assert last_message(first) == last_message(second) and second.sampling.temperature > first.sampling.temperature == 0
    assert second.max_tokens == first.max_tokens * (2 if "word" in bad else 1)
    answer = result(events)
    assert (answer.cut, answer.incomplete, answer.warnings, notices(events)) == (False, None, (), [])
    assert (answer.fields, answer.finish_reason) == (
        {"method": "written", "coverage": 1.0, "missing": []},
        FinishReason.STOP,
    )
    assert gist(first) in last_message(backend.requests[-1])


def test_a_part_does_not_repeat_its_request(tmp_path):
    """What is left of the answer is merged; without anything it is asked for again."""
    question = "List the facts of this text that matter most:\n"
    answers = {1: [f"{question}- The pump ran."], 2: [question, "- It broke."]}

    def answer(request):
        found = re.match(r"Text, part (\d+) of", last_message(request))
        left = answers.get(int(found[1])) if found else None
        return left.pop(0) if left else "A summary."

    backend = ScriptedBackend(answer, context=700)
    text = "\n\n".join(f"Day {day}: the pump ran well, and Anna oiled it." for day in range(200))
    answer = result(run(backend, PromptLibrary(tmp_path), text))
    merged = "".join(last_message(each) for each in backend.requests if "Summaries of the" in last_message(each))
    assert "- The pump ran.\n\n- It broke." in merged and question not in merged and not answer.cut


@pytest.mark.parametrize(
    ("bad", "reason", "what", "finish"),
    [
        ("", "empty", "the model gave an empty answer", FinishReason.STOP),
        ("word " * 5000, "cut", "its summary was cut at 75 tokens", FinishReason.LENGTH),
    ],
)
def test_a_part_that_stays_empty_or_cut_is_missing(prompts, bad, reason, what, finish):
    """The result is incomplete; a warning, a field and an error name the missing lines of the document."""
    backend = ScriptedBackend(of_part(2, bad), context=300)
    events = run(backend, prompts, LONG)
    answer = result(events)
    count = len({request.id.split(".")[2] for request in parts(backend)})
    first, final = lines_of(backend, 2)
    assert answer.warnings == tuple(notices(events)) == (f"lines {first} to {final}, part 2 of {count}: {what}",)
    assert (answer.cut, answer.finish_reason) == (True, finish)
    assert isinstance(answer.incomplete, PartsMissing) and answer.incomplete.subject == "doc0"
    (missing,) = answer.incomplete.parts
    assert missing == MissingPart(first, final, 2, count, 0, reason)
    told = {name: value for name, value in asdict(missing).items() if name != "file"}  # there is only one
    assert answer.fields["missing"] == [told]
    assert len(backend.requests) == count + 2  # one more attempt at the part, and the merge


def test_a_missing_part_of_a_later_stage_has_document_lines(prompts):
    """What is missing from merged summaries is reported by the lines of the document."""

    def answer(request):
        merged = request.id.split(".")[1] == "1" and request.id.split(".")[2] == "1"
        return "" if merged else " ".join(last_message(request).split()[:40])

    backend = ScriptedBackend(answer, context=300)
    answer = result(run(backend, prompts, LONG * 4))
    (missing,) = answer.incomplete.parts
    (merge, _again) = [request for request in backend.requests if request.id.startswith("0.1.1")]
    covered = [r for r in parts(backend) if answer_of(r) in last_message(merge)]
    assert (missing.stage, missing.part, missing.first_line) == (1, 1, 1)
    assert missing.last_line == "".join(last_message(request) for request in covered).rstrip().count("\n") + 1
    assert answer.warnings[0].startswith(f"lines 1 to {missing.last_line}, part 1 of {missing.parts} of stage 2: ")


def answer_of(request):
    return " ".join(last_message(request).split()[:40])


def test_a_model_that_answers_nothing_fails_the_document(prompts):
    """A document without an answer about any part, and one without a summary, fail; others continue."""
    backend = ScriptedBackend(lambda r: gist(r) if "four" in last_message(r) else "", context=300)
    events = run(backend, prompts, LONG, SHORT, "four five six")
    failed = of(ItemFailed, events)
    assert sorted((end.item, type(end.error), end.error.exit_code) for end in failed) == [
        (0, EmptyAnswer, 1),
        (1, EmptyAnswer, 1),
    ]
    assert [answer.item for answer in of(Result, events)] == [2]
    assert max(Counter(last_message(request) for request in backend.requests).values()) == 2


def test_an_empty_summary_is_retried(prompts):
    """The final summary has a second attempt too, and nothing of the first one is shown."""
    answers = iter([" \n", "in short"])
    events = run(ScriptedBackend(lambda _: next(answers)), prompts, SHORT)
    assert streamed(events) == result(events).text == "in short"


def test_the_users_sampling_stays(prompts):
    """The user's greedy sampling would repeat the answer, so an empty answer is not retried."""
    backend = ScriptedBackend(lambda _: "")
    assert isinstance(error(run(backend, prompts, SHORT, options=GenerationOptions(temperature=0))), EmptyAnswer)
    assert len(backend.requests) == 1


@pytest.mark.parametrize("limit", [200, 400])
def test_the_users_limit_applies_even_if_a_shorter_answer_would_fit(prompts, limit):
    """A text that fits one request with the answer limit of a part, but not with the user's, keeps the user's."""
    backend = ScriptedBackend(lambda _: "word " * 5000, context=1000)
    text = "filler " * (1000 - 60 - max_summary_tokens(50))
    answer = result(run(backend, prompts, text, options=GenerationOptions(max_tokens=limit), words=50))
    (request,) = backend.requests
    assert request.max_tokens == limit
    free = 1000 - backend.prompt_tokens(request)
    assert count_words(answer.text) == min(limit, free)
    assert answer.cut is (limit > free)


def test_the_automatic_limit_cuts_a_summary(prompts):
    """A summary that ends at the automatic limit is cut."""
    answer = result(run(ScriptedBackend(lambda _: "word " * 5000), prompts, SHORT))
    assert (answer.cut, answer.finish_reason, answer.usage.completion_tokens) == (True, FinishReason.LENGTH, 512)


def test_the_users_limit_applies_to_the_summary_only(prompts):
    """The user's limit ends the summary, which counts as complete; the parts have their own limits."""
    backend = ScriptedBackend(lambda _: "word " * 20, context=300)
    answer = result(run(backend, prompts, LONG, options=GenerationOptions(max_tokens=5)))
    assert (answer.cut, answer.finish_reason, count_words(answer.text)) == (False, FinishReason.LENGTH, 5)
    assert answer.warnings == ()


def test_words_reach_prompt_and_limit(prompts):
    """The prompt has the wanted number of words; the answer limit allows them, and more where they are few."""
    backend = ScriptedBackend(gist)
    run(backend, prompts, SHORT, words=20)
    request = backend.requests[0]
    assert "words=20 " in all_messages(request)
    assert request.max_tokens == 512
    run(backend, prompts, SHORT, words=400)
    assert backend.requests[-1].max_tokens == max_summary_tokens(400)


def test_the_limit_of_a_prompt_file_holds(tmp_path):
    """Without a wanted length: the user has set it in a prompt of their own."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "summarize.yaml").write_text('description: short\nuser: "{{ text }}"\noptions:\n  max_tokens: 100\n')
    backend = ScriptedBackend(gist)
    run(backend, PromptLibrary(own), SHORT)
    assert backend.requests[-1].max_tokens == 100


def test_the_style_is_for_the_last_stage(prompts):
    """The final summary has the wanted style; the parts are facts."""
    backend = ScriptedBackend(gist, context=300)
    run(backend, prompts, LONG, style="headline")
    assert {"style=facts" in all_messages(request) for request in parts(backend)} == {True}
    assert "style=headline" in all_messages(backend.requests[-1])


@pytest.mark.parametrize(("words", "most"), [(None, 4 * 256), (100, 4 * max_summary_tokens(100))])
def test_parts_are_short_in_a_large_context(prompts, words, most):
    """A text that does not fit is read in parts of four times the length of their facts, however large the context is."""
    paragraph = "lorem ipsum dolor sit amet. " * 20 + "\n\n"
    text = paragraph * 120
    backend = ScriptedBackend(gist, context=8192)
    run(backend, prompts, text, words=words)
    sizes = [backend.prompt_tokens(request) for request in parts(backend)]
    assert most // 2 < max(sizes) <= most + 100  # the instructions
    assert len(sizes) > len(text.split()) / most


def test_a_text_that_fits_is_one_part(prompts):
    """A text that fits the context is one request, even if it is much longer than a part."""
    backend = ScriptedBackend(gist, context=8192)
    run(backend, prompts, "lorem ipsum. " * 3000)
    assert len(backend.requests) == 1


def test_a_blank_document_fails_alone(prompts):
    """A blank document has nothing to summarize; the others are summarized."""
    events = run(ScriptedBackend(gist), prompts, SHORT, " \n", SHORT)
    assert isinstance(error(events), EmptyInput)
    assert sorted(answer.item for answer in of(Result, events)) == [0, 2]


def test_an_unreadable_file_is_passed_on(prompts):
    """A failure among the inputs keeps its position and its error."""
    missing = ItemFailed(0, "gone", MissingError("gone", kind="input"))
    events = list(summarize(ScriptedBackend(gist), prompts, [Document("a", SHORT), missing], GenerationOptions()))
    (failed,) = of(ItemFailed, events)
    assert (failed.item, failed.name, failed.error) == (1, "gone", missing.error)


def test_no_document_at_all(prompts):
    """Without documents nothing is yielded."""
    assert run(ScriptedBackend(gist), prompts) == []


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(Reply(error=InternalError()), InternalError), (Reply(reason=FinishReason.TIMEOUT), TimedOut)],
)
def test_a_failing_part_fails_its_document_alone(prompts, reply, kind):
    """When a part fails, its document fails once and its other parts are cancelled; other documents continue."""
    backend = ScriptedBackend(
        lambda r: reply if "part=1/" in all_messages(r) and "part=1/1" not in all_messages(r) else Reply("fine " * 9),
        context=300,
    )
    events = run(backend, prompts, LONG, SHORT)
    assert isinstance(error(events), kind)
    assert [answer.item for answer in of(Result, events)] == [1]
    assert len(backend.cancelled) == len(parts(backend)) - 2


def test_closing_cancels_all_parts(prompts):
    """Closing the iterator cancels every open request."""
    backend = ScriptedBackend(lambda r: "so" if "part=1/" in all_messages(r) else Reply(stalls=True), context=300)
    events = summarize(backend, prompts, [Document("a", LONG)], GenerationOptions())
    while next(events) != Progress(1, len(parts(backend)), "parts"):
        pass
    events.close()
    assert len(backend.cancelled) == len(parts(backend)) - 1 > 2


def test_documents_alternate(prompts):
    """Documents are summarized concurrently: their pieces alternate, each with its own item."""
    events = run(ScriptedBackend(gist), prompts, SHORT, "four five six")
    assert [delta.item for delta in of(Delta, events)] == [0, 1, 0, 1, 0, 1]
    assert streamed(events, 1) == "four five six"


def test_only_the_final_summary_is_streamed_piece_by_piece(prompts):
    """All of it is bulk work, which yields to interactive answers."""
    backend = ScriptedBackend(gist, context=300)
    run(backend, prompts, LONG)
    assert {request.priority for request in backend.requests} == {Priority.BULK}
    assert {request.gathered for request in parts(backend)} == {True}
    assert not backend.requests[-1].gathered


NEEDLE = "The password of the vault is xylophone."


def able(request):
    """Answer as an able model does: with what matters in the text."""
    return f"It says: {NEEDLE}" if NEEDLE in last_message(request) else "It is about the weather."


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("times", [3, 30])
def test_a_needle_reaches_the_summary(prompts, place, times):
    """From head, middle and tail of a text of 3 and 30 times the context, through all stages; every token is read."""
    hay = [paragraph(number) for number in range(times * 10)]
    hay.insert(round(place * len(hay)), f"{NEEDLE}\n\n")
    backend = ScriptedBackend(able, context=300)
    answer = result(run(backend, prompts, "".join(hay)))
    assert NEEDLE in answer.text and answer.fields["coverage"] == 1.0
    assert "".join(last_message(request) for request in parts(backend)) == "".join(hay)


def test_the_coverage_lacks_parts_without_an_answer(prompts):
    """It is the share of the tokens of the first stage whose calls answered."""
    backend = ScriptedBackend(of_part(2, ""), context=300)
    answer = result(run(backend, prompts, LONG))
    tokens = {request.id.split(".")[2]: backend.prompt_tokens(request) for request in parts(backend)}
    assert answer.fields["coverage"] == pytest.approx(1 - tokens["2"] / sum(tokens.values()), abs=1e-6)


@pytest.mark.parametrize("words", [40, 120])
def test_an_able_model_meets_the_length(prompts, words):
    """The plan gives the last call the wanted length and room for it; a summary is never cut to meet it."""

    def obedient(request):
        wanted = int(all_messages(request).split("words=")[1].split()[0])
        return " ".join(["word"] * wanted)

    backend = ScriptedBackend(obedient, context=1200)
    answer = result(run(backend, prompts, LONG * 4, words=words))
    assert abs(len(answer.text.split()) - words) <= 0.2 * words
    assert (answer.warnings, answer.cut) == ((), False)
    missed = result(run(ScriptedBackend(lambda _: "word " * 10, context=1200), prompts, LONG, words=words))
    assert len(missed.warnings) == 1 and missed.cut is False and len(missed.text.split()) == 10


def rewriting(first: int, second):
    """Answer with so many words, and a request to write that again with ``second``: words, or another reply."""

    def answer(request):
        if not request.id.endswith(".length"):
            return " ".join(["word"] * first)
        return " ".join(["again"] * second) if isinstance(second, int) else second

    return ScriptedBackend(answer, context=1200)


@pytest.mark.parametrize(
    ("first", "second", "delivered"),
    [
        (90, 55, "again " * 55),  # the second one is within 20%
        (20, 30, "again " * 30),  # nearer, but still too short
        (70, 10, "word " * 70),  # worse
        (70, "", "word " * 70),
        (70, Reply(error=RequestRejected("m")), "word " * 70),
        (70, Reply("again " * 50, reason=FinishReason.LENGTH), "word " * 70),  # cut
        (55, 1, "word " * 55),  # the first one is good enough
    ],
)
def test_a_summary_of_another_length_is_written_once_more(prompts, first, second, delivered):
    """The better one of both is delivered, as a whole; a length that is missed is a warning."""
    backend = rewriting(first, second)
    events = run(backend, prompts, SHORT, words=50)
    found = result(events)
    assert found.text.split() == delivered.split() and not found.cut
    assert "".join(event.text for event in events if isinstance(event, Delta)).split() == delivered.split()
    assert bool(found.warnings) == (abs(len(delivered.split()) - 50) > 10)
    again = [request for request in backend.requests if request.id.endswith(".length")]
    assert len(again) == (0 if first == 55 else 1)
    for request in again:
        assert [message.role for message in request.messages[-2:]] == [Role.ASSISTANT, Role.USER]
        assert f"has {first} words" in last_message(request) and "about 50 words" in last_message(request)
        assert ("say more" in last_message(request)) is (first < 50)


def test_a_summary_is_not_written_again_without_room_for_it(prompts):
    """The first one is delivered, with a warning."""
    backend = ScriptedBackend(lambda _: "word " * 90, context=230)
    found = result(run(backend, prompts, SHORT, words=50))
    assert len(backend.requests) == 1 and len(found.warnings) == 1 and len(found.text.split()) == 90
