"""Fit the linear probe of `llm sentiment` for the starter, and write the file that ships with llm.

`llmcli/tasks/sentiment_probe.json` depends on the model, on the prompt file and on `sentiment_texts.yaml`: run this again
after a change of one of them. `benchmarks/sentiment_quality.py` then measures what it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import common
import numpy as np
import yaml
from sentiment_quality import builtin_prompts, open_with_weights
from threadpoolctl import threadpool_limits

from llmcli.backends.base import Backend, run_requests
from llmcli.prompts import Prompt
from llmcli.settings import DERIVED_TYPES, ORIGINAL_WEIGHTS
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, text_values
from llmcli.tasks.calibration.feature_set import FeatureSet, concatenate
from llmcli.tasks.calibration.model_selection import FitChoice, fit_choice
from llmcli.tasks.classification.label_scorer import LabelScorer, ScorerOptions
from llmcli.tasks.classification.linear_probe import LinearProbe, encode_probe, message_texts
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.sentiment import PROBE_FILE, PROMPT
from llmcli.types import HiddenStates

TEXTS = Path(__file__).with_name("sentiment_texts.yaml")
TYPES = ",".join((*DERIVED_TYPES, ORIGINAL_WEIGHTS))
_PENALTY_OF_TYPE = 0.5
"""The states of a text in several types are hardly independent, so the penalty grows with the number of types."""
_CHOICE = FitChoice({LAST: 1.0, MEAN: 1.0}, penalty=_PENALTY_OF_TYPE, temperature=1.0)
"""Fixed, since the texts are few and of other kinds than those of users; chosen on even rows of the rated sets.

The mean state helps with tweets. It changes with the type of the weights: from Q4_1 to BF16 by 1.4% of its length, and
from text to text by 1.6%. A probe fitted in BF16 alone takes that shift for praise, one fitted in these two that to Q8_0, so
the states of all types are used.
The scores of the labels add nothing to the states.
"""


def read_states(scorer: LabelScorer, backend: Backend, texts: Sequence[str]) -> FeatureSet:
    """Return the hidden states of the texts in the prompt of ``scorer``."""
    requests = [scorer.make_request(str(number), text, {}, hidden_states=True) for number, text in enumerate(texts)]
    states = {each.id: each for each in run_requests(backend, requests) if isinstance(each, HiddenStates)}
    values = [text_values(states[request.id]) for request in requests]
    return FeatureSet({name: np.array([each[name] for each in values]) for name in (LAST, MEAN)})


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
    with threadpool_limits(limits=1, user_api="blas"):
        choice = replace(_CHOICE, penalty=len(types) * _CHOICE.penalty)
        fitted = fit_choice(concatenate(states), np.tile(targets, len(types)), len(prompt.labels), choice)
    coefficients = {name: matrix.T.tolist() for name, matrix in fitted.coefficients.items()}
    return LinearProbe(model_id, messages, list(prompt.labels), fitted.bias.tolist(), coefficients)


def main() -> None:
    """Fit and write."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--weights", default=TYPES, help=f"types of weights that give the states (default: {TYPES})")
    parser.add_argument("--output", type=Path, default=PROBE_FILE)
    options = parser.parse_args()
    prompt, labelled = builtin_prompts().get(PROMPT), yaml.safe_load(TEXTS.read_text(encoding="utf-8"))
    probe = fit_probe(common.model_path(options.model), options.weights.split(","), prompt, labelled)
    options.output.write_text(encode_probe(probe), encoding="utf-8")


if __name__ == "__main__":
    main()
