"""Measures the labels of `llm sentiment --calibrate` after 200 labelled rows, on four sets that people rated.

For the sets see `sentiment_quality.py`. The rows are those whose text has an odd SHA-256. For each of `--splits` random
splits, a calibration is fitted on `--labels` rows, choice of features and penalty included, and the other rows are
labelled with it. The columns are means over the splits: accuracy, expected calibration error in ten bins, and with the
threshold of `--target-precision 0.95`, chosen on the labelled rows alone, the precision and the share of answered rows.
"""

from __future__ import annotations

from pathlib import Path

import common
import numpy as np
from sentiment_quality import SETS, Rated, builtin_prompts, load, open_with_weights, plain_scorer, sample

from llmcli.backends.base import Backend
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.tasks.calibration.calibration import FitOptions, fit
from llmcli.tasks.calibration.calibration_figures import measure_figures
from llmcli.tasks.calibration.calibration_store import StoredCalibration
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.fitted_problem import compare_with_uncalibrated
from llmcli.tasks.calibration.model_selection import SelectionOptions
from llmcli.tasks.calibration.record_features import record_features
from llmcli.tasks.labels.label_scorer import LabelScorer
from llmcli.tasks.labels.precision_threshold import choose_threshold
from llmcli.tasks.labels.scored_records import ScoredRecord, labelled_records, score_records
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.sentiment import NEGATIVE, POSITIVE, sentiment_spec

LABELS = (POSITIVE, NEGATIVE)
TARGET = 0.95


def score_rows(scorer: LabelScorer, backend: Backend, rows: Rated) -> list[ScoredRecord]:
    """Return the scores and hidden states of the rows, as `llm sentiment --calibrate` computes them."""
    records, _ = labelled_records([(text, "") for text, _ in rows])
    return list(score_records(backend, scorer, records, hidden_states=True))


def read_features(backend: Backend, rows: Rated) -> FeatureSet:
    """Return the features of the rows without those of a probe, as a verb that has none computes them."""
    scorer = plain_scorer(backend, sentiment_spec(builtin_prompts()))
    return record_features(score_rows(scorer, backend, rows))


def try_split(
    features: FeatureSet, uncalibrated: np.ndarray, targets: np.ndarray, count: int, seed: int
) -> tuple[float, ...]:
    """Return the columns of the table for one split."""
    order = np.random.default_rng(seed).permutation(len(targets))
    known, rest = order[:count], order[count:]
    options = FitOptions(labels=LABELS, curve=False, selection=SelectionOptions(cascades=True))
    calibration = fit(features.take(known), [LABELS[target] for target in targets[known]], options)
    problem = compare_with_uncalibrated(calibration, uncalibrated[known])
    stored = StoredCalibration({"label": problem}, {}, "", "")
    is_used = bool(stored.answering())
    labelled = stored.answering_probabilities("label")
    right = labelled.argmax(axis=1) == calibration.targets
    chosen = choose_threshold(labelled.max(axis=1).tolist(), right.tolist(), TARGET)
    found = calibration.probabilities(features.take(rest)) if is_used else uncalibrated[rest]
    before, after = (measure_figures(each, targets[rest], LABELS) for each in (uncalibrated[rest], found))
    answered = found.max(axis=1) >= chosen.threshold
    precision = (found.argmax(axis=1) == targets[rest])[answered].mean() if answered.any() else np.nan
    return (
        *(before.accuracy.value, before.brier.value),
        *(after.accuracy.value, after.brier.value, after.ece.value, float(is_used)),
        *(float(precision), float(answered.mean())),
    )


def main() -> None:
    """Fit, label and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("directory", type=Path, help="hutto_ICWSM_2014")
    parser.add_argument("--count", type=int, help="rows of each set, drawn at random (default: all)")
    parser.add_argument("--even", action="store_true", help="the rows that the fit was developed on")
    parser.add_argument("--labels", type=int, default=200, help="labelled rows (default: 200)")
    parser.add_argument("--splits", type=int, default=20, help="random splits (default: 20)")
    parser.add_argument("--weights", default=ORIGINAL_WEIGHTS, help="a type of weights (default: original)")
    parser.add_argument("--sets", nargs="*", default=[*SETS], help="of " + ", ".join(SETS))
    options = parser.parse_args()
    model, table = common.model_path(options.model), []
    with open_with_weights(model, options.weights) as backend:
        for title in options.sets:
            rows = sample(load(options.directory, SETS[title], 0 if options.even else 1), options.count)
            scorer = sentiment_spec(builtin_prompts()).make_scorer(backend, GenerationOptions())
            scored = score_rows(scorer, backend, rows)
            features = record_features(scored, from_probe=scorer.probe is not None)
            shares = np.array([[each.scores.probabilities[label] for label in LABELS] for each in scored])
            uncalibrated = shares / shares.sum(axis=1, keepdims=True)
            targets = np.array([0 if rating > 0 else 1 for _, rating in rows])
            found = [try_split(features, uncalibrated, targets, options.labels, seed) for seed in range(options.splits)]
            table.append([title, str(len(rows)), *(f"{share:.3f}" for share in np.nanmean(found, axis=0))])
            print(*table[-1], flush=True)
    header = ["set", "rows", "accuracy without", "Brier without", "accuracy", "Brier score", "ECE", "used"]
    common.print_table(table, [*header, f"precision at {TARGET:g}", "answered"])


if __name__ == "__main__":
    main()
