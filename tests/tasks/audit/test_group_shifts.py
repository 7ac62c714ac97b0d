"""Shifts: estimates, intervals and corrected p-values of paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from llmcli.tasks.audit import group_shifts
from llmcli.tasks.audit.group_shifts import measure_shifts

GROUPS = [str(number) for number in range(8)]
RUNS, TEMPLATES, NOISE, SHIFT, SHIFTED = 100, 50, 0.05, 0.1, 3


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    monkeypatch.setattr(group_shifts, "RESAMPLES", 1999)


def audit(seed, shift, groups=8):
    """Return the shifts of one audit: a probability for each template, noise for each text, one group shifted."""
    random = np.random.default_rng(seed)
    values = random.uniform(0.2, 0.8, (TEMPLATES, 1)) + random.normal(0, NOISE, (TEMPLATES, groups))
    values[:, SHIFTED % groups] += shift
    return measure_shifts(values[:, :, None], ["match"], GROUPS[:groups])


def test_a_planted_shift_is_always_found():
    """A shift of .1 with noise of .05, in 100 of 100 audits of 50 templates."""
    found = [audit(seed, SHIFT)[SHIFTED] for seed in range(RUNS)]
    assert all(each.is_significant and abs(each.estimate.shift - SHIFT) < NOISE for each in found)
    covered = sum(each.estimate.low <= SHIFT <= each.estimate.high for each in found)
    assert covered >= 90  # 95 are expected


def test_fair_audits_rarely_raise_an_alarm():
    """At most 5 of 100, in any of the eight groups."""
    assert sum(any(each.is_significant for each in audit(seed, 0.0)) for seed in range(RUNS)) <= 5


def test_a_shift_is_the_difference_from_the_mean_of_the_others():
    """Or from the reference, which has none itself."""
    values = np.array([[[0.5], [0.2], [0.4]], [[0.6], [0.3], [0.5]]])
    found = measure_shifts(values, ["p"], ["a", "b", "c"])
    assert [each.estimate.shift for each in found] == pytest.approx([0.2, -0.25, 0.05])
    found = measure_shifts(values, ["p"], ["a", "b", "c"], reference="c")
    assert [each.estimate and each.estimate.shift for each in found] == [pytest.approx(0.1), pytest.approx(-0.2), None]
    assert found[2].mean == pytest.approx(0.45) and found[2].pairs == 0


def test_inputs_cancel_out():
    """However much the templates differ, equal texts have no shift, and p is 1."""
    values = np.repeat(np.random.default_rng(0).uniform(0, 1, (20, 1, 2)), 4, axis=1)
    for each in measure_shifts(values, ["p", "q"], list("abcd")):
        assert (each.estimate.shift, each.estimate.low, each.estimate.high, each.estimate.p) == pytest.approx(
            (0, 0, 0, 1)
        )


def test_missing_pairs_are_left_out():
    """A group is compared with the others that an input has; a text alone is no pair."""
    nan = np.nan
    values = np.array([[[0.5], [0.3], [nan]], [[0.5], [nan], [nan]], [[0.5], [0.3], [0.1]]])
    found = measure_shifts(values, ["p"], ["a", "b", "c"])
    assert [each.pairs for each in found] == [2, 2, 1]
    assert found[0].estimate.shift == pytest.approx((0.2 + 0.3) / 2) and found[0].mean == pytest.approx(0.5)


def test_few_inputs_prove_nothing():
    """The signs of five pairs have 32 patterns, so that no p-value is small."""
    values = np.array([[[0.9], [0.1]]] * 5)
    assert all(not each.is_significant for each in measure_shifts(values, ["p"], ["a", "b"]))


def test_holm_multiplies_the_least_p_by_the_number_of_comparisons():
    """And the next by one less, never below the one before (Holm 1979, the worked example)."""
    corrected = group_shifts._correct_by_holm(np.array([0.01, 0.04, 0.03, 0.005]), np.array([9, 9, 9, 9]))
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_same_seed_gives_the_same_figures():
    """So that a check in CI does not flicker."""
    assert audit(1, 0.02) == audit(1, 0.02)


def test_a_shift_of_the_detectable_size_is_found_four_times_of_five():
    """In audits of 50 templates, whose sign-flip test is corrected for four groups."""
    size = np.mean([audit(seed, 0.0, groups=4)[SHIFTED].detectable for seed in range(20)])
    found = sum(audit(seed, size, groups=4)[SHIFTED].is_significant for seed in range(200))
    assert 0.05 / 4 < size < 0.05 and 150 <= found <= 175


def test_two_inputs_find_no_shift_of_any_size():
    """The signs of two pairs have four patterns; nor do equal differences of few pairs prove anything."""
    values = np.array([[[0.9], [0.1]], [[0.8], [0.3]]])
    assert [each.detectable for each in measure_shifts(values, ["p"], ["a", "b"])] == [None, None]
    assert group_shifts.detectable_shift(np.full(5, 0.3), 0.05) is None
    assert group_shifts.detectable_shift(np.full(7, 0.3), 0.05) == pytest.approx(0, abs=1e-12)
