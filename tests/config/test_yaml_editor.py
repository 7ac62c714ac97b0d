"""Entries of a YAML file are added and removed, and nothing else changes."""

from __future__ import annotations

import pytest
import yaml

from llmcli.config.config_editor import UneditableYaml, remove_entry, set_entry

ENTRY = {"type": "openai", "base_url": "https://host/v1"}
BLOCK = """\
# my settings
model: qwen3-1.7b   # the small one

backends:
  # the lab
  lab:
    type: openai
    base_url: http://gpu.lab:8000/v1  # in the cellar
    price: {input: 1, output: 2}

  # that of the company
  work:
    type: openai
    base_url: https://work/v1

ctx: 8192  # enough
"""


def test_an_entry_is_added_behind_the_others():
    """All lines that were there are there, in their order."""
    text = set_entry(BLOCK, ("backends", "new"), ENTRY)
    added = "  new:\n    type: openai\n    base_url: https://host/v1\n"
    assert text == BLOCK.replace("base_url: https://work/v1\n", f"base_url: https://work/v1\n{added}")


def test_an_entry_is_removed_with_its_lines_only():
    """Comments stay, also those about it."""
    text = remove_entry(BLOCK, ("backends", "lab"))
    gone = [line for line in BLOCK.splitlines() if line not in text.splitlines()]
    assert gone == [
        "  lab:",
        "    base_url: http://gpu.lab:8000/v1  # in the cellar",
        "    price: {input: 1, output: 2}",
    ]
    assert yaml.safe_load(text)["backends"] == {"work": {"type": "openai", "base_url": "https://work/v1"}}


def test_an_entry_is_replaced():
    """The old one goes, the new one stands at the end."""
    text = set_entry(BLOCK, ("backends", "lab"), ENTRY)
    assert yaml.safe_load(text)["backends"]["lab"] == ENTRY and "# my settings" in text and "# enough" in text


def test_the_last_entry_leaves_an_empty_mapping():
    """Which takes an entry again."""
    text = remove_entry(remove_entry(BLOCK, ("backends", "lab")), ("backends", "work"))
    assert yaml.safe_load(text) == {"model": "qwen3-1.7b", "backends": {}, "ctx": 8192}
    assert "  # the lab\n" in text
    again = set_entry(text, ("backends", "new"), ENTRY)
    assert yaml.safe_load(again)["backends"] == {"new": ENTRY} and "{}" not in again


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but a comment\n",
        "# without a newline",
        "ctx: 512",
        "ctx: 512\n",
        "backends:\n",
        "backends:",
        "backends: # none\nctx: 512\n",
        "backends: {}\n",
        "backends: {}  # none yet\nctx: 512\n",
        "backends:\n  # none yet\nctx: 512\n",
        "backends: null\nctx: 512\n",
        "backends: ~\n",
        "{}",
        '{"ctx": 512}',
        '{"backends": {}}',
        '{"backends": {"other": {"type": "openai", "base_url": "http://x/v1"}}, "ctx": 512}',
        "backends: {other: {type: openai, base_url: 'http://x/v1'}}\n",
        "backends:\n    other:\n        type: openai\n        base_url: http://x/v1\n",
        "backends:\n    other: {type: openai, base_url: 'http://x/v1'} # short\n# end\n",
        "backends:\n  other:\n    type: openai\n    base_url: |-\n      http://x/v1\nctx: 512\n",
        "backends:\n  other:\n    type: openai\n    model:\n",
        "backends:\n  other:\n    type: openai\n    model:\n\nctx: 1\n",
        "---\nbackends:\n  other:\n    type: openai\n",
        "\"backends\":\n  'other':\n    type: openai\n",
        "backends:\r\n  other:\r\n    type: openai\r\nctx: 512\r\n",
    ],
)
def test_every_usual_layout_is_edited_and_restored(text):
    """Adding an entry changes nothing else, and removing it gives the same settings as before."""
    before = yaml.safe_load(text) or {}
    added = set_entry(text, ("backends", "new"), ENTRY)
    assert yaml.safe_load(added) == {**before, "backends": {**(before.get("backends") or {}), "new": ENTRY}}
    assert yaml.safe_load(remove_entry(added, ("backends", "new"))) == {
        **before,
        "backends": before.get("backends") or {},
    }
    assert [line for line in text.splitlines() if "#" in line and line not in added] in (
        [],
        ["backends: {}  # none yet"],
    )


def test_values_of_all_kinds_are_written():
    """Numbers, switches, nested mappings, and texts that YAML would take for others."""
    value = {
        "model": "yes",
        "consent": True,
        "price": {"input": 0.5, "currency": "USD"},
        "key_file": "~/k: #1",
        "n": "1",
    }
    assert yaml.safe_load(set_entry("", ("backends", "no"), value)) == {"backends": {"no": value}}
    assert yaml.safe_load(set_entry("{}", ("backends", "no"), value)) == {"backends": {"no": value}}


@pytest.mark.parametrize(
    "text",
    [
        "base: &b\n  type: openai\nbackends:\n  other: *b\n",
        "x: &b {other: {type: openai}}\nbackends: *b\n",
    ],
)
def test_a_layout_with_references_is_refused(text):
    """What cannot be edited safely is left alone."""
    with pytest.raises(UneditableYaml):
        set_entry(text, ("backends", "new"), ENTRY)
    with pytest.raises(UneditableYaml):
        remove_entry(text, ("backends", "other"))


SETTINGS = """\
ctx: 8192  # enough
worker:
  idle_timeout: 60  # a minute
aliases: {small: qwen3-1.7b}
"""


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("ctx",), 4096, SETTINGS.replace("8192", "4096")),
        (("worker", "idle_timeout"), 90, SETTINGS.replace("60", "90")),
        (("model",), "qwen3-1.7b", f"{SETTINGS}model: qwen3-1.7b\n"),
        (("markdown",), "off", f"{SETTINGS}markdown: 'off'\n"),
        (("aliases",), {"big": "x"}, SETTINGS.replace("aliases: {small: qwen3-1.7b}\n", "aliases:\n  big: x\n")),
        (("worker", "memory"), 9, SETTINGS.replace("# a minute\n", "# a minute\n  memory: 9\n")),
    ],
)
def test_a_setting_is_set_in_its_place(path, value, expected):
    """Comments and other entries stay; a scalar is replaced on its line."""
    assert set_entry(SETTINGS, path, value) == expected


def test_a_setting_is_removed():
    """The last entry of the file leaves an empty file, which has the default settings."""
    assert remove_entry("ctx: 1\n", ("ctx",)) == ""
    assert remove_entry(SETTINGS, ("ctx",)) == SETTINGS.partition("\n")[2]
    with pytest.raises(UneditableYaml):
        remove_entry(SETTINGS, ("model",))


@pytest.mark.parametrize("text", ["{ctx: 1}", '{"ctx": 1, "model": "a"}'])
def test_flow_mappings_are_edited(text):
    """A file in JSON stays JSON."""
    assert yaml.safe_load(set_entry(text, ("ctx",), 2))["ctx"] == 2
    assert "ctx" not in (yaml.safe_load(remove_entry(text, ("ctx",))) or {})
    assert yaml.safe_load(set_entry(text, ("worker", "memory"), 2))["worker"] == {"memory": 2}
