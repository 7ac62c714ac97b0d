"""The chosen layers are the earliest that tell the sentiment and the topic of texts about as well as any."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from scripted import LayerStates, ScriptedBackend, last_message

from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks import layer_choice
from llmcli.tasks.layer_choice import SENTIMENT_TEXTS, TOPIC_TEXTS, load_texts, measure_layers
from llmcli.types import StateLayers

WIDTH = 48


def knowing(sentiment_from: int, topic_from: int):
    """Return answers whose states tell sentiment and topic after some layers only."""
    labels = {text: n for n, some in enumerate(load_texts(SENTIMENT_TEXTS).values()) for text in some}
    topics = {text: n for n, some in enumerate(load_texts(TOPIC_TEXTS).values()) for text in some}
    longest_first = {id(known): sorted(known, key=len, reverse=True) for known in (labels, topics)}

    def answer(request) -> LayerStates:
        said = last_message(request)
        known = labels if request.messages else topics
        number = next(known[text] for text in longest_first[id(known)] if text in said)
        first = sentiment_from if request.messages else topic_from

        def read(layer: int) -> bytes:
            states = np.random.default_rng(zlib.crc32(f"{said}{layer}".encode())).normal(size=WIDTH)
            states[number] += 12.0 * (layer >= first)
            return states.astype("<f4").tobytes()

        return LayerStates(read)

    return answer


@pytest.fixture
def prompts(tmp_path):
    return PromptLibrary(tmp_path)


def test_the_earliest_layers_that_tell_it_are_chosen(prompts):
    """Of those that are tried, at half of the depth and more; the best one for labels is a second choice for calibrations."""
    backend = ScriptedBackend(knowing(13, 15), layers=20, context=100_000)
    steps: list[tuple[int, int]] = []
    found = measure_layers(backend, prompts, lambda done, total: steps.append((done, total)))
    assert found is not None and found.labels[0] == 13 and len(found.labels) <= 2 and found.vector == 15
    assert steps[0][0] == 0 and steps[-1][0] == steps[-1][1] == len(backend.requests)
    assert {each.state_layers for each in backend.requests} == {(10, 11, 12, 13, 14, 15, 17, 19)}
    assert not any(each.candidates or each.max_tokens for each in backend.requests)


def test_no_layer_tells_more_than_the_others(prompts):
    """Then the first one is as good as any, and there is one only, even without anything in the states."""
    states = np.ones(WIDTH, "<f4").tobytes()
    found = measure_layers(ScriptedBackend(lambda _: states, layers=20, context=100_000), prompts)
    assert found == StateLayers((10,), 10)


@pytest.mark.parametrize("how", [{"layers": None}, {"layers": 4}, {"layers": 20, "context": 60}])
def test_models_that_are_not_measured(prompts, how):
    """Where only the last layer can be read, or there are few, or the prompt does not fit."""
    backend = ScriptedBackend(knowing(1, 1), **how)
    assert measure_layers(backend, prompts) is None and backend.requests == []


def test_the_bundled_texts_are_enough():
    """Of each sentiment and topic, none twice."""
    sentiments, topics = load_texts(SENTIMENT_TEXTS), load_texts(TOPIC_TEXTS)
    assert min(map(len, sentiments.values())) >= layer_choice.TEXTS_PER_LABEL
    assert len(topics) >= 10 and {len(some) for some in topics.values()} == {5}
    for texts in (sentiments, topics):
        every = [text for some in texts.values() for text in some]
        assert len(set(every)) == len(every)


def test_the_time_grows_with_the_model():
    assert layer_choice.estimate_seconds(135_000_000) < 10 < layer_choice.estimate_seconds(8_000_000_000)
