"""A calibration of a verb whose probe ships with llm: the probe's scores are among its features."""

from __future__ import annotations

import numpy as np
import pytest
from scripted import ScriptedBackend

from llmcli.documents.records.record import Record
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, PROBE
from llmcli.tasks.calibration.label_calibration import CalibratedScores, fit_labels
from llmcli.tasks.labels.label_scorer import LabelScorer, ScorerOptions
from llmcli.tasks.labels.linear_probe import LinearProbe, encode_probe, load_probe
from llmcli.tasks.labels.scored_records import ScoredRecord
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import HiddenStates

LABELS = ["positive", "negative"]
WIDTH = 100
RAW = dict.fromkeys(LABELS, float(np.log(0.5)))
"""The scores of the labels tell nothing."""


@pytest.fixture
def scorer(tmp_path):
    """Return a scorer with a probe that knows the direction of the labels."""
    directory = tmp_path / "prompts"
    directory.mkdir()
    (directory / "sentiment.yaml").write_text(
        'description: d\nuser: "{{ text }}"\noutput: {labels: [positive, negative]}\n'
    )
    direction = [1.0] + [0.0] * (WIDTH - 1)
    against = [-1.0] + [0.0] * (WIDTH - 1)
    zeros = [[0.0] * WIDTH] * 2
    probe = LinearProbe("scripted-id", [["user", ""]], LABELS, [0.0, 0.0], {LAST: [direction, against], MEAN: zeros})
    (tmp_path / "probe.json").write_text(encode_probe(probe))
    options = ScorerOptions({}, probe=tmp_path / "probe.json")
    prompt = PromptLibrary(directory).get("sentiment")
    return LabelScorer(ScriptedBackend(), prompt, LABELS, GenerationOptions(), options)


def rows_of(scorer, count, seed):
    """Return scored records whose states tell the label in one of their directions, and the labels."""
    random = np.random.default_rng(seed)
    signs = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
    last, mean = random.normal(size=(2, count, WIDTH))
    last[:, 0] = 2 * signs + random.normal(size=count)
    scored = []
    for row in range(count):
        states = HiddenStates(str(row), mean[row].astype("<f4").tobytes(), last[row].astype("<f4").tobytes())
        scored.append(ScoredRecord(Record(row, "x", row), scorer.correct_scores(RAW, states), states))
    return scored, [LABELS[0] if sign > 0 else LABELS[1] for sign in signs]


@pytest.mark.slow
def test_few_labels_do_not_make_the_probe_worse(scorer):
    """With 24 labels, the hidden states alone would be right much less often; a saved calibration needs no probe."""
    scored, labels = rows_of(scorer, 24, 0)
    problem = fit_labels(scored, labels, scorer)
    assert PROBE in problem.calibration.choice.weights and {*problem.calibration.blocks} <= {"scores", LAST, MEAN}
    calibrator = CalibratedScores(problem.calibration)
    assert calibrator.needs_hidden_states
    tests, truth = rows_of(scorer, 400, 1)
    alone = [max(each.scores.probabilities, key=each.scores.probabilities.get) for each in tests]
    found = [calibrator.calibrate(RAW, each.states) for each in tests]
    chosen = [max(each, key=each.get) for each in found]
    assert np.mean(np.array(alone) == truth) > 0.95
    assert np.mean(np.array(chosen) == truth) > 0.93
    assert problem.gain.before.accuracy.value > 0.9


def test_the_probe_counts_where_it_is_used(scorer, tmp_path):
    """Without prior correction, or without hidden states, there is none."""
    assert scorer.probe is not None and scorer.calibrator is scorer.probe
    options = ScorerOptions({}, corrects_prior=False, probe=tmp_path / "probe.json")
    plain = LabelScorer(ScriptedBackend(), scorer.prompt, LABELS, GenerationOptions(), options)
    assert plain.probe is None and plain.calibrator is None
    calibrated = ScorerOptions({}, calibrator=load_probe(tmp_path / "probe.json"), probe=tmp_path / "probe.json")
    with_calibrator = LabelScorer(ScriptedBackend(), scorer.prompt, LABELS, GenerationOptions(), calibrated)
    assert with_calibrator.probe is None and with_calibrator.calibrator is calibrated.calibrator
