"""What a small model learns from the labelled texts of a prompt file."""

from __future__ import annotations

import json
import math
import struct

import pytest
from scripted import ScoredStates, ScriptedBackend, last_message

from llmcli.documents.records.record import Record
from llmcli.errors import InternalError, Unsupported
from llmcli.prompts import PromptLibrary
from llmcli.tasks.classification.prompt_calibrator import MAX_PARAMETERS, MIN_PARAMETERS, calibrate_prompt, can_learn
from llmcli.tasks.classify import ClassifyOptions
from llmcli.tasks.execution.record_jobs import run_record_jobs
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.sentiment import SentimentVerb
from llmcli.types import HiddenStates, Message, Request, Result, Role

LABELS = ("good", "bad")
TEXTS = {"a fine day": "good", "a fine meal": "good", "a poor day": "bad", "a poor meal": "bad"}
PROMPT = """\
description: d
user: "{{ text }}"
content_free: [N/A]
labelled_texts:
  positive: [a fine day, a fine meal]
  negative: [a poor day, a poor meal]
output: {labels: [positive, negative]}
"""
SMALL = 135_000_000


def answer(request):
    """The states tell the labels apart, the scores do not."""
    text = last_message(request)
    states = struct.pack("<2f", "fine" in text, "poor" in text) if request.hidden_states else None
    scores = dict.fromkeys(request.candidates, math.log(1 / len(request.candidates)))
    return scores if states is None else ScoredStates(states, scores)


def requests():
    return [
        Request(f"text.{number}", (Message(Role.USER, text),), candidates=LABELS, hidden_states=True)
        for number, text in enumerate(TEXTS)
    ]


def calibrate(backend, directory=None):
    return calibrate_prompt(backend, requests(), [*TEXTS.values()], directory)


def test_the_states_tell_the_label():
    """Of texts that are like those of the prompt file."""
    found = calibrate(ScriptedBackend(answer))
    scored = answer(Request("x", (Message(Role.USER, "a fine evening"),), candidates=LABELS, hidden_states=True))
    probabilities = found.calibrate(scored.scores, HiddenStates("x", scored.states, scored.states))
    assert probabilities["good"] > 0.6 and math.fsum(probabilities.values()) == pytest.approx(1)


def test_a_record_without_states_is_an_error():
    """It has no probabilities that could be compared with those of the others."""
    with pytest.raises(Unsupported):
        calibrate(ScriptedBackend(answer)).calibrate(dict.fromkeys(LABELS, -1.0), None)


def test_the_cache_keeps_it(tmp_path):
    """The texts are read once for a model; another model reads them again."""
    backend = ScriptedBackend(answer)
    first = calibrate(backend, tmp_path)
    again = calibrate(backend, tmp_path)
    assert len(backend.requests) == len(TEXTS)
    assert again.bias == pytest.approx(first.bias, abs=1e-6) and again.labels == first.labels
    calibrate(ScriptedBackend(answer, model="other"), tmp_path)
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize("damage", [{"bias": "?"}, {"bias": "AAA="}, {"coefficients": {"last": []}}, {"key": ""}, None])
def test_a_damaged_cache_is_made_again(tmp_path, damage):
    """Whatever the file holds."""
    backend = ScriptedBackend(answer)
    calibrate(backend, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text("[]" if damage is None else json.dumps({**json.loads(file.read_text()), **damage}))
    assert calibrate(backend, tmp_path).labels == LABELS
    assert len(backend.requests) == 2 * len(TEXTS)


def test_without_states_there_is_none():
    """A server that has none, or refuses them, leaves the correction to the prior."""
    plain = ScriptedBackend(lambda request: dict.fromkeys(request.candidates, -1.0))
    assert calibrate(plain) is None
    assert calibrate(ScriptedBackend(lambda request: Unsupported("hidden states"))) is None


def test_a_failure_is_raised():
    """It would come back with every record."""
    with pytest.raises(InternalError):
        calibrate(ScriptedBackend(lambda request: InternalError("no")))


def test_the_size_of_the_model_decides():
    """Large models answer well without it; one of unknown size is on a server."""
    assert can_learn(SMALL) and not can_learn(None)
    assert not can_learn(MIN_PARAMETERS - 1) and not can_learn(MAX_PARAMETERS + 1)


@pytest.mark.parametrize(
    ("parameters", "options", "learns"),
    [
        (SMALL, ClassifyOptions(), True),
        (None, ClassifyOptions(), False),
        (SMALL, ClassifyOptions(corrects_prior=False), False),
        (SMALL, ClassifyOptions(examples=(("x", "positive"),)), False),
    ],
)
def test_sentiment_learns_from_the_texts(tmp_path, parameters, options, learns):
    """Once, for all records, unless examples of the user's own change the prompt."""
    (tmp_path / "sentiment.yaml").write_text(PROMPT)
    backend = ScriptedBackend(answer, parameters=parameters)
    verb = SentimentVerb(backend, PromptLibrary(tmp_path), GenerationOptions(), options)
    records = [Record(number, text, number + 1) for number, text in enumerate(["a fine walk", "a poor walk"])]
    found = [each.fields["label"] for each in run_record_jobs(backend, records, verb) if isinstance(each, Result)]
    assert found == (["positive", "negative"] if learns else ["positive", "positive"])
    assert len([each for each in backend.requests if each.id.startswith("text.")]) == (4 if learns else 0)
