"""Recommending models for a machine, a task and languages, from the catalogue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmcli.errors import ModelTooLarge, UnavailableError
from llmcli.models.catalogue import CatalogueEntry, HubSource, load_catalogue
from llmcli.models.footprint import PROCESS_BYTES
from llmcli.models.memory_estimate import FitPolicy, MachineResources
from llmcli.models.recommend import FLUENT_TOKENS_PER_S, Recommendation, estimate_entry, recommend_models

GB = 10**9


def entry(name, parameters, **more):
    """Return a model of this many billion parameters; a Q8_0 of it takes about as many GB plus a sixth."""
    fields = {
        "about": "for tests",
        "repo": f"maker/{name}",
        "quantizations": ("Q8_0",),
        "licence": "mit",
        "languages": "some",
        "tasks": ("chat",),
        "memory": 1,
        "pin": None,
        "sources": (HubSource(),),
        "context": 1000,
        "attention": {"layers": 10, "kv_heads": 2, "head": 50},
        "codes": ("en", "fi"),
    }
    return CatalogueEntry(name, **{**fields, "parameters": parameters, **more})


SMALL, MIDDLE, LARGE = entry("small", 1), entry("middle", 4), entry("large", 16)


def names(entries=(SMALL, MIDDLE, LARGE), task="chat", languages=(), memory=10**12, **how):
    machine = MachineResources(memory, how.pop("gpus", ()), how.pop("bandwidth", None))
    found = recommend_models(entries, task, languages, FitPolicy(lambda: machine, how.pop("context", None)))
    return [each.entry.name for each in found]


def test_the_most_capable_that_fits_comes_first():
    """If speed is unknown, capable models come before small ones."""
    assert names() == ["large", "middle", "small"]
    assert names(memory=6 * GB) == ["middle", "small"]


def test_slow_models_come_last():
    """A model slower than reading speed comes after all others; of slow ones the fastest first."""
    assert names(bandwidth=FLUENT_TOKENS_PER_S * 6 * GB) == ["middle", "small", "large"]
    assert names(bandwidth=1 * GB) == ["small", "middle", "large"]


def test_models_that_nobody_waits_for_come_first():
    """Below ten tokens a second a faster model is better than a more capable one, unless that is strong in the task."""
    bandwidth = 7 * SMALL.size
    other = entry("other", 1.2)
    assert names((SMALL, other, MIDDLE), bandwidth=bandwidth) == ["small", "other", "middle"]
    assert names((SMALL, other, MIDDLE), bandwidth=2 * bandwidth) == ["other", "small", "middle"]
    assert names((SMALL, replace(other, strong=("chat",))), bandwidth=bandwidth) == ["other", "small"]


def test_small_models_come_after_those_that_read_well():
    """Unless these are slower than people read; a model of less than half a billion parameters is a toy."""
    little, toy = entry("little", 0.6), entry("toy", 0.2)
    assert names((toy, little, SMALL), bandwidth=7 * SMALL.size) == ["small", "little", "toy"]
    assert names((toy, little, SMALL), bandwidth=4 * SMALL.size) == ["little", "toy", "small"]
    fit = FitPolicy(lambda: MachineResources(None))
    assert [Recommendation(each, estimate_entry(each, fit)).is_toy for each in (toy, little)] == [True, False]


def test_a_mixture_of_experts_is_as_fast_as_its_active_weights():
    """Only its active weights are read for a token."""
    mixture = entry("mixture", 16, active=1)
    assert names((SMALL, MIDDLE, mixture), bandwidth=FLUENT_TOKENS_PER_S * 6 * GB)[0] == "mixture"


def test_a_gpu_is_fast():
    """A model on a GPU is fluent, although its speed is unknown."""
    assert names(memory=0, gpus=(6 * GB,), bandwidth=1) == ["middle", "small"]


def test_strong_models_come_before_larger_ones():
    """In that task only."""
    strong = replace(MIDDLE, tasks=("chat", "translate"), strong=("translate",))
    others = [replace(each, tasks=("chat", "translate")) for each in (SMALL, LARGE)]
    entries = (others[0], strong, others[1])
    assert names(entries, "translate") == ["middle", "large", "small"]
    assert names(entries, "chat") == ["large", "middle", "small"]


def test_languages_are_respected():
    """All of them, by language, whatever the region or script."""
    norse = replace(SMALL, codes=("no", "fil", "zh"))
    assert names((norse, MIDDLE), languages=("fi",)) == ["middle"]
    assert names((norse, MIDDLE), languages=("nb", "zh-Hant", "tl")) == ["small"]


def test_the_wanted_context_is_respected():
    """By the model's context, and by the memory that its cache takes."""
    longer = replace(SMALL, context=5000)
    assert names((longer, MIDDLE), context=4000) == ["small"]
    needed = estimate_entry(longer, FitPolicy(lambda: MachineResources(None), 5000)).needed_bytes
    assert needed > longer.size + PROCESS_BYTES + 5000 * 10 * 2 * (50 + 50) * 2
    assert names((longer,), context=5000, memory=needed) == ["small"]
    with pytest.raises(ModelTooLarge):
        names((longer,), context=5000, memory=needed - 1)


@pytest.mark.parametrize("how", [{"task": "code"}, {"languages": ("am",)}, {"context": 1001}])
def test_nothing_suitable_is_69(how):
    """Retrying does not help; the Hub may have a model."""
    with pytest.raises(UnavailableError) as caught:
        names(**how)
    assert caught.value.exit_code == 69 and "llm models search" in caught.value.subject


def test_nothing_that_fits_is_71():
    """The error names the smallest suitable model, with its figures."""
    with pytest.raises(ModelTooLarge) as caught:
        names(memory=1000)
    assert (caught.value.subject, caught.value.available) == ("small", 1000)


def test_a_pinned_file_has_its_own_size():
    """Other sizes are estimated: parameters times bits, and a tenth for tensors that keep more."""
    starter = load_catalogue()["smollm2-135m"]
    assert estimate_entry(starter, FitPolicy(lambda: MachineResources(None))).weight_bytes == starter.pin.size
    assert SMALL.size == int(10**9 * 8.5 / 8 * 1.1)


# ---- the catalogue ---------------------------------------------------------------------------------------------------


def test_the_catalogue_documents_every_computed_value():
    """Every entry has parameters, a context, the shape of its attention and languages that llm knows."""
    from llmcli.tasks.languages import parse_language

    for each in load_catalogue().values():
        assert each.size > 50 * 10**6 and each.context >= 4096
        assert set(each.attention) == {"layers", "kv_heads", "head"}
        assert "en" in each.codes and set(each.strong) <= set(each.tasks)
        assert all(parse_language(code).code == code for code in each.codes)


@pytest.mark.parametrize("task", ["chat", "translate", "summarize", "classify", "code"])
def test_every_task_has_a_model_for_a_laptop(task):
    """With 8 GB of memory and two slow channels."""
    machine = MachineResources(6 * GB, (), 15.0 * GB)
    assert not recommend_models(load_catalogue().values(), task, ("de",), FitPolicy(lambda: machine))[0].is_slow


def test_the_estimate_is_close_to_a_real_header():
    """The starter's cache equals that of its header."""
    starter = load_catalogue()["smollm2-135m"]
    assert estimate_entry(starter, FitPolicy(lambda: MachineResources(None), 100)).kv_bytes_per_token == 23_040
