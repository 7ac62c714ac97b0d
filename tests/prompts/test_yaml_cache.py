"""Cached prompt files: the same prompt, and never that of another text."""

from __future__ import annotations

import sys

import pytest

from llmcli.prompts import PromptLibrary, prompt_parser
from llmcli.prompts.prompt_parser import parse_prompt

TEXT = "description: x\nuser: |\n  {% for d in documents %}{{ d.text }}{% endfor %}{{ question }}\noptions: {temperature: 0.5}\n"


def test_a_prompt_is_the_same_from_the_cache(tmp_path):
    """Including the lines for faults in templates."""
    fresh = parse_prompt("ask.documents", tmp_path, TEXT)
    first = parse_prompt("ask.documents", tmp_path, TEXT, tmp_path / "cache")
    second = parse_prompt("ask.documents", tmp_path, TEXT, tmp_path / "cache")
    assert fresh == first == second
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("name", PromptLibrary(prompt_parser.Path("/nonexistent")).names())
def test_every_built_in_prompt(tmp_path, name):
    """Cached and loaded unchanged."""
    library = PromptLibrary(tmp_path / "none", cache=tmp_path / "cache")
    assert library.get(name) == library.get(name) == PromptLibrary(tmp_path / "none").get(name)


def test_the_yaml_parser_is_not_imported(tmp_path, monkeypatch):
    """That is the purpose of the cache."""
    parse_prompt("ask", tmp_path, "description: x\nuser: '{{ question }}'\n", tmp_path)
    monkeypatch.setitem(sys.modules, "yaml", None)  # importing it now fails
    assert parse_prompt("ask", tmp_path, "description: x\nuser: '{{ question }}'\n", tmp_path).description == "x"


def test_an_entry_is_valid_for_its_text_alone(tmp_path):
    """Whatever the name of its file."""
    prompt_parser.store_tree(tmp_path, "a: 1\n", {"a": 1}, {("a",): (1, 1)})
    (file,) = tmp_path.iterdir()
    assert prompt_parser.load_tree(tmp_path, "a: 1\n") == ({"a": 1}, {("a",): (1, 1)})
    file.replace(prompt_parser._cache_file(tmp_path, "a: 2\n"))
    assert prompt_parser.load_tree(tmp_path, "a: 2\n") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b'{"text": "a: 1\\n"}', b'{"text": "a: 1\\n", "tree": 5, "lines": []}',
                                     b'{"text": "a: 1\\n", "tree": {}, "lines": [5]}', b"[" * 100_000, b"\xff"])  # fmt: skip
def test_a_damaged_entry_is_ignored(tmp_path, content):
    """The file is parsed again."""
    prompt_parser._cache_file(tmp_path, "a: 1\n").write_bytes(content)
    assert prompt_parser.load_tree(tmp_path, "a: 1\n") is None


def test_what_json_cannot_represent_is_not_cached(tmp_path):
    """Dates, and keys that are numbers."""
    import datetime as dt

    prompt_parser.store_tree(tmp_path, "x", {"a": dt.date(2024, 1, 1)}, {})
    prompt_parser.store_tree(tmp_path, "y", {"a": {5: 1}}, {})
    assert not list(tmp_path.iterdir())


def test_faults_are_reported_each_time(tmp_path):
    """An invalid file is not cached."""
    for _ in range(2):
        with pytest.raises(ValueError, match="twice"):
            parse_prompt("ask", tmp_path, "user: a\nuser: b\ndescription: x\n", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_an_unwritable_cache_is_no_failure(tmp_path):
    """The prompt itself is what matters."""
    (tmp_path / "file").touch()
    assert (
        parse_prompt("ask", tmp_path, "description: x\nuser: '{{ question }}'\n", tmp_path / "file" / "x").description
        == "x"
    )
