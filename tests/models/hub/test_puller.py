"""Pulling what fits: a model that cannot run here is not downloaded unless forced."""

from __future__ import annotations

import hashlib
import json

import pytest
from fake_hub import REPO

from llmcli.errors import BadModelFile, ModelTooLarge
from llmcli.models.footprint import PROCESS_BYTES
from llmcli.models.hub.variants import VariantList
from llmcli.models.library.model_library import ModelFile
from llmcli.models.memory_estimate import FitPolicy, MachineResources

MB = 10**6
LISTED = {
    "about": "for tests",
    "repo": REPO,
    "quantizations": ["Q8_0", "Q4_0"],
    "licence": "mit",
    "languages": "none",
    "tasks": ["chat"],
    "memory": 1,
}


def fit_policy(memory, *, force=False, context=64):
    return FitPolicy(lambda: MachineResources(memory), context, force=force)


@pytest.fixture
def pull(hub, library, tiny, interrupt):
    """Return a function from a name and a policy to the listed variants and the model."""
    larger = tiny("chatml").read_bytes() + bytes(200_000)
    hub.repos[REPO] = {"tiny.Q4_0.gguf": tiny("llama").read_bytes(), "tiny.Q8_0.gguf": larger}

    def pulled(name, policy):
        events = list(library.pull(name, interrupt, fit_policy=policy))
        model = events[-1]
        assert isinstance(model, ModelFile) and model.path.is_file()
        return [event for event in events if isinstance(event, VariantList)], model

    return pulled


@pytest.fixture
def pretended(hub):
    """Make the smaller quantization real, and the larger one claim to be too large."""
    hub.sizes[REPO, "tiny.Q8_0.gguf"] = 500 * MB
    return hub


def downloads(hub):
    """Return the requests for whole files."""
    return [asked for asked in hub.asked if asked.server == "storage"][len(hub.headers_asked()) :]


def test_the_best_quantization_that_fits_is_pulled(pull, pretended):
    """The variants are reported first, one header is read and one file fetched."""
    ((variants,), model) = pull(REPO, fit_policy(100 * MB))
    assert model.name == f"{REPO}:Q4_0" and variants.selected.name == model.name
    assert len(pretended.headers_asked()) == len(downloads(pretended)) == 1


def test_a_catalogue_entry_has_its_own_order(pull, pretended, catalogue):
    """The first of its quantizations that fits."""
    catalogue(json.dumps({"known": LISTED}))
    ((variants,), model) = pull("known", fit_policy(100 * MB))
    assert (model.quantization, model.name) == ("Q4_0", "known")
    assert [offer.quantization for offer in variants.variants] == ["Q8_0", "Q4_0"]


@pytest.mark.parametrize("name", [REPO, f"{REPO}:Q4_0", f"{REPO}/tiny.Q4_0.gguf"])
def test_a_model_that_does_not_fit_is_not_downloaded(pull, hub, name):
    """71 before a byte of the weights came; with force it is pulled."""
    with pytest.raises(ModelTooLarge):
        pull(name, fit_policy(1000))
    assert downloads(hub) == []
    assert pull(name, fit_policy(1000, force=True))[1].quantization == "Q4_0"


def test_a_long_context_may_not_fit(pull):
    """The cache for it counts; the error names the context that would fit."""
    with pytest.raises(ModelTooLarge) as caught:
        pull(REPO, fit_policy(PROCESS_BYTES + 2 * MB, context=8000))
    assert 0 < caught.value.max_context < 8000
    assert pull(REPO, fit_policy(PROCESS_BYTES + 2 * MB, context=caught.value.max_context))[1].quantization == "Q4_0"


@pytest.mark.parametrize("attention", [{}, {"layers": 10, "kv_heads": 10, "head": 50}])
def test_a_pinned_model_is_rated_without_a_header(pull, hub, tiny, catalogue, attention):
    """By its size and what the catalogue documents; the Hub gets no request before that."""
    content = tiny("llama").read_bytes()
    pin = {"file": "tiny.Q4_0.gguf", "revision": "c" * 40, "size": len(content)}
    pin["sha256"] = hashlib.sha256(content).hexdigest()
    entry = {**LISTED, "quantizations": ["Q4_0"], "pinned": pin, "context": 100, "attention": attention}
    catalogue(json.dumps({"known": entry}))
    with pytest.raises(ModelTooLarge) as caught:
        pull("known", fit_policy(1))
    needed = caught.value.needed
    assert needed >= len(content) + PROCESS_BYTES + (64 * 10 * 10 * 200 if attention else 0)
    with pytest.raises(ModelTooLarge):
        pull("known", fit_policy(needed - 1))
    assert hub.asked == []
    ((variants,), model) = pull("known", fit_policy(needed))
    assert (variants.selected.name, variants.selected.estimate.needed_bytes, model.name) == ("known", needed, "known")


def test_a_file_that_cannot_be_loaded_is_not_downloaded(pull, hub):
    """Its header says so: 65."""
    hub.repos[REPO] = {"tiny.Q4_0.gguf": b"GGUF".ljust(5000, b"\7")}
    with pytest.raises(BadModelFile):
        pull(REPO, fit_policy(10**12))
    assert downloads(hub) == []


def test_a_server_without_ranges(pull, hub):
    """It takes a second connection, no more."""
    hub.ranges = False
    assert pull(REPO, fit_policy(100 * MB))[1].quantization == "Q4_0"


def test_a_split_model_is_rated_as_a_whole(pull, hub, tiny):
    """Each part would fit; together they do not."""
    content = tiny("llama").read_bytes()
    hub.repos[REPO] = {f"m.Q8_0-0000{n}-of-00002.gguf": content + bytes([n]) for n in (1, 2)}
    with pytest.raises(ModelTooLarge) as caught:
        pull(REPO, fit_policy(2 * len(content)))
    assert caught.value.weights == 2 * len(content) + 2


def test_a_present_model_is_not_rated(pull, hub):
    """It was fetched before; whether it can be loaded is checked at loading."""
    pull(REPO, fit_policy(100 * MB))
    hub.asked.clear()
    assert pull(REPO, fit_policy(1))[0] == [] and hub.asked == []
