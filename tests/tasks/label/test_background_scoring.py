"""Candidates are scored behind the questions, and what is scored is kept."""

from __future__ import annotations

import random
import threading
import time

import pytest
from scripted import ScriptedBackend

from llmcli.documents.records.record import Record
from llmcli.errors import InternalError
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.classify import PROMPT, ClassifySpec
from llmcli.tasks.label.background_scoring import MIN_POOL_ROWS, CandidateScoring
from llmcli.tasks.label.state_store import StateStore
from llmcli.tasks.labels.label_set import parse_label_names
from llmcli.tasks.runner.task_requests import GenerationOptions

RECORDS = [Record(7 * number, f"ticket number {number}", number + 1) for number in range(60)]
LABELS = parse_label_names("bug,idea")


def _ignore(_done):
    """A check that stops nothing."""


@pytest.fixture
def scoring(tmp_path):
    """Return a function that starts to score the records with these answers of a backend, and stops at the end."""
    started = []

    def start(answer, store=StateStore):
        backend = ScriptedBackend(answer)
        spec = ClassifySpec(PromptLibrary(tmp_path).get(PROMPT), LABELS)
        found = CandidateScoring(
            backend,
            lambda: spec.make_scorer(backend, GenerationOptions(), tmp_path / "priors"),
            RECORDS,
            lambda: store(tmp_path / "states", {"model": backend.info().model_id}, "digest"),
        )
        found.start()
        started.append(found)
        return found, backend

    yield start
    for each in started:
        each.stop()


def even(request):
    """Return scores that tell nothing."""
    return dict.fromkeys(request.candidates, -1.0)


def asked_in_turn(scoring, count):
    """Return the rows that are asked about while each gets the label 0."""
    answers = {}
    for _ in range(count):
        answers[scoring.next_row(answers, ())] = 0
    return [*answers]


def test_questions_need_no_score(scoring):
    """They come in the order of the sample, which is that of the scores to come; skipped rows are left out."""
    release = threading.Event()
    found, _ = scoring(lambda request: release.wait(20) and even(request))
    order = [*range(60)]
    random.Random(0).shuffle(order)
    assert asked_in_turn(found, 60) == order and found.scored_rows == 0
    assert found.next_row({order[0]: 1}, {order[1]}) == order[2]
    assert found.next_row(dict.fromkeys(order, 0), ()) is None
    release.set()
    found.wait_for(order[:5], _ignore)
    assert [each.record.index for each in found.scored(order[:5])] == order[:5]


def test_the_row_that_teaches_most_is_chosen_among_scored_ones(scoring):
    """An unlike text is chosen early though it stands late in the sample."""
    assert len(RECORDS) > MIN_POOL_ROWS
    order = [*range(60)]
    random.Random(0).shuffle(order)
    odd = f"number {order[-1]}\n"

    def answer(request):
        is_odd = odd in request.messages[-1].content + "\n"
        return {"bug": -0.1, "idea": -5.0} if is_odd else {"bug": -1.0, "idea": -1.0 - random.Random(0).random()}

    found, _ = scoring(answer)
    found.wait_for(order, _ignore)
    until = time.monotonic() + 20
    while order[-1] not in asked_in_turn(found, 5):
        assert time.monotonic() < until


def test_nothing_is_scored_twice(scoring, tmp_path):
    """Not at the next start either: no request is sent for what is on disk, and damaged lines are made again."""
    first, backend = scoring(even)
    first.wait_for([*range(60)], _ignore)
    first.stop()
    assert len(backend.requests) > 60  # the prior too
    second, unused = scoring(lambda _request: InternalError(detail="nothing is to be scored"))
    second.wait_for([*range(60)], _ignore)
    second.stop()
    assert unused.requests == []
    (file,) = (tmp_path / "states").iterdir()
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 60
    file.write_bytes(b"".join([*lines[:40], lines[40].replace(b"bug", b"bag"), *lines[41:]]))
    third, repaired = scoring(even)
    third.wait_for([*range(60)], _ignore)
    third.stop()
    assert len(repaired.requests) == 20 and len(file.read_bytes().splitlines()) == 60


def test_a_run_that_was_stopped_goes_on(scoring, tmp_path):
    """The next one scores the rest."""
    reached, release = threading.Event(), threading.Event()

    class HeldStore(StateStore):
        def add(self, record, scores):
            super().add(record, scores)
            reached.set()
            assert release.wait(20)

    first, _ = scoring(even, HeldStore)
    assert reached.wait(20)
    stopping = threading.Thread(target=first.stop)
    stopping.start()
    release.set()
    stopping.join()
    (file,) = (tmp_path / "states").iterdir()
    kept = len(file.read_bytes().splitlines())
    second, backend = scoring(even)
    second.wait_for([*range(60)], _ignore)
    assert kept >= 1 and len(backend.requests) == 60 - kept


def test_a_failure_is_raised_where_questions_are_asked(scoring):
    """The error reaches the thread that asks for the scores."""
    found, _ = scoring(lambda _request: InternalError(detail="boom"))
    with pytest.raises(InternalError, match="boom"):
        found.wait_for([0], _ignore)
    with pytest.raises(InternalError, match="boom"):
        found.check()


def test_a_wait_can_be_ended(scoring):
    """By what its check raises, with the number of rows so far."""
    release = threading.Event()
    found, _ = scoring(lambda request: release.wait(20) and even(request))

    def check(done):
        raise ValueError(done)

    with pytest.raises(ValueError, match="0"):
        found.wait_for([0, 1], check)
    release.set()
    assert found.wait_for([0, 1], _ignore).labels == ("bug", "idea")
