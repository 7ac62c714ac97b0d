"""How many labels `llm label` needs for the accuracy that randomly chosen rows give, with a simulated person.

The person answers with the true label. Two thirds of the rows are the pool, the others test the fit; the pool, the test
rows and the first question are drawn anew for each of `--seeds`. For a number of random labels, the table shows the mean
accuracy that they give, the number of chosen labels from which the mean accuracy is the same, and the ratio of both. For
the sets see `sentiment_quality.py`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import common
import numpy as np
from calibration import read_features
from sentiment_quality import SETS, load
from threadpoolctl import threadpool_limits

from llmcli.configuration.engine_options import EngineOptions
from llmcli.tasks.calibration.calibration import FitOptions, fit
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.model_selection import SelectionOptions
from llmcli.tasks.labelling.row_selection import RowSelector

SIZES = (*range(20, 105, 5), *range(110, 210, 10))
REFERENCES = (50, 100, 150, 200)
NAMES = ("first", "second")
_FIT = FitOptions(labels=NAMES, heldout=False, curve=False, selection=SelectionOptions(repeats=1))


def answer_questions(features: FeatureSet, targets: np.ndarray, seed: int) -> list[int]:
    """Return the rows in the order in which they are asked about."""
    selector, answers = RowSelector(features, len(NAMES), seed=seed), {}
    while len(answers) < SIZES[-1]:
        row = selector.next_row(answers)
        assert row is not None
        answers[row] = int(targets[row])
    return [*answers]


def measure(features: FeatureSet, targets: np.ndarray, seed: int, *, chosen: bool) -> list[float]:
    """Return the accuracy on the test rows after each of ``SIZES`` labels."""
    order = np.random.default_rng(seed).permutation(len(targets))
    pool, test = np.split(order, [len(order) * 2 // 3])
    rows = answer_questions(features.take(pool), targets[pool], seed) if chosen else range(SIZES[-1])
    asked, found = pool[[*rows]], []
    for size in SIZES:
        fitted = fit(features.take(asked[:size]), [NAMES[target] for target in targets[asked[:size]]], _FIT)
        found.append(float((fitted.probabilities(features.take(test)).argmax(axis=1) == targets[test]).mean()))
    return found


def labels_needed(accuracies: np.ndarray, accuracy: float) -> float:
    """Return the number of labels from which an accuracy is reached, interpolated; not a number if it is not."""
    reached = np.flatnonzero(accuracies >= accuracy)
    if not len(reached):
        return float("nan")
    at = int(reached[0])
    if not at:
        return float(SIZES[0])
    low, high = accuracies[at - 1], accuracies[at]
    return float(SIZES[at - 1] + (SIZES[at] - SIZES[at - 1]) * (accuracy - low) / (high - low))


def compare(features: FeatureSet, targets: np.ndarray, seeds: int) -> list[list[str]]:
    """Return the rows of the table for one set."""
    with threadpool_limits(limits=1, user_api="blas"):
        curves = [
            np.mean([measure(features, targets, seed, chosen=chosen) for seed in range(seeds)], axis=0)
            for chosen in (False, True)
        ]
    table = []
    for count in REFERENCES:
        accuracy = float(curves[0][SIZES.index(count)])
        needed = labels_needed(curves[1], accuracy)
        table.append([str(count), f"{accuracy:.3f}", f"{needed:.0f}", f"{needed / count:.2f}"])
    return table


def main() -> None:
    """Simulate and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("directory", type=Path, help="hutto_ICWSM_2014")
    parser.add_argument("--even", action="store_true", help="the rows that the choice was developed on")
    parser.add_argument("--seeds", type=int, default=20, help="simulations (default: 20)")
    parser.add_argument("--sets", nargs="*", default=["Amazon"], help="of " + ", ".join(SETS))
    options = parser.parse_args()
    model, table = common.model_path(options.model), []
    with tempfile.TemporaryDirectory() as kept, common.open_engine(model, EngineOptions(cache=Path(kept))) as backend:
        for title in options.sets:
            rows = load(options.directory, SETS[title], 0 if options.even else 1)
            targets = np.array([0 if rating > 0 else 1 for _, rating in rows])
            table += [[title, *each] for each in compare(read_features(backend, rows), targets, options.seeds)]
    common.print_table(table, ["set", "random labels", "accuracy", "chosen labels", "ratio"])


if __name__ == "__main__":
    main()
