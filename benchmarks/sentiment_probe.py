"""Fit the linear probe of `llm sentiment` for the starter, and write the file that ships with llm.

`llmcli/tasks/sentiment_probe.json` depends on the model, on the prompt file and on `llmcli/tasks/sentiment_texts.yaml`:
run this again after a change of one of them. `benchmarks/sentiment_quality.py` then measures what it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import common
import numpy as np
from numpy.typing import NDArray
from sentiment_quality import builtin_prompts, open_with_weights
from threadpoolctl import threadpool_limits

from llmcli.backends.base import Backend, run_requests
from llmcli.fast_dataclass import replace
from llmcli.prompts.prompt_file import Prompt
from llmcli.settings import DERIVED_TYPES, ORIGINAL_WEIGHTS
from llmcli.tasks.calibration.feature_blocks import MEAN, read_layers, state_block, text_values
from llmcli.tasks.calibration.feature_set import FeatureSet, Matrix, concatenate
from llmcli.tasks.calibration.feature_space import BlockScale, measure_scale
from llmcli.tasks.calibration.model_selection import FitChoice, fit_choice
from llmcli.tasks.labels.label_scorer import LabelScorer, ScorerOptions
from llmcli.tasks.labels.linear_probe import LinearProbe, encode_probe, message_texts
from llmcli.tasks.layer_choice import SENTIMENT_TEXTS, load_texts
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.sentiment import PROBE_FILE, PROMPT
from llmcli.types import HiddenStates

TYPES = ",".join((*DERIVED_TYPES, ORIGINAL_WEIGHTS))
_PENALTY_OF_TYPE = 0.4
"""The states of a text in several types are hardly independent, so the penalty grows with the number of types."""
_TEMPERATURE = 0.85
_TYPE_VARIANCE = 10.0
"""How much the variance between types of weights counts, times the mean variance of a feature."""
_BLOCKS = {state_block(MEAN, 17): 1.0}
"""The weights of the blocks of features. Fixed, since the texts are few and of other kinds than those of users.

The mean over a text's own tokens after layer 17 of 30 is right more often on texts of other kinds than the last layer's
states: .843 of 400 rows of each rated set, .819 at layer 30; .836 at layer 15, .821 at 18. The state of the last token
adds accuracy only from layer 22 on, and the scores of the labels add nothing.

The states change with the type of the weights: over the whole prompt the mean of the last layer by 1.4% of its length
from Q4_1 to BF16, and from text to text by 1.6%. What the types differ by is the same in all tokens of the examples,
which the mean over the text leaves out. Directions in which the types differ are shrunk before the fit as well
(within-class covariance normalization, Hatch et al. 2006, with the types of one text as a class). Penalty, temperature
and variance were chosen on 600 rows of each rated set for accuracy, calibration, and labels that agree between types.
"""


def read_states(scorer: LabelScorer, backend: Backend, texts: Sequence[str]) -> FeatureSet:
    """Return the hidden states of the texts in the prompt of ``scorer``."""
    made = [scorer.make_request(str(number), text, {}, hidden_states=True) for number, text in enumerate(texts)]
    requests = [replace(each, candidates=(), state_layers=read_layers(_BLOCKS)) for each in made]
    states = {each.id: each for each in run_requests(backend, requests) if isinstance(each, HiddenStates)}
    values = [text_values(states[request.id]) for request in requests]
    return FeatureSet({name: np.array([each[name] for each in values]) for name in _BLOCKS})


def fit_probe(model: str, types: Sequence[str], prompt: Prompt, labelled: Mapping[str, Sequence[str]]) -> LinearProbe:
    """Return the probe for a model and a prompt from texts by label, with their states in each type of weights."""
    texts = [(text, label) for label in prompt.labels for text in labelled[label]]
    targets = np.array([prompt.labels.index(label) for _, label in texts], dtype=np.intp)
    options, states = ScorerOptions({}, corrects_prior=False), []
    for weights in types:
        with open_with_weights(model, weights) as backend:
            scorer = LabelScorer(backend, prompt, prompt.labels, GenerationOptions(), options)
            states.append(read_states(scorer, backend, [text for text, _ in texts]))
            model_id, messages = backend.info().model_id, message_texts(scorer.make_request("", "", {}))
    coefficients, bias = fit_across_types(states, targets, len(prompt.labels))
    rows = {name: matrix.T.tolist() for name, matrix in coefficients.items()}
    return LinearProbe(model_id, messages, list(prompt.labels), bias.tolist(), rows)


def fit_across_types(
    states: Sequence[FeatureSet], targets: NDArray[np.intp], classes: int
) -> tuple[dict[str, Matrix], Matrix]:
    """Return coefficients by block (width, classes) and bias, from the states of the same texts in each type of weights."""
    features = concatenate(states)
    scales = [measure_scale(features.blocks[name]) for name in _BLOCKS]
    scales = [BlockScale(each.mean, weight * each.scale) for each, weight in zip(scales, _BLOCKS.values(), strict=True)]
    parts = [scale.apply(features.blocks[name]) for name, scale in zip(_BLOCKS, scales, strict=True)]
    matrix = np.concatenate(parts, axis=1)
    by_type = matrix.reshape(len(states), len(targets), -1)
    differences = (by_type - by_type.mean(axis=0)).reshape(matrix.shape)
    variances, directions = np.linalg.eigh(differences.T @ differences / len(matrix))
    mean_variance = (matrix**2).mean()
    shrunk = 1 / np.sqrt(1 + _TYPE_VARIANCE * np.maximum(variances, 0) / mean_variance)
    normalize = (directions * shrunk) @ directions.T
    whole, width = "states", matrix.shape[1]
    choice = FitChoice({whole: 1.0}, penalty=len(states) * _PENALTY_OF_TYPE, temperature=_TEMPERATURE)
    unscaled = {whole: BlockScale(np.zeros(width), np.ones(width))}
    with threadpool_limits(limits=1, user_api="blas"):
        repeated = np.tile(targets, len(states))
        fitted = fit_choice(FeatureSet({whole: matrix @ normalize}), repeated, classes, choice, unscaled)
    rows = normalize @ fitted.coefficients[whole]
    ends = np.cumsum([len(scale.mean) for scale in scales])[:-1]
    found = {
        name: part * scale.scale[:, None]
        for name, part, scale in zip(_BLOCKS, np.split(rows, ends), scales, strict=True)
    }
    shift = sum(scale.mean @ found[name] for name, scale in zip(_BLOCKS, scales, strict=True))
    return found, np.asarray(fitted.bias - shift)


def main() -> None:
    """Fit and write."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--weights", default=TYPES, help=f"types of weights that give the states (default: {TYPES})")
    parser.add_argument("--output", type=Path, default=PROBE_FILE)
    options = parser.parse_args()
    prompt, labelled = builtin_prompts().get(PROMPT), load_texts(SENTIMENT_TEXTS)
    probe = fit_probe(common.model_path(options.model), options.weights.split(","), prompt, labelled)
    options.output.write_text(encode_probe(probe), encoding="utf-8")


if __name__ == "__main__":
    main()
