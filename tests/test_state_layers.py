"""The layers of a model that are read: known, measured, or at a share of its depth."""

from __future__ import annotations

import pytest

from llmcli.models.catalogue import load_catalogue
from llmcli.state_layers import (
    choose_layers,
    layers_file,
    load_layers,
    save_layers,
    sentence_layers,
    vector_layers,
)
from llmcli.types import BackendInfo, StateLayers

MEASURED = StateLayers((5, 6), 7)


def info(model_id: str = "unknown", layers: int | None = 30, **more) -> BackendInfo:
    return BackendInfo("m", model_id, 512, layers=layers, **more)


@pytest.mark.parametrize(
    ("layers", "chosen"),
    [(2, StateLayers((1,), 1)), (30, StateLayers((18, 22), 24)), (18, StateLayers((11, 14), 14))],
)
def test_layers_of_a_model_that_was_not_measured_are_shares_of_its_depth(layers, chosen):
    assert choose_layers(info(layers=layers)) == chosen
    assert vector_layers(info(layers=layers)) == (chosen.vector,)


@pytest.mark.parametrize(("layers", "sentences"), [(2, 1), (18, 7), (30, 12)])
def test_key_sentences_are_chosen_by_an_early_layer(layers, sentences):
    """Also of models whose layers for labels and vectors are known."""
    assert sentence_layers(info(layers=layers)) == (sentences,)
    assert sentence_layers(info(layers=layers, measured_layers=MEASURED)) == (sentences,)


@pytest.mark.parametrize("layers", [None, 1])
def test_only_the_last_layer_can_be_read_of_servers_and_some_architectures(layers):
    assert choose_layers(info(layers=layers)) is None
    assert vector_layers(info(layers=layers)) == sentence_layers(info(layers=layers)) == ()


def test_layers_of_known_models_are_shipped():
    """With an adapter too, and whatever was measured here."""
    starter = load_catalogue()["smollm2-135m"].pin.sha256
    known = StateLayers((17, 22), 24)
    assert choose_layers(info(starter)) == choose_layers(info(starter + "+lora-0")) == known
    assert choose_layers(info(starter, measured_layers=MEASURED)) == known


def test_measured_layers_are_used(tmp_path):
    """What ``llm models tune`` kept is found again; a damaged file counts as none."""
    assert load_layers(tmp_path, "m") is None
    save_layers(tmp_path, "m", MEASURED)
    assert load_layers(tmp_path, "m") == MEASURED
    assert choose_layers(info(measured_layers=load_layers(tmp_path, "m"))) == MEASURED
    for content in ("{", "[]", '{"labels": 3, "vector": 1}', '{"labels": [1], "vector": "x"}'):
        layers_file(tmp_path, "m").write_text(content)
        assert load_layers(tmp_path, "m") is None
