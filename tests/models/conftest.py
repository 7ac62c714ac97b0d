"""A Hub on loopback, and libraries that use it."""

from __future__ import annotations

import os

import pytest
from fake_hub import QUICK_RETRIES, FakeHub

from llmcli.app_paths import find_paths
from llmcli.interrupt import Interrupt
from llmcli.models.catalogue import load_catalogue
from llmcli.models.library.model_library import ModelLibrary
from llmcli.settings import resolve_settings


@pytest.fixture
def hub(monkeypatch):
    """Return an empty Hub at HF_ENDPOINT."""
    server = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.close()


@pytest.fixture
def make_library():
    """Return a function from settings (as flags) to a library in this test's own directories."""

    def make(retry_policy=QUICK_RETRIES, **flags):
        paths = find_paths(os.environ)
        settings = resolve_settings(
            {key: ("--" + key, value) for key, value in flags.items()}, os.environ, paths.config_file
        )
        return ModelLibrary(settings, paths, os.environ, retry_policy=retry_policy)

    return make


@pytest.fixture
def library(make_library):
    """Return a library without settings."""
    return make_library()


@pytest.fixture
def interrupt():
    """Return an interrupt that is not set."""
    return Interrupt()


@pytest.fixture
def catalogue(monkeypatch, tmp_path):
    """Return a function that replaces the catalogue by the given YAML text."""

    def use(text: str) -> None:
        file = tmp_path / "catalogue.yaml"
        file.write_text(text)
        monkeypatch.setattr("llmcli.models.catalogue._CATALOGUE_FILE", file)
        load_catalogue.cache_clear()

    yield use
    load_catalogue.cache_clear()


@pytest.fixture
def content(tiny):
    """Return the bytes of a model."""
    return tiny("llama").read_bytes()


@pytest.fixture
def local(tmp_path, content):
    """Return the file of a model."""
    path = tmp_path / "mine.gguf"
    path.write_bytes(content)
    return path
