"""The stream of record jobs: order, windows, repeated texts, and what an interrupt leaves."""

from __future__ import annotations

import tracemalloc
from itertools import count, islice

import pytest
from scripted import Reply, ScriptedBackend, last_message

from llmcli.documents.records.record import Record
from llmcli.errors import BadDocument, ContextOverflow, Interrupted, TemporaryFailure, Unsupported
from llmcli.prompts.jinja_template import Template
from llmcli.prompts.prompt_file import Prompt
from llmcli.tasks.ask import AskTask
from llmcli.tasks.runner.record_runner import RecordRunOptions, run_records
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import FinishReason, ItemFailed, Message, Request, Result, Role


def verb(backend, **options):
    template = Template.parse("{{ question }}")
    prompt = Prompt("ask", None, "", template, contract_variables=("question", "row"))
    return AskTask(backend, prompt, None, GenerationOptions(**options))


def records(*texts):
    return [Record(index, text, index + 1) for index, text in enumerate(texts)]


def outcomes(backend, source, **options):
    events = run_records(backend, source, verb(backend), RecordRunOptions(**options))
    return [event for event in events if isinstance(event, Result | ItemFailed)]


def test_each_outcome_has_its_record():
    """Items are numbered as they come, and a record is known by its object."""
    given = records("a", "", "c")
    given[1].error = BadDocument("f", detail="bad")
    found = outcomes(ScriptedBackend(), given)
    assert [event.item for event in found] == [0, 1, 2]
    assert [event.record for event in found] == given
    assert isinstance(found[1], ItemFailed) and found[2].text == "c"


def test_a_slow_record_holds_up_the_others():
    """Outcomes come in the order of the records."""

    def answer(request):
        return Reply("slow " * 50) if last_message(request) == "slow" else "quick"

    found = outcomes(ScriptedBackend(answer), records("slow", "a", "b"))
    assert [event.record.text for event in found] == ["slow", "a", "b"]
    assert [event.item for event in found] == [0, 1, 2]


def test_what_the_backend_cannot_do_ends_the_run():
    """Each further record would fail alike, with a message of its own."""
    backend = ScriptedBackend(lambda _: Unsupported("hidden states"))
    endless = (Record(index, f"text {index}", index + 1) for index in count())
    events = run_records(backend, endless, verb(backend))
    with pytest.raises(Unsupported):
        next(event for event in events if isinstance(event, Result | ItemFailed))


def test_equal_texts_share_one_request():
    """Also while the first one runs; a failure is shared, but not kept for later records."""
    answered = []

    def answer(request):
        answered.append(last_message(request))
        return ContextOverflow() if last_message(request) == "bad" else last_message(request)

    given = records("a", "bad", "a", "bad", "b", "a")
    found = outcomes(ScriptedBackend(answer), given, dedupe_key=lambda record: record.text.encode())
    assert sorted(answered) == ["a", "b", "bad"] or sorted(answered) == ["a", "b", "bad", "bad"]
    assert [getattr(event, "text", None) for event in found] == ["a", None, "a", None, "b", "a"]
    assert [event.name for event in found] == [record.name for record in given]
    assert sum(event.usage.prompt_tokens for event in found if isinstance(event, Result)) == 2


def test_equal_texts_may_be_far_apart():
    """Each text is answered once, however many there are between two equal ones."""
    backend = ScriptedBackend()
    options = RecordRunOptions(dedupe_key=lambda record: record.text.encode(), window=1)
    texts = [f"text {number}" for number in range(300)]
    events = run_records(backend, records(*texts, *texts), verb(backend), options)
    found = [event for event in events if isinstance(event, Result)]
    assert [event.text for event in found] == texts * 2
    assert [last_message(request) for request in backend.requests] == texts


def test_an_interrupt_finishes_the_first_records(monkeypatch):
    """Those that run are finished, the others cancelled, and ``Interrupted`` is raised at the end."""
    monkeypatch.setattr(ScriptedBackend, "stats", lambda _backend: type("Stats", (), {"width": 2}))

    def interrupted():
        yield from records("a", "b", "c", "d")
        raise Interrupted

    backend = ScriptedBackend(lambda r: Reply(last_message(r) * 3, reason=FinishReason.STOP))
    events, found = run_records(backend, interrupted(), verb(backend)), []
    with pytest.raises(Interrupted):
        found.extend(event for event in events if isinstance(event, Result))
    texts = [event.record.text for event in found]
    assert texts == ["a", "b", "c", "d"][: len(texts)] and len(texts) >= 2
    assert len(backend.cancelled) == 4 - len(texts)


def test_a_record_that_the_backend_cancels_is_not_the_end_of_the_input():
    """An interrupt may reach the backend before the source, of which no more is read ahead; the job is not complete."""
    backend = ScriptedBackend(
        lambda r: Reply(reason=FinishReason.CANCELLED if last_message(r) == "b" else FinishReason.STOP, text="ok")
    )
    events, found = run_records(backend, records(*"abcdef"), verb(backend), RecordRunOptions(window=2)), []
    with pytest.raises(Interrupted):
        found.extend(event for event in events if isinstance(event, Result))
    assert [event.record.text for event in found] == ["a"]


def test_memory_does_not_grow_with_the_input():
    """Neither records, nor requests, nor answers are kept."""
    backend = ScriptedBackend(lambda _: "answer")
    backend.requests = type("Forgetful", (), {"append": lambda _self, _request: None})()
    endless = (Record(index, f"text {index}", index + 1, raw=b"x" * 2000) for index in count())
    events = run_records(backend, endless, verb(backend), RecordRunOptions(dedupe_key=None))
    tracemalloc.start()
    list(islice(events, 1_000))
    before = tracemalloc.get_traced_memory()[0]
    list(islice(events, 4_000))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    events.close()
    assert before < 4_000_000 and grown < 3_000_000, "of 8 MB"


class Twice:
    """A processor that asks twice about each record."""

    def __init__(self):
        self.columns = {"answer": str}

    async def process(self, run, record):
        texts = []
        for name in ("first", "second"):
            request = Request(f"{record.index}.{name}", (Message(Role.USER, record.text),))
            texts.append((await run.ask(request)).text)
        return run.result(" ".join(texts))

    def blank_result(self, record):
        return Result(record.index, record.name, None, blank=True)


def refusing(backend, is_refused):
    """Let a backend's jobs refuse some requests when they are submitted."""
    opened = backend.open

    def open_job():
        job = opened()
        submit = job.submit

        def submit_or_refuse(request):
            if is_refused(request):
                raise TemporaryFailure("limit")
            submit(request)

        job.submit = submit_or_refuse
        return job

    backend.open = open_job
    return backend


def test_a_later_request_that_is_refused_fails_its_record_alone():
    """What was answered is delivered, and the others go on."""
    backend = refusing(ScriptedBackend(lambda _: "ok"), lambda request: request.id == "1.second")
    events = [*run_records(backend, records("a", "b", "c"), Twice())]
    assert [event.text for event in events if isinstance(event, Result)] == ["ok ok", "ok ok"]
    failed = [event for event in events if isinstance(event, ItemFailed)]
    assert [(event.item, type(event.error)) for event in failed] == [(1, TemporaryFailure)]


def test_a_first_request_that_is_refused_ends_the_reading():
    """The records before it are delivered, and the error is raised."""
    backend = refusing(ScriptedBackend(lambda _: "ok"), lambda request: request.id == "2.first")
    found = []
    with pytest.raises(TemporaryFailure):
        found.extend(run_records(backend, records(*"abcd"), Twice()))
    assert [event.text for event in found if isinstance(event, Result)] == ["ok ok", "ok ok"]
