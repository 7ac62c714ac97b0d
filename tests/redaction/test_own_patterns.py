"""The user's own patterns, words and hosts."""

from __future__ import annotations

import pytest

from llmcli.redaction import own_patterns
from llmcli.redaction.redactor import Redactor


@pytest.mark.parametrize(
    "pattern", [r"CU-\d{6}", r"(?i)proj-[a-z]{1,20}", r"\bX(?:A|BB)?\d{2,4}\b", r"[^\]a]{3}[|*+]", r"a\{b", "a{b}"]
)
def test_bounded_patterns_are_taken(pattern):
    """With alternatives, classes, groups and flags."""
    assert own_patterns.parse_patterns({"own": pattern}) == {"own": pattern}


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(a+)+b", "no upper bound"),
        (r"\w*x", "no upper bound"),
        (r"\d{3,}", "no upper bound"),
        (r"(a|aa){30}b", "ways"),
        (r"(\w{1,40}){1,40}!", "ways"),
        (r"\w{1,99}\w{1,99}\w{1,99}x", "ways"),
        (r"(a", "regular expression"),
        (r"a{0,3}", "empty"),
        (r"(?P<x>a)(?(x)b|c)", "not supported"),
        ("", "regular expression"),
    ],
)
def test_patterns_that_may_take_for_ever_are_refused(pattern, why):
    """The message says which part."""
    with pytest.raises(ValueError, match=why):
        own_patterns.parse_patterns({"own": pattern})


def test_words_come_from_lists_and_files(tmp_path):
    """A file holds one a line, with comments; a plain list is of the kind word."""
    (tmp_path / "names.txt").write_text("# clients\nAcme Corp\n\nM\u00fcller\n", encoding="utf-8")
    assert own_patterns.parse_words(["Falcon", "Falcon"]) == {"word": ("Falcon",)}
    parsed = own_patterns.parse_words({"client": str(tmp_path / "names.txt"), "project": ["Blue Heron"]})
    assert parsed == {"client": ("Acme Corp", "M\u00fcller"), "project": ("Blue Heron",)}
    for bad in ({"client": str(tmp_path / "none")}, {"A B": ["x"]}, 3, {"client": [["x"]]}):
        with pytest.raises(ValueError, match="expected"):
            own_patterns.parse_words(bad)


def test_words_are_found_in_any_case_as_whole_words():
    """In scripts without spaces anywhere."""
    redactor = Redactor(words={"project": ["Blue Heron", "\u5f20\u4f1f"]}, patterns={"customer": r"CU-\d{6}"})
    text = "BLUE HERON, blue herons, \u8bf7\u95ee\u5f20\u4f1f\u5728\u5417, CU-123456"
    values = [(span.kind, text[span.start : span.end]) for span in redactor.find(text)]
    assert values == [("project", "BLUE HERON"), ("project", "\u5f20\u4f1f"), ("customer", "CU-123456")]


def test_hosts_are_trusted_by_name_or_below_a_domain():
    """A domain below a trusted name is not trusted by itself."""
    trusted = own_patterns.parse_hosts("gpu.lab, *.example.org,10.0.0.7")
    assert own_patterns.is_trusted("GPU.lab", trusted) and own_patterns.is_trusted("a.example.org", trusted)
    assert own_patterns.is_trusted("10.0.0.7", trusted)
    for host in ("example.org", "x.gpu.lab", "evil-example.org", "10.0.0.70"):
        assert not own_patterns.is_trusted(host, trusted)
    with pytest.raises(ValueError, match="names of hosts"):
        own_patterns.parse_hosts(["https://gpu.lab/v1"])
