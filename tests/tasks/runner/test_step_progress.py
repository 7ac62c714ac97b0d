"""The progress of requests becomes the progress of their job."""

from __future__ import annotations

import pytest
from scripted import Reply, ScriptedBackend, last_message
from tasks.helpers import of, sentiment

from llmcli.documents.reading.document import Document
from llmcli.documents.records.record import Record
from llmcli.tasks.ask import ask
from llmcli.tasks.chat.conversation import Conversation
from llmcli.tasks.generate import generate
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.answers import StepProgress
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.summarize import summarize
from llmcli.tasks.summarize.written_summary import MERGE_STEP
from llmcli.tasks.translate import translate
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator
from llmcli.types import Delta, Phase, Progress, RequestProgress, Result

SEEN = GenerationOptions(progress=True)
LONG = "".join(f"Paragraph {number} says a few words about it.\n\n" for number in range(60))


def gist(request):
    """Answer with the first three words."""
    return " ".join(last_message(request).split()[:3])


def steps(events):
    """Return the progress events of steps."""
    return [event for event in of(Progress, events) if event.phase is not None]


def queued(name, ahead, total=100):
    return RequestProgress(name, Phase.QUEUED, 0, total, ahead)


def reading(name, done, total=100):
    return RequestProgress(name, Phase.READING, done, total)


def writing(name, done):
    return RequestProgress(name, Phase.WRITING, done)


@pytest.mark.parametrize("verb", ["ask", "chat", "generate"])
def test_one_request_reports_queue_prompt_and_length(prompts, verb):
    """For a job of one request: requests ahead, prompt tokens evaluated, tokens generated."""
    backend = ScriptedBackend(lambda _: "one two")
    question = "a question of some words"
    events = {
        "ask": lambda: ask(backend, prompts, question, [], SEEN),
        "chat": lambda: Conversation(backend, prompts, SEEN).send(question),
        "generate": lambda: generate(backend, prompts, "poem", {"topic": question}, None, SEEN),
    }[verb]()
    found = steps(events)
    assert found[0] == Progress(0, None, "requests", "", Phase.QUEUED)
    read = [event for event in found if event.phase is Phase.READING]
    (length,) = backend.count(backend.requests)[0]
    assert [event.done for event in read] == sorted({event.done for event in read}) and read[-1].done == length
    assert {(event.total, event.unit) for event in read} == {(length, "tokens")}
    assert [event.done for event in found if event.phase is Phase.WRITING] == [1, 2]


def test_progress_is_reported_only_on_request(prompts):
    """Without ``Options.progress`` the requests do not ask for reports, and none come."""
    backend = ScriptedBackend(gist, context=300)
    events = list(summarize(backend, prompts, [Document("d", LONG)], GenerationOptions()))
    assert steps(events) == [] and not any(request.progress for request in backend.requests)


def test_reasoning_and_writing_are_distinguished(prompts):
    """While a model reasons, it does not write the answer."""
    backend = ScriptedBackend(lambda _: Reply("yes", reasoning="well then"))
    events = list(ask(backend, prompts, "Q", [], GenerationOptions(progress=True, reasoning=True)))
    assert [event.reasoning for event in of(Delta, events)] == [True, True, False]
    assert steps(events)[-1].phase is Phase.WRITING


def test_the_parts_of_a_summary_are_counted_together(prompts):
    """The tokens of all parts are one count, which only grows; the merge follows."""
    backend = ScriptedBackend(gist, context=300)
    found = steps(summarize(backend, prompts, [Document("d", LONG)], SEEN))
    first = [event for event in found if event.phase is Phase.READING and not event.label]
    parts = [request for request in backend.requests if request.id.startswith("0.0.")]
    assert len(parts) > 1
    assert first[-1].total == sum(backend.count(parts)[0])
    assert [event.done for event in first] == sorted(event.done for event in first)
    labels = [event.label for event in found]
    assert labels == sorted(labels) and set(labels) == {"", MERGE_STEP}


def test_a_step_waits_while_all_its_requests_do():
    """The position in the queue is that of the first request."""
    step = StepProgress("")
    step.update(queued("a", 4))
    step.update(queued("b", 5))
    assert step.current == Progress(4, None, "requests", "", Phase.QUEUED)
    step.update(reading("a", 10))
    assert step.current == Progress(10, 200, "tokens", "", Phase.READING)


def test_a_step_writes_when_all_prompts_are_evaluated():
    """Requests that ended without progress, from a cache or by an error, count as evaluated."""
    step = StepProgress("merging")
    for event in (queued("a", 0), queued("b", 1), queued("c", 2), reading("a", 60), writing("b", 7)):
        step.update(event)
    assert step.current == Progress(160, 300, "tokens", "merging", Phase.READING)
    step.mark_finished("c")
    step.update(writing("a", 2))
    assert step.current == Progress(9, None, "tokens", "merging", Phase.WRITING)


def test_a_preempted_request_keeps_its_progress():
    """A preempted request keeps its progress until it reports less."""
    step = StepProgress("")
    for event in (queued("a", 0), reading("a", 60), queued("a", 2)):
        step.update(event)
    assert step.current.done == 60


def labels(request):
    return dict.fromkeys(request.candidates, -1.0)


def test_the_first_record_reports_its_progress(prompts):
    """Until the first answer; then records are counted, with their total if known."""
    records = [Record(index, "some words", index + 1) for index in range(30)]
    backend = ScriptedBackend(labels)
    events = list(sentiment(backend, prompts, records, SEEN))
    assert [request.progress for request in backend.requests] == [True] + [False] * 29
    kinds = [type(event) for event in events]
    assert all(event.phase for event in events[: kinds.index(Result)])
    assert [event for event in of(Progress, events) if event.phase is None] == [
        Progress(done, 30, "records") for done in range(1, 31)
    ]
    endless = of(Progress, sentiment(ScriptedBackend(labels), prompts, iter(records), SEEN))
    assert endless[-1] == Progress(30, None, "records")


def test_a_long_translation_asks_only_its_first_segments(prompts):
    """Thousands of requests do not report, since segments are counted."""
    backend = ScriptedBackend(lambda request: last_message(request).upper())
    translator = Translator(backend, prompts.get("translate"), SEEN, parse_language("en"), model_id="m")
    text = "".join(f"Line {chr(97 + number % 26) * (1 + number // 26)} of it.\n\n" for number in range(60))
    events = list(translate([TranslationSpec(Document("d", text), translator)]))
    asked = [request.progress for request in backend.requests if request.id != "count"]
    assert sum(asked) == 8 and all(asked[:8]) and len(asked) == 60
    counted = [at for at, event in enumerate(events) if isinstance(event, Progress) and event.phase is None]
    assert all(isinstance(event, Progress) and event.phase for event in events[counted[0] + 1 : counted[1] - 1])
    assert not any(isinstance(event, Progress) and event.phase for event in events[counted[1] :])
