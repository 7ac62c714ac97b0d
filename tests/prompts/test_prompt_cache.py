"""Cached prompts: the same prompt, never that of another text, name, contract or version."""

from __future__ import annotations

import json
import sys

import pytest

from llmcli.errors import ConfigError
from llmcli.prompts import contracts, prompt_library
from llmcli.prompts.contracts import Contract, register_contract
from llmcli.prompts.prompt_library import PromptLibrary, load_prompt, store_prompt
from llmcli.prompts.prompt_parser import parse_prompt

TEXT = "description: x\nuser: |\n  {% for d in documents %}{{ d.text }}{% endfor %}{{ question }}\noptions: {temperature: 0.5}\n"
PLAIN = "description: x\nuser: '{{ question }}'\n"


@pytest.fixture
def library(tmp_path):
    """Return a library with a cache, and a user's prompts "ask.documents" and "own"."""
    user = tmp_path / "user"
    user.mkdir()
    (user / "ask.documents.yaml").write_text(TEXT)
    (user / "own.yaml").write_text(PLAIN)
    return PromptLibrary(user, cache=tmp_path / "cache")


def test_a_prompt_is_the_same_from_the_cache(library, tmp_path):
    """Including what a template uses."""
    fresh = PromptLibrary(library.user).get("ask.documents")
    assert fresh == library.get("ask.documents") == library.get("ask.documents")
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("name", PromptLibrary(prompt_library.Path("/nonexistent")).names())
def test_every_built_in_prompt(tmp_path, name):
    """Cached and loaded unchanged."""
    library = PromptLibrary(tmp_path / "none", cache=tmp_path / "cache")
    fresh = PromptLibrary(tmp_path / "none").get(name)
    assert library.get(name) == fresh and list((tmp_path / "cache").iterdir())
    assert library.get(name) == fresh and library.get(name).fingerprint == fresh.fingerprint


def test_neither_yaml_nor_the_parser_is_imported(library, monkeypatch):
    """That is the purpose of the cache."""
    library.get("ask.documents")
    for module in ("yaml", "jinja2", "llmcli.prompts.prompt_parser", "llmcli.prompts.contracts"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it now fails
    assert library.get("ask.documents").description == "x"


def test_an_entry_is_valid_for_its_text_and_name_alone(tmp_path):
    """Whatever the name of its file."""
    store_prompt(tmp_path, parse_prompt("ask", tmp_path, PLAIN), PLAIN)
    (file,) = tmp_path.iterdir()
    assert load_prompt(tmp_path, "ask", tmp_path, PLAIN) == parse_prompt("ask", tmp_path, PLAIN)
    for name, text in (("ask", PLAIN + "\n"), ("own", PLAIN)):
        prompt_library._cache_file(tmp_path, name, text).write_bytes(file.read_bytes())
        assert load_prompt(tmp_path, name, tmp_path, text) is None


def test_an_entry_of_another_version_is_ignored(tmp_path, monkeypatch):
    """Its rules may have been others."""
    store_prompt(tmp_path, parse_prompt("ask", tmp_path, PLAIN), PLAIN)
    monkeypatch.setattr(prompt_library, "__version__", "0.0.1")
    assert load_prompt(tmp_path, "ask", tmp_path, PLAIN) is None


def test_a_contract_that_a_package_registers_later_counts(library, monkeypatch):
    """The prompt was the user's own before."""
    monkeypatch.setattr(contracts, "_CONTRACTS", dict(contracts._CONTRACTS))
    assert library.get("own").contract_variables == ("row",)
    register_contract("own", Contract({"question": "a question"}))
    assert library.get("own").contract_variables == ("question",)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b'{"text": "a: 1\\n"}', b"[" * 100_000, b"\xff"])
def test_a_damaged_entry_is_ignored(tmp_path, content):
    """The file is parsed again."""
    prompt_library._cache_file(tmp_path, "ask", PLAIN).write_bytes(content)
    assert load_prompt(tmp_path, "ask", tmp_path, PLAIN) is None


@pytest.mark.parametrize("lost", ["user", "options", "variables", "examples"])
def test_an_entry_that_lacks_a_field_is_ignored(tmp_path, lost):
    """So is one with a wrong type."""
    store_prompt(tmp_path, parse_prompt("ask", tmp_path, PLAIN), PLAIN)
    (file,) = tmp_path.iterdir()
    kept = json.loads(file.read_bytes())
    kept["prompt"][lost] = 5
    file.write_text(json.dumps(kept))
    assert load_prompt(tmp_path, "ask", tmp_path, PLAIN) is None
    del kept["prompt"][lost]
    file.write_text(json.dumps(kept))
    assert load_prompt(tmp_path, "ask", tmp_path, PLAIN) is None


@pytest.mark.parametrize("schema", ["{a: 2024-01-01}", "{5: 1}"])
def test_what_json_cannot_represent_is_not_cached(tmp_path, schema):
    """Dates, and keys that are numbers."""
    text = f"{PLAIN}output: {{schema: {schema}}}\n"
    store_prompt(tmp_path, parse_prompt("ask", tmp_path, text), text)
    assert not list(tmp_path.iterdir())


def test_faults_are_reported_each_time(library, tmp_path):
    """An invalid file is not cached."""
    (library.user / "own.yaml").write_text("user: a\nuser: b\ndescription: x\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="twice"):
            library.get("own")
    assert not (tmp_path / "cache").exists()


def test_an_unwritable_cache_is_no_failure(library, tmp_path):
    """The prompt itself is what matters."""
    (tmp_path / "cache").touch()
    assert library.get("own").description == "x"
