"""The fit of a calibration: regression, choice, held-out probabilities, figures, learning curve, storage."""

from __future__ import annotations

import json
import math
import stat
from contextlib import suppress
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from llmcli.cli.console.error_messages import describe
from llmcli.errors import ConfigError, MissingError
from llmcli.errors.saved_state_errors import DamagedCalibration
from llmcli.tasks.calibration.calibration import FitOptions, fit
from llmcli.tasks.calibration.calibration_figures import figures_from_json, measure_figures
from llmcli.tasks.calibration.calibration_store import CalibrationStore, StoredCalibration, encode_calibration
from llmcli.tasks.calibration.cross_validation import make_folds
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, SCORES
from llmcli.tasks.calibration.feature_set import FeatureSet, concatenate
from llmcli.tasks.calibration.feature_space import make_space, measure_scale
from llmcli.tasks.calibration.fitted_problem import compare_with_uncalibrated
from llmcli.tasks.calibration.learning_curve import curve_from_json, fit_curve
from llmcli.tasks.calibration.softmax_regression import fit_softmax, softmax

LABELS = ("no", "yes", "maybe")


def make_data(rows: int, seed: int = 0, width: int = 12, signal: float = 1.5) -> tuple[FeatureSet, list[str]]:
    """Return features whose first columns tell the label, in all blocks."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, len(LABELS), rows)
    one_hot = np.eye(len(LABELS))[targets]
    blocks = {}
    for name, columns in ((SCORES, 3), (MEAN, width), (LAST, width)):
        blocks[name] = random.normal(size=(rows, columns))
        blocks[name][:, :3] += signal * one_hot
    return FeatureSet(blocks), [LABELS[target] for target in targets]


@pytest.fixture(scope="module")
def fitted():
    """Return a calibration on 120 rows."""
    features, labels = make_data(120)
    return fit(features, labels, FitOptions(labels=LABELS))


@pytest.mark.parametrize(("rows", "width"), [(60, 8), (30, 50)])
def test_the_regression_is_at_its_minimum(rows, width):
    """For each penalty, the gradient of the penalized loss is 0; more rows or more columns make no difference."""
    random = np.random.default_rng(1)
    features = FeatureSet({MEAN: random.normal(size=(rows, width)) * 3 + 1})
    targets = random.integers(0, 3, rows)
    space = make_space(features, {MEAN: measure_scale(features.blocks[MEAN])}, {MEAN: 1.0})
    penalties = np.array([0.1, 1.0])
    weights = fit_softmax(space.design, targets, 3, penalties, space.bound)
    for index, penalty in enumerate(penalties):
        residual = softmax(space.design @ weights[:, index]) - np.eye(3)[targets]
        gradient = space.design.T @ residual
        gradient[:-1] += penalty * weights[:-1, index]
        assert np.abs(gradient).max() < 0.05 * np.abs(space.design.T @ (1 / 3 - np.eye(3)[targets])).max()


def test_blocks_have_equal_size():
    """A wide block in large units counts as much as a narrow one; a constant column counts nothing."""
    random = np.random.default_rng(2)
    for block in (random.normal(size=(50, 3)), 1000 + 70 * random.normal(size=(50, 200))):
        scaled = measure_scale(block).apply(block)
        assert (scaled**2).sum(axis=1).mean() == pytest.approx(1) and np.abs(scaled.mean(axis=0)).max() < 1e-9
    constant = np.full((5, 2), 7.0)
    assert not measure_scale(constant).apply(constant).any()


def test_folds_predict_each_row_once():
    """And have nearly the same share of each class."""
    targets = np.array([0] * 17 + [1] * 6)
    folds = make_folds(targets, 5, 0)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(23))
    assert {len(fold.test) for fold in folds} == {4, 5}
    assert {int((targets[fold.test] == 1).sum()) for fold in folds} <= {1, 2}
    assert all(not set(fold.test) & set(fold.train) for fold in folds)


@pytest.mark.slow
def test_probabilities_are_right_and_calibrated(fitted):
    """On new rows, better than the scores alone; the held-out figures say about the same."""
    features, labels = make_data(3000, seed=9)
    targets = np.array([LABELS.index(label) for label in labels])
    found = fitted.probabilities(features)
    assert found.sum(axis=1) == pytest.approx(1)
    figures = measure_figures(found, targets, LABELS)
    scores_alone = (features.blocks[SCORES].argmax(axis=1) == targets).mean()
    assert figures.accuracy.value > scores_alone + 0.03 and figures.ece.value < 0.08
    assert abs(fitted.figures().accuracy.value - figures.accuracy.value) < 0.1


def test_labels_without_a_relation_are_not_learned():
    """Held-out accuracy is chance, not that of the rows that were fitted on."""
    features, _ = make_data(100, signal=0)
    labels = [LABELS[index % 2] for index in range(100)]
    calibration = fit(features, labels)
    assert calibration.figures().accuracy.value < 0.7
    assert calibration.probabilities(features).max() < 0.999


def test_the_order_of_rows_decides_nothing_about_new_ones(fitted):
    """A row gets the same probabilities alone and among others."""
    features, _ = make_data(7, seed=3)
    alone = np.concatenate([fitted.probabilities(features.take([row])) for row in range(7)])
    assert alone == pytest.approx(fitted.probabilities(features))


@pytest.mark.slow
def test_a_label_without_rows_has_no_probability():
    """The others sum to 1."""
    features, labels = make_data(60)
    calibration = fit(features, ["no" if label == "maybe" else label for label in labels], FitOptions(labels=LABELS))
    found = calibration.probabilities(features)
    assert not found[:, 2].any() and found.sum(axis=1) == pytest.approx(1)


def test_what_cannot_be_fitted():
    """Is refused."""
    features, labels = make_data(20)
    for rows, names, options in (
        (features, ["no"] * 20, FitOptions()),
        (features, labels[:5], FitOptions()),
        (features.take([0, 1]), ["no", "yes"], FitOptions()),
        (features, labels, FitOptions(labels=("no", "yes"))),
    ):
        with pytest.raises(ValueError, match=r"label|rows"):
            fit(rows, names, options)
    with pytest.raises(ValueError, match="finite"):
        FeatureSet({SCORES: np.array([[math.nan, 0.0]])})
    with pytest.raises(ValueError, match="same rows"):
        FeatureSet({SCORES: np.zeros((2, 2)), MEAN: np.zeros((3, 2))})
    assert concatenate([features, features]).rows == 40


def test_figures_of_a_small_table():
    """Computed by hand: 3 of 4 right, one positive taken for negative."""
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    figures = measure_figures(probabilities, np.array([0, 0, 1, 1]), ("a", "b"))
    assert figures.accuracy.value == 0.75 and figures.accuracy.low <= 0.75 <= figures.accuracy.high
    assert figures.confusion == ((2, 0), (1, 1))
    assert figures.macro_f1.value == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert figures.brier.value == pytest.approx((0.02 + 0.08 + 0.18 + 0.72) / 4)
    assert figures.ece.value == pytest.approx((0.1 + 0.2 + 0.3 + 0.6) / 4)
    for each in (figures.brier, figures.ece, figures.macro_f1):
        assert each.low <= each.value <= each.high and each.low < each.high
    assert [each.rows for each in figures.reliability] == [1, 1, 1, 1]
    assert figures_from_json(json.loads(json.dumps(figures.to_json()))) == figures


def test_the_learning_curve_finds_the_power_law():
    """And never promises a loss."""
    sizes = [20, 40, 80, 160]
    curve = fit_curve(200, sizes, [1 - 0.1 - size**-0.5 for size in sizes])
    assert (curve.floor, curve.scale, curve.exponent) == pytest.approx((0.1, 1.0, 0.5))
    assert curve.gain(50) == pytest.approx(200**-0.5 - 250**-0.5)
    assert fit_curve(200, sizes, [0.9, 0.8, 0.8, 0.7]).gain() == 0
    more = curve.worthwhile_rows()
    assert curve.gain(more) - curve.gain(more - 50) >= 0.005 > curve.gain(more + 50) - curve.gain(more)
    assert fit_curve(200, sizes, [0.8] * 4).worthwhile_rows() == 0
    assert curve_from_json(json.loads(json.dumps(curve.to_json()))) == curve


def store_of(tmp_path, fitted, **identity):
    problems = {"label": compare_with_uncalibrated(fitted, np.full((120, 3), 1 / 3))}
    stored = StoredCalibration(problems, {"model": "m", "weights": "original", **identity}, "m", "2026")
    store = CalibrationStore(tmp_path / "calibrations")
    store.save("one", stored)
    return store, stored


def test_a_saved_calibration_is_the_same(tmp_path, fitted):
    """Its probabilities and figures; only its owner may read it."""
    store, stored = store_of(tmp_path, fitted)
    found = store.load("one").problems["label"]
    features, _ = make_data(5, seed=4)
    assert np.array_equal(found.calibration.probabilities(features), fitted.probabilities(features))
    assert found.figures == stored.problems["label"].figures and found.calibration.curve == fitted.curve
    assert found.gain == stored.problems["label"].gain and found.gain.is_gain
    assert stat.S_IMODE(store.path("one").stat().st_mode) == 0o600
    assert store.names() == ["one"]
    store.remove("one")
    assert store.names() == []
    with pytest.raises(MissingError):
        store.load("one")
    with pytest.raises(MissingError):
        store.remove("one")


@pytest.mark.parametrize("name", ["", "../x", ".x", "-x", "a/b", "a" * 101, "a\n"])
def test_impossible_names(tmp_path, name):
    """Never touch a path."""
    with pytest.raises(MissingError):
        CalibrationStore(tmp_path).load(name)


def test_a_damaged_file(tmp_path, fitted):
    """Is reported, wherever it is cut or changed."""
    store, stored = store_of(tmp_path, fitted)
    whole = encode_calibration(stored)
    later = whole.replace(b'"version": 3', b'"version": 9')
    for content in (b"", b"x" * 50, whole[: len(whole) // 2], whole[:-30], later[:100]):
        store.path("one").write_bytes(content)
        with pytest.raises(DamagedCalibration):
            store.load("one")


def test_random_damage_is_an_error_of_its_own(tmp_path, fitted):
    """Errors of zip files, of their compression and of numpy's headers are not internal errors."""
    store, stored = store_of(tmp_path, fitted)
    whole, random = encode_calibration(stored), Random(3)
    for _ in range(300):
        content, at = bytearray(whole), random.randrange(len(whole))
        match random.randrange(4):
            case 0:
                content[at] ^= 1 << random.randrange(8)
            case 1:
                content[at : at + 300] = bytes(300)
            case 2:
                content[at:at] = random.randbytes(20)
            case 3:
                content[at:at] = content[at : at + 500]
        store.path("one").write_bytes(bytes(content))
        with suppress(DamagedCalibration):  # a changed date of an archive's member damages nothing
            store.load("one")


def test_another_model_or_weights(tmp_path, fitted):
    """What differs is named; if only the weights differ, the right ones are."""
    _, stored = store_of(tmp_path, fitted, labels=["a"])
    same = {"labels": ("a",), "model": "m", "weights": "original"}
    stored.require_identity("one", same)
    with pytest.raises(ConfigError) as caught:
        stored.require_identity("one", {**same, "model": "other", "labels": ["b"]})
    assert describe(caught.value)[0] == "the calibration one was made with another model, labels"
    assert caught.value.exit_code == 78
    with pytest.raises(ConfigError) as caught:
        stored.require_identity("one", {**same, "weights": "q8_0"})
    assert describe(caught.value)[1] == "Try: --set weights=original"


def test_scores_alone_are_enough():
    """A backend may give no hidden states."""
    features, labels = make_data(50)
    calibration = fit(FeatureSet({SCORES: features.blocks[SCORES]}), labels)
    assert calibration.blocks == (SCORES,)
    assert replace(calibration, heldout=None).probabilities(features).shape == (50, 3)
