"""How right labels are by the layer whose hidden states a calibration reads, and what a record of it takes.

For the rated sets see `sentiment_quality.py`: rows whose text has an odd SHA-256. All layers of `--layers` are read in one
evaluation of the prompt of `llm sentiment`, with the scores of its labels. For each layer and each combination of features,
a calibration (`llm sentiment --calibrate`, without the probe that ships with llm) is fitted on `--labels` rows of each set,
in `--splits` random splits, and labels the others: accuracy and expected calibration error in ten bins, as means over
splits and sets. The layer "last" is what calibrations read before they read any other: the states after the norm, whose mean
is over the whole prompt. "ms" is the CPU time of a record in one thread, with what those features need and no more.

With `--other TYPE`, the same calibrations label the rows by the weights in that type too. "flips" is the share of rows
whose label differs, "difference" the mean difference of the probabilities.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import common
import numpy as np
from sentiment_quality import SETS, Rated, builtin_prompts, load, open_with_weights, sample

from llmcli.backends.base import Backend, run_requests
from llmcli.fast_dataclass import replace
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.tasks.calibration.calibration import FitOptions, fit
from llmcli.tasks.calibration.calibration_figures import measure_figures
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, SCORES, state_block
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.model_selection import SelectionOptions
from llmcli.tasks.calibration.record_features import record_features
from llmcli.tasks.classify import ClassifyOptions
from llmcli.tasks.labels.label_scorer import LabelScorer
from llmcli.tasks.labels.label_scores import label_logprobs
from llmcli.tasks.labels.scored_records import ScoredRecord, labelled_records
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.sentiment import NEGATIVE, POSITIVE, SentimentTask
from llmcli.types import CandidateScores, Finished, FinishReason, HiddenStates

LABELS = (POSITIVE, NEGATIVE)
COMBINATIONS: dict[str, dict[str, float]] = {
    "last": {LAST: 1.0},
    "last, mean": {LAST: 1.0, MEAN: 0.7},
    "scores, last": {SCORES: 0.5, LAST: 1.0},
    "scores, last, mean": {SCORES: 0.5, LAST: 1.0, MEAN: 0.7},
}


def make_scorer(backend: Backend) -> LabelScorer:
    """Return the scorer of `llm sentiment`, without its probe and without correction of the prior."""
    options = ClassifyOptions(corrects_prior=False)
    return SentimentTask(backend, builtin_prompts(), GenerationOptions(), options).scorer


def read_features(
    backend: Backend, rows: Rated, layers: Sequence[int], *, scores: bool = True
) -> tuple[FeatureSet, float]:
    """Return the features of the rows, with the states after each of the layers, and the CPU seconds that they took."""
    scorer = make_scorer(backend)
    records, _ = labelled_records([(text, "") for text, _ in rows])
    requests = [
        replace(scorer.make_request(str(each.index), each.text, {}, hidden_states=True), state_layers=tuple(layers))
        for each in records
    ]
    if not scores:
        requests = [replace(each, candidates=()) for each in requests]
    states: dict[str, HiddenStates] = {}
    logprobs: dict[str, Mapping[str, float]] = {}
    started = time.process_time()
    for event in run_requests(backend, requests):
        if isinstance(event, HiddenStates):
            states[event.id] = event
        elif isinstance(event, CandidateScores):
            logprobs[event.id] = label_logprobs(event.scores)
        elif isinstance(event, Finished) and event.reason is not FinishReason.STOP:
            raise SystemExit(str(event.error))
    seconds = time.process_time() - started
    nothing = dict.fromkeys(scorer.labels, 0.0)
    found = [
        ScoredRecord(each, scorer.correct_scores(logprobs.get(str(each.index), nothing), None), states[str(each.index)])
        for each in records
    ]
    return record_features(found), seconds


def try_splits(
    features: FeatureSet,
    others: FeatureSet | None,
    targets: np.ndarray,
    weights: Mapping[str, float],
    count: int,
    splits: int,
) -> np.ndarray:
    """Return accuracy, calibration error, flips and difference of probabilities: means over the splits."""
    found = []
    options = FitOptions(
        labels=LABELS, heldout=False, curve=False, selection=SelectionOptions(repeats=1, candidates=[weights])
    )
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(targets))
        known, rest = order[:count], order[count:]
        calibration = fit(features.take(known), [LABELS[target] for target in targets[known]], options)
        shares = calibration.probabilities(features.take(rest))
        figures = measure_figures(shares, targets[rest], LABELS)
        flips = gap = np.nan
        if others is not None:
            again = calibration.probabilities(others.take(rest))
            flips, gap = (again.argmax(axis=1) != shares.argmax(axis=1)).mean(), np.abs(again - shares).mean()
        found.append((figures.accuracy.value, figures.ece.value, flips, gap))
    return np.asarray(np.mean(found, axis=0))


def main() -> None:
    """Read, fit, label and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("directory", type=Path, help="hutto_ICWSM_2014")
    parser.add_argument("--layers", type=int, nargs="+", required=True, help="the layers to read, counted from 1")
    parser.add_argument("--count", type=int, default=400, help="rows of each set (default: 400)")
    parser.add_argument("--labels", type=int, default=200, help="labelled rows of each set (default: 200)")
    parser.add_argument("--splits", type=int, default=8, help="random splits (default: 8)")
    parser.add_argument("--timed", type=int, default=60, help="rows whose time is measured (default: 60)")
    parser.add_argument("--weights", default=ORIGINAL_WEIGHTS, help="a type of weights (default: original)")
    parser.add_argument("--other", help="another type, to compare labels")
    options = parser.parse_args()
    model = common.model_path(options.model)
    sets = {title: sample(load(options.directory, name, 1), options.count) for title, name in SETS.items()}
    timed = sets["Amazon"][: options.timed]
    features: dict[str, dict[str, FeatureSet]] = {}
    times: dict[tuple[int | None, bool], float] = {}
    for weights in filter(None, (options.weights, options.other)):
        with open_with_weights(model, weights) as backend:
            scores = weights == options.weights
            features[weights] = {}
            for title, rows in sets.items():
                whole, _ = read_features(backend, rows, (), scores=scores)
                layers, _ = read_features(backend, rows, options.layers, scores=scores)
                features[weights][title] = FeatureSet({**layers.blocks, **whole.blocks})
            for layer in (*options.layers, None) if scores else ():
                for scored in (False, True):
                    _, seconds = read_features(backend, timed, () if layer is None else (layer,), scores=scored)
                    times[layer, scored] = 1000 * seconds / len(timed)
    table = []
    for layer in (*options.layers, None):
        for name, kinds in COMBINATIONS.items():
            weights_by_block = {each if each == SCORES else state_block(each, layer): kinds[each] for each in kinds}
            found = []
            for title, rows in sets.items():
                targets = np.array([0 if rating > 0 else 1 for _, rating in rows])
                others = None if options.other is None or SCORES in kinds else features[options.other][title]
                own = features[options.weights][title]
                found.append(try_splits(own, others, targets, weights_by_block, options.labels, options.splits))
            each_set = " ".join(f"{row[0]:.3f}" for row in found)
            accuracy, error, flips, gap = np.mean(found, axis=0)
            title = "last" if layer is None else str(layer)
            figures = [f"{accuracy:.3f}", each_set, f"{error:.3f}", f"{times[layer, SCORES in kinds]:.1f}"]
            table.append([title, name, *figures, f"{flips:.3f}", f"{gap:.4f}"])
            print(*table[-1], flush=True)
    header = ["layer", "features", "accuracy", "by set", "ECE", "ms", "flips", "difference"]
    common.print_table(table, header)


if __name__ == "__main__":
    main()
