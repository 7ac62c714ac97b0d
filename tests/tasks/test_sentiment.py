import math
import queue
import threading
from itertools import count, islice, takewhile

import pytest
from scripted import ScriptedBackend, ScriptedJob, last_message
from tasks.helpers import of, sentiment

from llmcli.documents.records.record import Record
from llmcli.errors import ConfigError, ContextOverflow, InternalError, NotUtf8, Unsupported
from llmcli.tasks.runner.record_runner import MAX_RECORDS_AHEAD
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Finished, ItemFailed, Progress, Result, Usage

GOOD = {"positive": math.log(0.6), "neutral": math.log(0.3), "negative": math.log(0.1)}


def records(*texts):
    return [Record(index, text, index + 1) for index, text in enumerate(texts)]


def run(backend, prompts, *texts):
    return list(sentiment(backend, prompts, records(*texts), GenerationOptions()))


def scored(_request):
    return GOOD


def test_label_and_probabilities(prompts):
    """A record gets the most likely label and the probability of each."""
    (answer,) = of(Result, run(ScriptedBackend(scored), prompts, "nice"))
    assert answer.fields["label"] == "positive"
    assert answer.fields["probabilities"] == pytest.approx({"positive": 0.6, "neutral": 0.3, "negative": 0.1})


def test_records_are_scored_not_answered(prompts):
    """One request a record, with the labels of the prompt file as candidates."""
    backend = ScriptedBackend(scored)
    run(backend, prompts, "nice", "bad")
    assert [last_message(request) for request in backend.requests] == ["nice", "bad"]
    assert {request.candidates for request in backend.requests} == {("positive", "neutral", "negative")}


def test_order_is_kept(prompts):
    """Results come in the order of the input, whatever finishes first."""

    def answer(request):
        return GOOD if last_message(request) != "slow" else InternalError()

    events = run(ScriptedBackend(answer), prompts, "a", "slow", "b", "c")
    assert [event.item for event in events if isinstance(event, Result | ItemFailed)] == [0, 1, 2, 3]


def test_blank_lines_keep_their_place(prompts):
    """A blank record has no label, needs no request, and keeps its position."""
    backend = ScriptedBackend(scored)
    answers = of(Result, run(backend, prompts, "a", "", "b", " "))
    assert [answer.fields["label"] for answer in answers] == ["positive", None, "positive", None]
    assert [answer.fields["line"] for answer in answers] == [1, 2, 3, 4]
    assert len(backend.requests) == 2


@pytest.mark.parametrize("texts", [(), ("",), ("", " ", "")])
def test_nothing_to_score(prompts, texts):
    """An input without records, or with blank ones only, succeeds."""
    assert len(of(Result, run(ScriptedBackend(scored), prompts, *texts))) == len(texts)


def test_each_record_has_its_own_usage(prompts):
    """A record's result has the usage of its own call."""
    first, second = of(Result, run(ScriptedBackend(scored), prompts, "one two", "one two three"))
    assert (first.usage, second.usage) == (Usage(2), Usage(3))


def test_a_failing_record_fails_alone(prompts):
    """A failed record (here: too large) is reported with its line, and the others continue."""
    events = run(ScriptedBackend(scored, context=20), prompts, "a", "word " * 30, "b")
    (failed,) = of(ItemFailed, events)
    assert (failed.item, failed.name) == (1, "line 2")
    assert isinstance(failed.error, ContextOverflow)
    assert [answer.item for answer in of(Result, events)] == [0, 2]


def test_records_count_as_progress(prompts):
    """Progress counts records, with their total if it is known."""
    progress = of(Progress, run(ScriptedBackend(scored), prompts, "a", "", "c"))
    assert [(event.done, event.total, event.unit) for event in progress] == [
        (1, 3, "records"),
        (2, 3, "records"),
        (3, 3, "records"),
    ]


def test_an_endless_input_streams(prompts):
    """Results of an endless input come while it is read; at most a window of it is read ahead."""
    read = []

    def endless():
        for index in count():
            read.append(index)
            yield Record(index, "text", index + 1)

    events = sentiment(ScriptedBackend(scored), prompts, endless(), GenerationOptions())
    results = []
    while len(results) < 2 * MAX_RECORDS_AHEAD:
        event = next(events)
        if isinstance(event, Result):
            results.append(event.item)
    events.close()
    assert results == list(range(2 * MAX_RECORDS_AHEAD))
    assert len(read) <= 3 * MAX_RECORDS_AHEAD + 2


