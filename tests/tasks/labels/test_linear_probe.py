"""The linear probe that tells the labels from a model's hidden states, and when it is used."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from scripted import ScriptedBackend, last_message

from llmcli.documents.records.record import Record
from llmcli.errors import Unsupported
from llmcli.models.catalogue import load_catalogue
from llmcli.prompts.prompt_library import PromptLibrary, builtin_directory
from llmcli.tasks import sentiment
from llmcli.tasks.labels.label_scorer import LabelScorer, ScorerOptions
from llmcli.tasks.labels.label_spec import LabelOptions
from llmcli.tasks.labels.linear_probe import LinearProbe, encode_probe, load_probe
from llmcli.tasks.runner.record_runner import run_records
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.sentiment import PROBE_FILE
from llmcli.types import HiddenStates, Message, Request, Result, Role

PROMPT = """\
description: d
user: "{{ text }}"
content_free: [N/A]
output: {labels: [positive, negative]}
"""
LABELS = ["positive", "negative"]
PROBE = LinearProbe(
    "scripted-id",
    [["user", ""]],
    LABELS,
    [0.5, -0.5],
    {"mean": [[1.0, -1.0], [-1.0, 1.0]], "last": [[1.0, 0.0], [0.0, 1.0]]},
)


def states(text):
    """Return states that tell fine from poor texts."""
    return struct.pack("<2f", "fine" in text, "poor" in text)


def answer(request):
    """The states tell the labels apart, the scores do not."""
    return states(last_message(request)) if request.hidden_states else dict.fromkeys(request.candidates, -1.0)


def test_probabilities_are_a_softmax_of_the_products():
    """Of the coefficients of both blocks with the states, plus the bias."""
    found = PROBE.calibrate({}, HiddenStates("x", states("fine"), states("fine")))
    assert found["positive"] == pytest.approx(1 / (1 + math.exp((-0.5 - 1) - (0.5 + 2))))
    assert math.fsum(found.values()) == pytest.approx(1)


def test_a_record_without_states_is_an_error():
    """It has no probabilities that could be compared with those of the others."""
    with pytest.raises(Unsupported):
        PROBE.calibrate({}, None)


def test_the_file_holds_the_probe(tmp_path):
    """It is read as it was written."""
    file = tmp_path / "probe.json"
    file.write_text(encode_probe(PROBE))
    found = load_probe(file)
    assert (found.model_id, found.messages, found.labels, found.bias) == (
        "scripted-id",
        [["user", ""]],
        LABELS,
        [0.5, -0.5],
    )
    assert {name: [list(row) for row in rows] for name, rows in found.coefficients.items()} == PROBE.coefficients


@pytest.mark.parametrize(
    ("model_id", "text", "labels", "fits"),
    [
        ("scripted-id", "", LABELS, True),
        ("scripted-id+lora-1", "", LABELS, False),
        ("scripted-id", "Review:", LABELS, False),
        ("scripted-id", "", ["negative", "positive"], False),
    ],
)
def test_it_fits_one_model_and_one_prompt(model_id, text, labels, fits):
    """With other weights or another prompt, the states mean something else."""
    request = Request("", (Message(Role.USER, text),), candidates=tuple(labels))
    assert PROBE.fits(model_id, request) == fits


def test_the_file_of_sentiment_fits_the_starter_and_the_prompt():
    """As they are now: otherwise run ``benchmarks/sentiment_probe.py``."""
    prompt, starter = PromptLibrary(builtin_directory()).get(sentiment.PROMPT), load_catalogue()["smollm2-135m"]
    backend = ScriptedBackend(answer)
    scorer = LabelScorer(backend, prompt, prompt.labels, GenerationOptions(), ScorerOptions({}, corrects_prior=False))
    assert load_probe(PROBE_FILE).fits(starter.pin.sha256, scorer.make_request("", "", {}))


@pytest.mark.parametrize(
    ("model", "options", "calibrator", "used"),
    [
        ("scripted", LabelOptions(), None, True),
        ("other", LabelOptions(), None, False),
        ("scripted", LabelOptions(examples=(("x", "positive"),)), None, False),
        ("scripted", LabelOptions(examples=(("x", "positive"),) * 9), None, False),
        ("scripted", LabelOptions(), PROBE, True),
    ],
)
def test_sentiment_uses_the_probe(tmp_path, monkeypatch, model, options, calibrator, used):
    """Of the model that answers, unless the user's examples change the prompt."""
    (tmp_path / "sentiment.yaml").write_text(PROMPT)
    probe: Path = tmp_path / "probe.json"
    probe.write_text(encode_probe(PROBE))
    monkeypatch.setattr(sentiment, "PROBE_FILE", probe)
    backend = ScriptedBackend(answer, model=model)
    prompts = PromptLibrary(tmp_path / "own", tmp_path)
    spec = sentiment.sentiment_spec(prompts, options)
    verb = spec.make_task(spec.make_scorer(backend, GenerationOptions(), calibrator=calibrator))
    records = [Record(number, text, number + 1) for number, text in enumerate(["a fine walk", "a poor walk"])]
    found = [each.fields["label"] for each in run_records(backend, records, verb) if isinstance(each, Result)]
    assert found == (["positive", "negative"] if used else ["positive", "positive"])
    asked = [request for request in backend.requests if request.candidates or not options.chooses_examples]
    assert all((request.hidden_states, not request.candidates) == (used, used) for request in asked)
    assert not (used and any(request.id.startswith("prior") for request in backend.requests))
