"""The Hub's own client and llm share one cache and use each other's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_hub import REPO, Fault

from llmcli.interrupt import Interrupt

FILE = "tiny.Q8_0.gguf"


@pytest.fixture
def fetch(hub, tiny, monkeypatch):
    """Return the client's ``hf_hub_download`` for one file of a Hub that has a good model."""
    from huggingface_hub import hf_hub_download

    hub.repos[REPO] = {FILE: tiny("llama").read_bytes()}
    cache = Path(os.environ["HF_HOME"]) / "hub"
    return lambda **how: Path(hf_hub_download(REPO, FILE, endpoint=hub.endpoint, cache_dir=cache, **how))


def test_the_client_uses_what_llm_pulled(hub, fetch, library):
    """Without the network, by branch and by commit."""
    *_, model = library.pull(REPO, Interrupt())
    hub.asked.clear()
    assert fetch(local_files_only=True) == fetch(local_files_only=True, revision=hub.commit) == model.path
    assert hub.asked == []


def test_the_client_does_not_fetch_again_what_llm_pulled(hub, fetch, library):
    """With the network it requests only the head."""
    *_, model = library.pull(REPO, Interrupt())
    hub.asked.clear()
    assert fetch() == model.path
    assert hub.paths("storage") == []


def test_llm_uses_what_the_client_pulled(hub, fetch, library):
    """The client talks to this Hub, and llm uses its file as it is."""
    path = fetch()
    hub.asked.clear()
    (model,) = [model for model in library.list() if model.path == path]
    assert library.ensure_verified(model.name, Interrupt()).verified
    *_, pulled = library.pull(f"{REPO}:Q8_0", Interrupt())
    assert pulled.path == path
    assert hub.asked == []


def test_llm_replaces_a_damaged_file_of_the_client(hub, fetch, library):
    """The client caches a file with a flipped bit as success; llm notices, and a pull replaces it."""
    hub.storage_faults = [Fault(flip=True)]
    path = fetch()
    good = hub.repos[REPO][FILE]
    assert path.read_bytes() != good
    *_, model = library.pull(f"{REPO}:Q8_0", Interrupt())
    assert model.path == path and path.read_bytes() == good
