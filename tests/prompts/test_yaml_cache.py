"""Parsed prompt files that are kept: the same prompt, and never that of another text."""

from __future__ import annotations

import sys

import pytest

from llmcli.prompts import PromptLibrary, yaml_cache
from llmcli.prompts.prompt_parser import parse_prompt

TEXT = "description: x\nuser: |\n  {% for d in documents %}{{ d.text }}{% endfor %}{{ question }}\noptions: {temperature: 0.5}\n"


def test_a_prompt_is_the_same_from_the_cache(tmp_path):
    """Lines too, which faults in templates name."""
    fresh = parse_prompt("ask.documents", tmp_path, TEXT)
    first = parse_prompt("ask.documents", tmp_path, TEXT, tmp_path / "cache")
    second = parse_prompt("ask.documents", tmp_path, TEXT, tmp_path / "cache")
    assert fresh == first == second
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("name", PromptLibrary(yaml_cache.Path("/nonexistent")).names())
def test_every_built_in_prompt(tmp_path, name):
    """Kept and found again as it is."""
    library = PromptLibrary(tmp_path / "none", cache=tmp_path / "cache")
    assert library.get(name) == library.get(name) == PromptLibrary(tmp_path / "none").get(name)


def test_the_yaml_parser_is_not_imported(tmp_path, monkeypatch):
    """That is what it is for."""
    parse_prompt("ask", tmp_path, "description: x\nuser: '{{ question }}'\n", tmp_path)
    monkeypatch.setitem(sys.modules, "yaml", None)  # importing it now fails
    assert parse_prompt("ask", tmp_path, "description: x\nuser: '{{ question }}'\n", tmp_path).description == "x"


def test_an_entry_counts_for_its_text_alone(tmp_path):
    """Whatever the name of its file."""
    yaml_cache.store_tree(tmp_path, "a: 1\n", {"a": 1}, {("a",): (1, 1)})
    (file,) = tmp_path.iterdir()
    assert yaml_cache.load_tree(tmp_path, "a: 1\n") == ({"a": 1}, {("a",): (1, 1)})
    file.replace(yaml_cache._cache_file(tmp_path, "a: 2\n"))
    assert yaml_cache.load_tree(tmp_path, "a: 2\n") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b'{"text": "a: 1\\n"}', b'{"text": "a: 1\\n", "tree": 5, "lines": []}',
                                     b'{"text": "a: 1\\n", "tree": {}, "lines": [5]}', b"[" * 100_000, b"\xff"])  # fmt: skip
def test_a_damaged_entry_counts_as_none(tmp_path, content):
    """The file is parsed again."""
    yaml_cache._cache_file(tmp_path, "a: 1\n").write_bytes(content)
    assert yaml_cache.load_tree(tmp_path, "a: 1\n") is None


def test_what_json_does_not_hold_is_not_kept(tmp_path):
    """Dates, and keys that are numbers."""
    import datetime as dt

    yaml_cache.store_tree(tmp_path, "x", {"a": dt.date(2024, 1, 1)}, {})
    yaml_cache.store_tree(tmp_path, "y", {"a": {5: 1}}, {})
    assert not list(tmp_path.iterdir())


def test_faults_are_told_each_time(tmp_path):
    """A file that is wrong is not kept."""
    for _ in range(2):
        with pytest.raises(ValueError, match="twice"):
            parse_prompt("ask", tmp_path, "user: a\nuser: b\ndescription: x\n", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path):
    """The prompt is what matters."""
    (tmp_path / "file").touch()
    assert (
        parse_prompt("ask", tmp_path, "description: x\nuser: '{{ question }}'\n", tmp_path / "file" / "x").description
        == "x"
    )
