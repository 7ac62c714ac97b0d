"""How many sequences run side by side: as many more as make the whole job faster on this machine."""

from __future__ import annotations

from llmcli.models.footprint import WIDTH

FIRST = WIDTH
MOST = 64
_STEPS = 24
"""Steps at one width before it is judged."""
_GAIN = 1.05
"""How many times more tokens a second twice the width has to bring."""


class Width:
    """Doubles while that pays, judged by steps in which every place was taken by a sequence that decodes.

    A processor whose cores are busy with 16 rows gains nothing by 32; a GPU or many cores do.
    """

    def __init__(self, first: int = FIRST, most: int = MOST) -> None:
        self.now = first
        """Sequences that may run now."""
        self._most = most
        self._rates: list[float] = []
        self._narrower: float | None = None
        self._settled = first >= most

    def record(self, rows: int, seconds: float, waiting: int) -> None:
        """Take the duration of a step that decoded one token of each of ``rows`` sequences; ``waiting`` had no place."""
        if self._settled or rows < self.now or waiting < self.now or seconds <= 0:
            return
        self._rates.append(rows / seconds)
        if len(self._rates) < _STEPS:
            return
        rate = sorted(self._rates)[_STEPS // 2]
        self._rates.clear()
        if self._narrower is not None and rate < _GAIN * self._narrower:
            self.now //= 2
            self._settled = True
        elif 2 * self.now > self._most:
            self._settled = True
        else:
            self._narrower = rate
            self.now *= 2

    def refuse(self) -> None:
        """The memory does not hold so many: go back."""
        if self._narrower is not None and not self._settled:
            self.now //= 2
        self._settled = True
