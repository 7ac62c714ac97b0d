"""How a worker sends what a command waits for."""

from __future__ import annotations

import pytest

from llmcli.worker.session import gathering


@pytest.mark.parametrize(
    ("pause", "active", "seconds"),
    [(0.0, 100, 0.0), (0.1, 0, 0.1), (0.1, 2, 0.1), (0.1, 16, 0.8), (0.1, 200, 1.0), (2.0, 16, 2.0)],
)
def test_text_that_nobody_watches_gathers_longer_in_a_crowd(pause, active, seconds):
    """Each piece that is sent wakes a process, which takes the processor from the engine."""
    assert gathering(pause, active) == pytest.approx(seconds)
