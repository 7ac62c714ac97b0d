"""How well `llm sentiment --calibrate` labels texts after 200 labelled rows, on four sets that people rated.

For the sets see `sentiment_quality.py`. The rows are those whose text has an odd SHA-256. For each of `--splits` random
splits, a calibration is fitted on `--labels` rows, choice of features and penalty included, and the other rows are
labelled with it. The columns are means over the splits: accuracy, expected calibration error in ten bins, and with the
threshold of `--target-precision 0.95`, chosen on the labelled rows alone, the precision and the share of answered rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import common
import numpy as np
from sentiment_quality import SETS, Rated, load, sample

from llmcli.backends.base import Backend
from llmcli.configuration.engine_options import EngineOptions
from llmcli.prompts import PromptLibrary
from llmcli.tasks.calibration.calibration import FitOptions, fit
from llmcli.tasks.calibration.calibration_figures import measure_figures
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.record_features import record_features
from llmcli.tasks.classification.precision_threshold import choose_threshold
from llmcli.tasks.classification.scored_records import labelled_records, score_records
from llmcli.tasks.classify import ClassifyOptions
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.sentiment import NEGATIVE, POSITIVE, SentimentVerb

LABELS = (POSITIVE, NEGATIVE)
TARGET = 0.95


def read_features(backend: Backend, rows: Rated) -> FeatureSet:
    """Return the features of the rows, as `llm sentiment --calibrate` computes them."""
    with tempfile.TemporaryDirectory() as kept:
        prompts = PromptLibrary(Path(kept))  # only the built-in files, none of the user's
        verb = SentimentVerb(backend, prompts, GenerationOptions(), ClassifyOptions(corrects_prior=False))
        records, _ = labelled_records([(text, "") for text, _ in rows])
        return record_features(list(score_records(backend, verb.scorer, records, hidden_states=True)))


def try_split(features: FeatureSet, targets: np.ndarray, count: int, seed: int) -> tuple[float, ...]:
    """Return accuracy, calibration error, precision and answered share of one split."""
    order = np.random.default_rng(seed).permutation(len(targets))
    known, rest = order[:count], order[count:]
    options = FitOptions(labels=LABELS, curve=False)
    calibration = fit(features.take(known), [LABELS[target] for target in targets[known]], options)
    assert calibration.heldout is not None
    right = calibration.heldout.argmax(axis=1) == calibration.targets
    chosen = choose_threshold(calibration.heldout.max(axis=1).tolist(), right.tolist(), TARGET)
    found = calibration.probabilities(features.take(rest))
    figures = measure_figures(found, targets[rest], LABELS)
    answered = found.max(axis=1) >= chosen.threshold
    precision = (found.argmax(axis=1) == targets[rest])[answered].mean() if answered.any() else np.nan
    return figures.accuracy.value, figures.ece, float(precision), float(answered.mean())


def main() -> None:
    """Fit, label and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("directory", type=Path, help="hutto_ICWSM_2014")
    parser.add_argument("--count", type=int, help="rows of each set, drawn at random (default: all)")
    parser.add_argument("--even", action="store_true", help="the rows that the fit was developed on")
    parser.add_argument("--labels", type=int, default=200, help="labelled rows (default: 200)")
    parser.add_argument("--splits", type=int, default=20, help="random splits (default: 20)")
    parser.add_argument("--sets", nargs="*", default=[*SETS], help="of " + ", ".join(SETS))
    options = parser.parse_args()
    model, table = common.model_path(options.model), []
    with tempfile.TemporaryDirectory() as kept, common.open_engine(model, EngineOptions(cache=Path(kept))) as backend:
        for title in options.sets:
            rows = sample(load(options.directory, SETS[title], 0 if options.even else 1), options.count)
            features = read_features(backend, rows)
            targets = np.array([0 if rating > 0 else 1 for _, rating in rows])
            found = [try_split(features, targets, options.labels, seed) for seed in range(options.splits)]
            table.append([title, str(len(rows)), *(f"{share:.3f}" for share in np.nanmean(found, axis=0))])
            print(*table[-1], flush=True)
    common.print_table(table, ["set", "rows", "accuracy", "ECE", f"precision at {TARGET:g}", "answered"])


if __name__ == "__main__":
    main()