@pytest.mark.parametrize("text", ["", " \t"])
def test_endless_blank_records_stream(prompts, text):
    """Blank records come out in order while the input continues; at most a window is read ahead."""
    read = []

    def endless():
        for index in count():
            read.append(index)
            yield Record(index, text, index + 1)

    backend = ScriptedBackend(scored)
    events = sentiment(backend, prompts, endless(), GenerationOptions())
    results = list(islice((event for event in events if isinstance(event, Result)), 20 * MAX_RECORDS_AHEAD))
    ahead = len(read) - len(results)
    events.close()
    assert [answer.item for answer in results] == list(range(20 * MAX_RECORDS_AHEAD))
    assert {answer.fields["label"] for answer in results} == {None}
    assert ahead <= MAX_RECORDS_AHEAD + 2 and backend.requests == []


def test_a_blank_record_comes_before_the_next_input(prompts):
    """A blank record is answered before the next one arrives, after a record with a request and before any."""
    source = queue.Queue()
    events = sentiment(ScriptedBackend(scored), prompts, iter(source.get, None), GenerationOptions())
    results = (event for event in events if isinstance(event, Result))
    for index, text in enumerate(["", "text", "", ""]):
        source.put(Record(index, text, index + 1))
        assert next(results).item == index
    source.put(None)
    assert list(results) == []


def test_a_record_that_cannot_be_submitted_ends_the_input(prompts, monkeypatch):
    """An error at a submission is raised after the answers of the records before it."""
    submit = ScriptedJob.submit

    def refuse(job, request):
        if last_message(request) == "b":
            raise InternalError(detail="no")
        submit(job, request)

    monkeypatch.setattr(ScriptedJob, "submit", refuse)
    events = sentiment(ScriptedBackend(scored), prompts, records("a", "b", "c"), GenerationOptions())
    assert next(events).item == 0
    with pytest.raises(InternalError, match="no"):
        list(events)


def test_a_backend_that_forgets_a_record_is_a_bug(prompts, monkeypatch):
    """A record whose request never ends is an internal error, never skipped."""
    events = ScriptedJob.__iter__

    def forgets(job):
        return takewhile(lambda event: not (isinstance(event, Finished) and event.id == "1"), events(job))

    monkeypatch.setattr(ScriptedJob, "__iter__", forgets)
    with pytest.raises(InternalError):
        run(ScriptedBackend(scored), prompts, "a", "b")


def test_a_silent_input_does_not_delay_results(prompts):
    """The result of a record comes before the next input."""
    source = queue.Queue()
    source.put(Record(0, "text", 1))
    events = sentiment(ScriptedBackend(scored), prompts, iter(source.get, None), GenerationOptions())
    assert next(events).item == 0
    source.put(None)
    assert of(Result, events) == []


def test_a_failing_input_is_reported_after_its_records(prompts):
    """The records before a failure of the input are delivered, then the error is raised."""

    def broken():
        yield from records("a", "b")
        raise NotUtf8("-", offset=9)

    events = sentiment(ScriptedBackend(scored), prompts, broken(), GenerationOptions())
    assert [answer.item for answer in of(Result, islice(events, 4))] == [0, 1]
    with pytest.raises(NotUtf8):
        next(events)


def test_closing_ends_the_reader(prompts):
    """Closing the iterator cancels open requests and ends the thread that reads the records."""
    backend = ScriptedBackend(scored)
    endless = (Record(index, "text", index + 1) for index in count())
    events = sentiment(backend, prompts, endless, GenerationOptions())
    next(events)
    events.close()
    for thread in threading.enumerate():
        if thread.name == "records":
            thread.join(5)
            assert not thread.is_alive()


def test_a_backend_that_cannot_score(prompts):
    """A backend that cannot score is refused before anything is read."""
    with pytest.raises(Unsupported):
        run(ScriptedBackend(scored, scores=False), prompts, "a")


def test_a_prompt_file_without_labels(prompts, tmp_path):
    """A user's prompt file without labels is a configuration error that names the file."""
    file = tmp_path / "prompts" / "sentiment.yaml"
    file.write_text('description: bad\nuser: "{{ text }}"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        run(ScriptedBackend(scored), prompts, "a")
    assert caught.value.origin == str(file)
