"""The directory of the tests of ``llm translate``."""

from __future__ import annotations

import pytest


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Keep the user's memory in the test's directory, which becomes the current one."""
    monkeypatch.setenv("LLMCLI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
