"""Fixtures of the readers' tests."""

from __future__ import annotations

import importlib

import pytest


@pytest.fixture
def readers_in_process(monkeypatch):
    """Let all readers run in this process, where a test can change them."""

    def read(reader, data, name="", **_limits):
        module, _, function = reader.partition(":")
        return getattr(importlib.import_module(module), function)(data, name)

    monkeypatch.setattr("llmcli.documents.reading.reader_process.read_in_child", read)
