"""The text of ``--lora``, and the identity of models with adapters."""

from __future__ import annotations

import pytest

from llmcli.config.engine_options import (
    LoraAdapter,
    adapted_model_id,
    dump_adapters,
    load_adapters,
    parse_adapters,
    split_scale,
)

FIRST, SECOND = LoraAdapter("/a:b\udcff.gguf", 0.1, "aa", 3), LoraAdapter("/c.gguf", -2.0, "bb", 5)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.gguf", ("a.gguf", 1.0)),
        ("a.gguf:0.5", ("a.gguf", 0.5)),
        ("a.gguf:-1e-3", ("a.gguf", -0.001)),
        ("a.gguf:0", ("a.gguf", 0.0)),
        ("a.gguf:.5", ("a.gguf", 0.5)),
        ("a.gguf:+2.", ("a.gguf", 2.0)),
        ("/dir:1/a.gguf", ("/dir:1/a.gguf", 1.0)),
        ("a:b.gguf", ("a:b.gguf", 1.0)),
        ("a:b.gguf:2", ("a:b.gguf", 2.0)),
        ("run:7:1", ("run:7", 1.0)),
        ("a.gguf:half", ("a.gguf:half", 1.0)),
        ("a.gguf:1_0", ("a.gguf:1_0", 1.0)),
        ("C:\\a.gguf", ("C:\\a.gguf", 1.0)),
    ],
)
def test_a_number_after_the_last_colon_is_the_scale(text, found):
    """Any other colon belongs to the path."""
    assert split_scale(text) == found


@pytest.mark.parametrize(
    "text", ["", " ", ":1", "a.gguf:", "a::1", "a:nan", "a:inf", "a:-Infinity", "a:1e999", "a:4e38"]
)
def test_a_bad_scale_or_an_empty_path_is_refused(text):
    """A scale is a finite number of 32 bits."""
    with pytest.raises(ValueError, match="expected FILE"):
        split_scale(text)


def test_the_setting_is_a_list_or_a_text_with_commas():
    """The word none alone switches adapters off."""
    assert parse_adapters(["a", "b:2"]) == ("a", "b:2") == parse_adapters("a, b:2")
    assert parse_adapters("none") == () == parse_adapters(["none"]) == parse_adapters([])
    assert parse_adapters(["a,b"]) == ("a,b",)  # only a text is divided
    for bad in (["a", "none"], "a,", [3], {"a": 1}, 7, None, ["a:nan"]):
        with pytest.raises(ValueError, match=r"expected|excludes"):
            parse_adapters(bad)


def test_identity():
    """File contents, scales and their order count; paths do not; none is the model itself."""
    assert adapted_model_id("id", ()) == "id"
    moved = LoraAdapter("/elsewhere", FIRST.scale, FIRST.sha256, FIRST.size)
    assert adapted_model_id("id", [FIRST]) == adapted_model_id("id", [moved])
    others = [
        [FIRST],
        [SECOND],
        [FIRST, SECOND],
        [SECOND, FIRST],
        [FIRST, FIRST],
        [LoraAdapter(FIRST.path, 0.2, FIRST.sha256, 3)],
        [LoraAdapter(FIRST.path, FIRST.scale, "cc", 3)],
    ]
    ids = [adapted_model_id("id", adapters) for adapters in others]
    assert len(set(ids)) == len(others) and all(each.startswith("id+") for each in ids)


def test_adapters_pass_through_text():
    """Paths that are not UTF-8 included."""
    assert load_adapters(dump_adapters((FIRST, SECOND))) == (FIRST, SECOND)
    assert dump_adapters(()) == "" and load_adapters("") == ()
