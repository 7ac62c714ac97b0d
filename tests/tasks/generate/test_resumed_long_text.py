"""A long text that was interrupted after any of its requests: the next run sends what the undisturbed one would have sent."""

from __future__ import annotations

import json
import random
import signal
from collections import defaultdict
from pathlib import Path

import pytest
from long_text_answers import LongTextModel
from scripted import Reply, ScriptedBackend, last_message

from llmcli.errors import Interrupted, Unsupported
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.generate.long_text import write_long_text
from llmcli.tasks.generate.outline import FORMS, LongKind, parse_outline
from llmcli.tasks.generate.section_writing import LongTextPlan
from llmcli.tasks.generate.source_facts import SourceFacts
from llmcli.tasks.runner.answer_replay import RecordedAnswer
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import FinishReason, Result

OUTLINE = (
    "# Pumps\n"
    "\n## Costs\n- price\n- rent\n- power\n- repairs\n- taxes\n- tolls\n"
    "\n## Noise\n- fans\n- doors\n\n## Windows\n\n## Walls\n- bricks\n\n## Roofs\n- tiles\n- snow\n"
)


class UnevenModel:
    """Gives the same answer to the same request: too long, too short, empty, repeated, or about as long as asked for."""

    def __call__(self, request):
        """Return the answer."""
        content = last_message(request)
        chance = random.Random(f"{request.id} {request.messages} {request.sampling}")
        model = LongTextModel(chance.randrange(1000) * 20)
        kind = chance.randrange(6)
        if kind == 0:
            return " "
        answer = model.write(content)
        if kind == 1:
            return f"The pumps of old houses are loud and dear. {answer} {model.paragraph('', 200)}"
        return answer[: len(answer) // 2] if kind == 2 else f"The pumps of old houses are loud and dear. {answer}"


class Run:
    """A run of a text: its last event or the error that ended it, the backend, and the answers of the job file."""

    def __init__(self, answer, *, kind=LongKind.REPORT, context=8192, answers=()):
        plan = LongTextPlan(kind, parse_outline(OUTLINE, "x").with_lengths(FORMS[kind], 700))
        self.answers, self.last, self.num_asked = [*answers], None, 0

        def count_and_answer(request):
            self.num_asked += 1
            return answer(request, self)

        self.backend = ScriptedBackend(count_and_answer, context=context)
        events = write_long_text(
            self.backend,
            PromptLibrary(Path("/nowhere")),
            plan,
            SourceFacts(()),
            GenerationOptions(seed=1),
            answers=answers,
            on_answer=self.record,
        )
        try:
            for event in events:
                self.last = event
        except Interrupted as error:
            self.last = error

    def record(self, answers):
        """Keep the answers as a job file does."""
        self.answers = [RecordedAnswer.from_json(json.loads(json.dumps(answer.to_json()))) for answer in answers]

    def requests_without(self, answers):
        """Return what is sent by a run that has these answers: the requests of each section in their order."""
        answered = {answer.id for answer in answers if not answer.is_refusal}
        outcomes = {request.id: [] for request in self.backend.requests}
        for answer in self.answers:
            outcomes[answer.id].append(answer)
        requests = defaultdict(list)
        for request in self.backend.requests:
            outcome = outcomes[request.id].pop(0)
            if outcome.is_refusal or request.id not in answered:
                requests[request.id.partition(".")[0]].append(request)
        return requests


def answer_all(request, _run):
    """Answer unevenly; there are no grammars."""
    return Unsupported("grammars") if request.grammar else UNEVEN(request)


def fail(_run):
    """Fail as a server does that is gone."""
    return Reply("The pumps", error=OSError("gone"))


def interrupt(run):
    """Press Ctrl-C while the request is answered."""
    run.backend.interrupt.set(signal.SIGINT)
    return "The pumps"


def be_late(_run):
    """Answer after the deadline of the command."""
    return Reply("The pumps", reason=FinishReason.TIMEOUT)


UNEVEN = UnevenModel()


@pytest.mark.parametrize("end", [fail, interrupt, be_late])
@pytest.mark.parametrize(
    ("kind", "context"),
    [(LongKind.REPORT, 8192), (LongKind.REPORT, 400), (LongKind.SLIDES, 8192)],
    ids=["report", "overflow", "grammars"],
)
def test_a_resumed_text_is_the_undisturbed_one(kind, context, end):
    """After an end at any request: the same text and usage, and exactly the requests that were not answered."""
    whole = Run(answer_all, kind=kind, context=context)
    assert isinstance(whole.last, Result) and whole.num_asked > 7
    assert any(answer.is_refusal for answer in whole.answers) == (kind is LongKind.SLIDES or context < 8192)
    for last in range(1, whole.num_asked + 1):

        def answer_until(request, run, last=last):
            return end(run) if run.num_asked == last else answer_all(request, run)

        first = Run(answer_until, kind=kind, context=context)
        assert not isinstance(first.last, Result)
        second = Run(answer_all, kind=kind, context=context, answers=first.answers)
        sent = defaultdict(list)
        for request in second.backend.requests:
            sent[request.id.partition(".")[0]].append(request)
        assert sent == whole.requests_without(first.answers)
        assert (second.last.text, second.last.fields) == (whole.last.text, whole.last.fields)
        assert second.last.usage == whole.last.usage


def test_a_text_is_interrupted_again_and_again():
    """Each run gets at least two answers more, and the last one writes the undisturbed text."""
    whole, run = Run(answer_all), None
    for _ in whole.backend.requests:
        answers = [] if run is None else run.answers

        def answer_two(request, run, answers=answers):
            return fail(run) if len(run.answers) >= len(answers) + 2 else answer_all(request, run)

        run = Run(answer_two, answers=answers)
        if isinstance(run.last, Result):
            break
        assert len(run.answers) >= len(answers) + 2
    assert run.last.text == whole.last.text and run.last.usage == whole.last.usage
    assert sorted(answer.id for answer in run.answers) == sorted(request.id for request in whole.backend.requests)


def test_a_text_with_all_answers_needs_no_backend():
    """It is written without a job, so that no model is loaded."""
    whole = Run(answer_all)
    replayed = Run(answer_all, answers=whole.answers)
    assert replayed.last.text == whole.last.text and (replayed.backend.requests, replayed.backend.jobs) == ([], 0)


def test_an_answer_that_began_again_is_recorded_once():
    """What the worker wrote before it ended is no part of the answer."""
    restart = Run(lambda request, run: Reply(answer_all(request, run), restarts_after=3))
    whole = Run(answer_all)
    assert restart.last.text == whole.last.text
    assert {answer.id: answer.text for answer in restart.answers} == {
        answer.id: answer.text for answer in whole.answers
    }
