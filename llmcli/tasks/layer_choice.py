"""Measures which layers of a model are to be read, with texts whose sentiment and topic are known.

For labels, the sentiment is predicted from the states of each layer by cross-validation, as a calibration does. For
vectors, the texts of the same topic are to be nearest to each other. The earliest layer that is about as good as the
best one is chosen; for labels the best one too, so that a calibration can choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.backends.base import Backend
from llmcli.fast_dataclass import replace
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, state_block, text_values
from llmcli.tasks.labels.label_scorer import LabelScorer, ScorerOptions
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import ask_all
from llmcli.tasks.sentiment import PROMPT
from llmcli.types import HiddenStates, Request, StateLayers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Losses = NDArray[np.float64]

SENTIMENT_TEXTS = Path(__file__).with_name("sentiment_texts.yaml")
TOPIC_TEXTS = Path(__file__).with_name("topic_texts.yaml")
TEXTS_PER_LABEL = 50
_SHARES = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.85, 0.95)
"""Of a model's layers: those that are tried."""
_BLOCKS = {LAST: 1.0, MEAN: 0.7}
_BATCH_TEXTS = 30
_SMALLEST_NORM = 1e-12
_TOKENS, _SECONDS_PER_TOKEN_AND_PARAMETER = 6_000, 8e-12


def estimate_seconds(parameters: int) -> float:
    """Return how long ``measure_layers`` takes on two cores, roughly."""
    return _TOKENS * parameters * _SECONDS_PER_TOKEN_AND_PARAMETER


def measure_layers(
    backend: Backend, prompts: PromptLibrary, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> StateLayers | None:
    """Return the layers to read; None if only the last one can be read, or the context is too small.

    ``on_progress`` gets the number of texts that were read, and their total. Raises the failure of a request.
    """
    info = backend.info()
    if info.layers is None or info.layers < len(_SHARES):
        return None
    layers = tuple(sorted({round(share * info.layers) for share in _SHARES}))
    requests, labels = _sentiment_requests(backend, prompts, layers)
    topic_requests, topics = _topic_requests(layers)
    lengths, _ = backend.count(requests)
    if max(lengths) > info.context:
        return None
    states = _read_states(backend, [*requests, *topic_requests], on_progress)
    by_sentiment = _label_losses(states[: len(labels)], labels, layers)
    by_topic = _topic_losses(states[len(labels) :], topics, layers)
    best = min(layers, key=lambda layer: float(by_sentiment[layer].mean()))
    return StateLayers(tuple(sorted({_earliest(by_sentiment), best})), _earliest(by_topic))


def _sentiment_requests(
    backend: Backend, prompts: PromptLibrary, layers: tuple[int, ...]
) -> tuple[list[Request], list[str]]:
    prompt = prompts.get(PROMPT)
    scorer = LabelScorer(backend, prompt, prompt.labels, GenerationOptions(), ScorerOptions({}, corrects_prior=False))
    texts = [(text, label) for label, some in load_texts(SENTIMENT_TEXTS).items() for text in some[:TEXTS_PER_LABEL]]
    made = [scorer.make_request(f"label.{n}", text, {}, hidden_states=True) for n, (text, _) in enumerate(texts)]
    requests = [replace(each, candidates=(), state_layers=layers) for each in made]
    return requests, [label for _, label in texts]


def _topic_requests(layers: tuple[int, ...]) -> tuple[list[Request], list[str]]:
    texts = [(text, topic) for topic, some in load_texts(TOPIC_TEXTS).items() for text in some]
    requests = [
        Request(f"topic.{number}", (), prompt=text, hidden_states=True, state_layers=layers)
        for number, (text, _) in enumerate(texts)
    ]
    return requests, [topic for _, topic in texts]


def load_texts(file: Path) -> Mapping[str, Sequence[str]]:
    """Return the texts of a bundled file by their labels."""
    import yaml

    found: Mapping[str, Sequence[str]] = yaml.safe_load(file.read_text("utf-8"))
    return found


def _read_states(
    backend: Backend, requests: Sequence[Request], on_progress: Callable[[int, int], None]
) -> list[HiddenStates]:
    found: list[HiddenStates] = []
    for first in range(0, len(requests), _BATCH_TEXTS):
        on_progress(first, len(requests))
        answers = ask_all(backend, requests[first : first + _BATCH_TEXTS])
        found += [each.states for each in answers if each.states is not None]
    on_progress(len(requests), len(requests))
    return found


def _label_losses(states: Sequence[HiddenStates], labels: Sequence[str], layers: Sequence[int]) -> dict[int, Losses]:
    """Return the held-out log-loss of each text by layer."""
    import numpy as np

    from llmcli.tasks.calibration.cross_validation import make_folds
    from llmcli.tasks.calibration.feature_set import FeatureSet
    from llmcli.tasks.calibration.feature_space import make_space, measure_scales
    from llmcli.tasks.calibration.model_selection import SelectionOptions, try_blocks

    values = [text_values(each) for each in states]
    features = FeatureSet({name: np.array([each[name] for each in values]) for name in values[0]})
    names, targets = np.unique(labels, return_inverse=True)
    options, scales = SelectionOptions(), measure_scales(features)
    folds = make_folds(targets, options.folds, options.seed)
    found = {}
    for layer in layers:
        space = make_space(features, scales, {state_block(kind, layer): weight for kind, weight in _BLOCKS.items()})
        found[layer] = try_blocks(space, targets, len(names), options.penalties, folds).losses
    return found


def _topic_losses(states: Sequence[HiddenStates], topics: Sequence[str], layers: Sequence[int]) -> dict[int, Losses]:
    """Return, by layer, 1 less the average precision with which the texts of a text's topic are nearest to it."""
    import numpy as np

    same = np.array(topics)[:, None] == np.array(topics)
    values = [text_values(each) for each in states]
    found = {}
    for layer in layers:
        rows = np.array([each[state_block(MEAN, layer)] for each in values])
        rows -= rows.mean(axis=0)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _SMALLEST_NORM)
        similar = rows @ rows.T
        np.fill_diagonal(similar, -np.inf)
        nearest = np.argsort(-similar, axis=1, kind="stable")[:, :-1]
        hits = np.take_along_axis(same, nearest, axis=1)
        precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
        found[layer] = np.asarray(1 - (precision * hits).sum(axis=1) / hits.sum(axis=1))
    return found


def _earliest(losses: Mapping[int, Losses]) -> int:
    """Return the first layer that is about as good as the best one."""
    from llmcli.tasks.calibration.model_selection import is_as_good

    best = min(losses.values(), key=lambda each: float(each.mean()))
    return min(layer for layer, each in losses.items() if is_as_good(each, best))
