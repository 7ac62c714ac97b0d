"""What the tests of the network share."""

from __future__ import annotations

import pytest

from llmcli.interrupt import Interrupt


@pytest.fixture
def interrupt():
    """Return an interrupt that nobody sets."""
    return Interrupt()
