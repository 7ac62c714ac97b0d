"""How many sequences run at once: more as long as that makes the whole job faster on this machine."""

from __future__ import annotations

from llmcli.models.footprint import DEFAULT_CONCURRENCY, MAX_CONCURRENCY

INITIAL_CONCURRENCY = DEFAULT_CONCURRENCY
_STEPS_PER_TRIAL = 24
"""Steps at one concurrency before it is judged."""
_MIN_SPEEDUP = 1.05
"""Factor by which doubling the concurrency has to raise the tokens a second."""


class ConcurrencyTuner:
    """Doubles the concurrency while that pays, judged by steps in which that many sequences decoded.

    A processor whose cores are busy with 16 rows gains nothing from 32; a GPU or many cores do.
    """

    def __init__(self, first: int = INITIAL_CONCURRENCY, most: int = MAX_CONCURRENCY) -> None:
        self.concurrency = first
        """Number of sequences that may run at once now."""
        self._max_concurrency = most
        self._step_rates: list[float] = []
        self._previous_rate: float | None = None
        self._is_settled = first >= most

    def record_step(self, rows: int, seconds: float, waiting: int) -> None:
        """Record the duration of a step that decoded a token for each of ``rows`` sequences while ``waiting`` wait."""
        if self._is_settled or rows < self.concurrency or waiting < self.concurrency or seconds <= 0:
            return
        self._step_rates.append(rows / seconds)
        if len(self._step_rates) < _STEPS_PER_TRIAL:
            return
        rate = sorted(self._step_rates)[_STEPS_PER_TRIAL // 2]
        self._step_rates.clear()
        if self._previous_rate is not None and rate < _MIN_SPEEDUP * self._previous_rate:
            self.concurrency //= 2
            self._is_settled = True
        elif 2 * self.concurrency > self._max_concurrency:
            self._is_settled = True
        else:
            self._previous_rate = rate
            self.concurrency *= 2

    def reject_increase(self) -> None:
        """Go back to the last concurrency, since the memory does not suffice for that many."""
        if self._previous_rate is not None and not self._is_settled:
            self.concurrency //= 2
        self._is_settled = True
