"""Blocks of hidden states by layer: their names, their values, and which layers a calibration reads."""

from __future__ import annotations

import numpy as np
import pytest
from scripted import ScriptedBackend

from llmcli.fast_dataclass import replace
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.calibration.calibration import Calibration, Cascade
from llmcli.tasks.calibration.feature_blocks import (
    LAST,
    MEAN,
    PROBE,
    SCORES,
    read_layers,
    split_block,
    state_block,
    state_bytes,
    text_values,
)
from llmcli.tasks.calibration.label_calibration import CalibratedScores
from llmcli.tasks.calibration.model_selection import FitChoice, LinearScores, candidate_weights
from llmcli.tasks.calibration.record_features import score_features
from llmcli.tasks.labels.label_scorer import LabelScorer, ScorerOptions
from llmcli.tasks.labels.linear_probe import LinearProbe, encode_probe
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import HiddenStates

LABELS = ("positive", "negative")
STATES = HiddenStates("a", state_bytes([1, 2, 3, 4]), state_bytes([5, 6, 7, 8]), (3, 11))
BLOCKS = {"mean@3": [1, 2], "last@3": [5, 6], "mean@11": [3, 4], "last@11": [7, 8]}


def test_the_states_of_several_layers_are_blocks_of_their_own():
    assert {name: [*values] for name, values in text_values(STATES).items()} == BLOCKS
    features = score_features({}, STATES)
    assert {name: row[0].tolist() for name, row in features.blocks.items() if name != SCORES} == BLOCKS
    last = HiddenStates("a", STATES.mean, STATES.last)
    assert {name: len(values) for name, values in text_values(last).items()} == {MEAN: 4, LAST: 4}


def test_a_name_tells_the_layer():
    assert [split_block(name) for name in (SCORES, MEAN, state_block(LAST, 17))] == [
        (SCORES, None),
        (MEAN, None),
        (LAST, 17),
    ]
    assert read_layers([SCORES, MEAN]) == ()
    assert read_layers(BLOCKS) == (3, 11)


def test_a_combination_has_the_states_of_all_layers():
    """Or none; what has states with a probe has that too."""
    states = {"last@3": 1.0, "last@11": 1.0, "mean@3": 0.7, "mean@11": 0.7}
    names = [SCORES, *BLOCKS]
    assert candidate_weights(names) == [{SCORES: 1.0}, states, {SCORES: 0.5, **states}]
    with_probe = candidate_weights([*names, PROBE])
    assert with_probe == [{PROBE: 3.0}, {PROBE: 3.0, **states}, {PROBE: 3.0, SCORES: 0.5, **states}]
    assert candidate_weights([SCORES]) == [{SCORES: 1.0}]
    assert candidate_weights([SCORES, MEAN, LAST])[1] == {LAST: 1.0, MEAN: 0.7}


def make_scorer(tmp_path, layers=30, **options) -> LabelScorer:
    (tmp_path / "sentiment.yaml").write_text(
        'description: d\nuser: "{{ text }}"\noutput: {labels: [positive, negative]}\n'
    )
    backend = ScriptedBackend()
    info = replace(backend.info(), layers=layers)
    backend.info = lambda: info
    prompt = PromptLibrary(tmp_path).get("sentiment")
    return LabelScorer(backend, prompt, LABELS, GenerationOptions(), ScorerOptions({}, **options))


def make_calibration(*blocks: str) -> CalibratedScores:
    coefficients = {name: [[1.0, -1.0]] * (2 if name == SCORES else 1) for name in blocks}
    scores = LinearScores(coefficients, [0.0, 0.0])
    return CalibratedScores(Calibration(LABELS, (0, 1), scores, FitChoice({}, 1.0, 1.0), [0, 1]))


def test_a_calibration_asks_for_what_it_uses(tmp_path):
    """Without label scores, the evaluation ends after its layer."""
    scorer = make_scorer(tmp_path, calibrator=make_calibration("last@11"))
    request = scorer.make_request("a", "x", {})
    assert (request.candidates, request.hidden_states, request.state_layers) == ((), True, (11,))
    scorer = make_scorer(tmp_path, calibrator=make_calibration("last@11", SCORES))
    request = scorer.make_request("a", "x", {})
    assert (request.candidates, request.state_layers) == (LABELS, (11,))
    request = make_scorer(tmp_path, calibrator=make_calibration(LAST)).make_request("a", "x", {})
    assert (request.hidden_states, request.state_layers) == (True, ())  # as one made before layers could be chosen
    request = make_scorer(tmp_path, calibrator=make_calibration(SCORES)).make_request("a", "x", {})
    assert (request.candidates, request.hidden_states) == (LABELS, False)


def test_a_fit_reads_all_layers_to_choose_from_and_that_of_the_probe(tmp_path):
    assert make_scorer(tmp_path).make_request("a", "x", {}, hidden_states=True).state_layers == (18, 22)
    assert make_scorer(tmp_path, layers=None).make_request("a", "x", {}, hidden_states=True).state_layers == ()
    probe = LinearProbe("scripted-id", [["user", ""]], LABELS, [0.0, 0.0], {"mean@17": [[1.0], [-1.0]]})
    (tmp_path / "probe.json").write_text(encode_probe(probe))
    scorer = make_scorer(tmp_path, probe=tmp_path / "probe.json")
    assert scorer.make_request("a", "x", {}, hidden_states=True).state_layers == (17, 18, 22)
    request = scorer.make_request("a", "x", {})
    assert (request.candidates, request.state_layers) == ((), (17,))


@pytest.mark.parametrize("second", [("last@11", "last@13"), (SCORES, "last@11")])
def test_a_cascade_knows_its_second_stage_by_what_it_asked_for(tmp_path, second):
    """More layers, or scores: the answer is that of the second regression."""
    blocks = {name: [[0.0, 0.0]] * 2 if name == SCORES else [[0.0, 3.0]] for name in second}
    cascade = Cascade(LinearScores(blocks, [0.0, 0.0]), FitChoice({}, 1.0, 1.0), 0.5)
    first = LinearScores({"last@11": [[1.0, -1.0]]}, [0.0, 0.0])
    calibrator = CalibratedScores(Calibration(LABELS, (0, 1), first, FitChoice({}, 1.0, 1.0), [0, 1], cascade=cascade))
    scorer = make_scorer(tmp_path, calibrator=calibrator)
    assert (scorer.make_request("a", "x", {}).candidates, scorer.make_request("a", "x", {}).state_layers) == ((), (11,))
    again = scorer.make_request("a", "x", {}, second_stage=calibrator.second_stage)
    raw = dict.fromkeys(again.candidates, -0.7)
    assert bool(raw) is (SCORES in second) and again.hidden_states
    one = np.ones(1, "<f4").tobytes()
    sure = calibrator.calibrate({}, HiddenStates("a", one, one, (11,)))
    states = one * len(again.state_layers)
    unsure = calibrator.calibrate(raw, HiddenStates("a", states, states, again.state_layers))
    assert sure["positive"] > 0.8 and unsure["negative"] > 0.8
