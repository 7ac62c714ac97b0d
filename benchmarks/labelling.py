"""Counts the labels that `llm label` needs for the accuracy of randomly chosen rows, with a simulated person.

The person answers with the true label. Two thirds of the rows are the pool, the others test the fit; both are drawn
anew for each of `--seeds`. Random labels are fitted as `--calibrate` does, chosen ones as `llm label` does. For a
number of random labels, the table shows the mean accuracy that they give, the number of chosen labels from which the
mean accuracy is the same, and the ratio of both. Accuracy grows slowly, so a small error of it is a large one of the
ratio: its quartiles are those of a bootstrap over the seeds. The last columns need no curve: the accuracy with 0.7
times as many chosen labels less that of the random ones, in percentage points, the median of the seeds with its
quartiles; then the same with the fit of `--calibrate` for both. For the sets see `sentiment_quality.py`.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import common
import numpy as np
from calibration import read_features
from sentiment_quality import SETS, load, sample
from threadpoolctl import threadpool_limits

from llmcli.config.engine_options import EngineOptions
from llmcli.tasks.calibration.calibration import FitOptions, fit
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.model_selection import SelectionOptions
from llmcli.tasks.label.background_scoring import RowSelector
from llmcli.tasks.label.labelling_progress import selection_options

REFERENCES = (50, 100, 150, 200)
SHARE = 0.7
SIZES = (20, 25, 30, 35, 40, 50, 60, 70, 85, 105, 120, 140, 160, 180, 200)
NAMES = ("first", "second")
BOOTSTRAPS = 2000
_FIT = FitOptions(labels=NAMES, heldout=False, curve=False, selection=SelectionOptions(repeats=1))
"""Of `--calibrate`."""


def answer_questions(features: FeatureSet, targets: np.ndarray) -> list[int]:
    """Return the rows in the order in which they are asked about."""
    selector = RowSelector(features, len(NAMES))
    answers: dict[int, int] = {}
    while len(answers) < SIZES[-1]:
        row = selector.next_row(answers)
        assert row is not None
        answers[row] = int(targets[row])
    return [*answers]


def measure(features: FeatureSet, targets: np.ndarray, seed: int) -> tuple[list[float], list[float], list[float]]:
    """Return accuracies on the test rows.

    They are those after ``REFERENCES`` random labels, after ``SIZES`` chosen ones with the fit of `llm label`, and
    after ``SHARE`` times ``REFERENCES`` chosen ones with the fit of `--calibrate`.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    pool, test = np.split(order, [len(order) * 2 // 3])
    chosen = pool[answer_questions(features.take(pool), targets[pool])]
    own = replace(_FIT, selection=selection_options(features, repeats=1))

    def accuracy(rows: np.ndarray, options: FitOptions) -> float:
        fitted = fit(features.take(rows), [NAMES[target] for target in targets[rows]], options)
        return float((fitted.probabilities(features.take(test)).argmax(axis=1) == targets[test]).mean())

    return (
        [accuracy(pool[:size], _FIT) for size in REFERENCES],
        [accuracy(chosen[:size], own) for size in SIZES],
        [accuracy(chosen[: round(SHARE * size)], _FIT) for size in REFERENCES],
    )


def labels_needed(accuracies: np.ndarray, accuracy: float) -> float:
    """Return the number of labels from which an accuracy is reached, interpolated; infinite if it is not.

    The curve is made to rise by isotonic regression: the first point of a noisy curve above a value comes too early.
    """
    curve = rising(accuracies)
    if curve[-1] < accuracy:
        return float("inf")
    return max(float(SIZES[0]), float(np.interp(accuracy, curve, SIZES)))


def rising(values: np.ndarray) -> np.ndarray:
    """Return the rising curve that is nearest to the values in least squares, by pooling adjacent violators."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (low, few), (high, many) = blocks[-2:]
            blocks[-2:] = [((low * few + high * many) / (few + many), few + many)]
    return np.repeat([value for value, _ in blocks], [count for _, count in blocks])


def compare(features: FeatureSet, targets: np.ndarray, seeds: int) -> list[list[str]]:
    """Return the rows of the table for one set."""
    with threadpool_limits(limits=1, user_api="blas"):
        found = [measure(features, targets, seed) for seed in range(seeds)]
    return summarize(*(np.array(each) for each in zip(*found, strict=True)))


def summarize(drawn: np.ndarray, chosen: np.ndarray, chosen_alone: np.ndarray) -> list[list[str]]:
    """Return the rows of the table from the accuracies of ``measure``, each of shape (seeds, sizes)."""
    draws = np.random.default_rng(0).integers(len(drawn), size=(BOOTSTRAPS, len(drawn)))
    table = []
    for index, count in enumerate(REFERENCES):
        accuracy = float(drawn[:, index].mean())
        needed = labels_needed(chosen.mean(axis=0), accuracy)
        ratios = [labels_needed(chosen[rows].mean(axis=0), drawn[rows, index].mean()) / count for rows in draws]
        whole = chosen[:, SIZES.index(round(SHARE * count))] - drawn[:, index]
        alone = chosen_alone[:, index] - drawn[:, index]
        ratio = f"{needed / count:.2f} ({quartiles(ratios, '.2f')})"
        row = [str(count), f"{accuracy:.3f}", f"{needed:.0f}", ratio]
        table.append(
            [*row, *(f"{np.median(each):+.1f} ({quartiles(each, '+.1f')})" for each in (100 * whole, 100 * alone))]
        )
    return table


def quartiles(values: np.ndarray | list[float], style: str) -> str:
    """Return the lower and the upper quartile."""
    low, high = np.quantile(values, [0.25, 0.75], method="nearest")
    return f"{low:{style}} to {high:{style}}"


def main() -> None:
    """Simulate and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("directory", type=Path, help="hutto_ICWSM_2014")
    parser.add_argument("--even", action="store_true", help="the rows that the choice was developed on")
    parser.add_argument("--count", type=int, help="rows of each set, drawn at random (default: all)")
    parser.add_argument("--seeds", type=int, default=20, help="simulations (default: 20)")
    parser.add_argument("--sets", nargs="*", default=[*SETS], help="of " + ", ".join(SETS))
    options = parser.parse_args()
    model, table = common.model_path(options.model), []
    with tempfile.TemporaryDirectory() as kept, common.open_engine(model, EngineOptions(cache=Path(kept))) as backend:
        for title in options.sets:
            rows = sample(load(options.directory, SETS[title], 0 if options.even else 1), options.count)
            targets = np.array([0 if rating > 0 else 1 for _, rating in rows])
            table += [[title, *each] for each in compare(read_features(backend, rows), targets, options.seeds)]
    header = ["set", "random labels", "accuracy", "chosen labels", "ratio", f"points at {SHARE:g}", "same fit"]
    common.print_table(table, header)


if __name__ == "__main__":
    main()
