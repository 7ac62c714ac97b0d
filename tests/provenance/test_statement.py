"""The statement: in-toto's form, and what is no statement of ours."""

from __future__ import annotations

import json

import pytest

from llmcli.errors import BadDocument
from llmcli.provenance.statement import Statement, parse_statement

PREDICATE = {
    "command": "ask",
    "parameters": {},
    "settings": {},
    "directory": ".",
    "key": "0123456789abcdef",
    "inputs": [{"name": "a.txt", "digest": {"hmac-sha256": "00"}}],
    "prompts": [],
    "versions": {"llmcli": "0.1.0"},
}
STATEMENT = Statement("out.txt", {"sha256": "ab"}, PREDICATE)


def test_it_is_a_statement_of_in_toto():
    """With the four fields of version 1, and the output as its subject."""
    written = STATEMENT.to_json()
    assert list(written) == ["_type", "subject", "predicateType", "predicate"]
    assert written["_type"] == "https://in-toto.io/Statement/v1"
    assert written["subject"] == [{"name": "out.txt", "digest": {"sha256": "ab"}}]
    assert parse_statement(json.dumps(written).encode(), "x") == STATEMENT


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://slsa.dev/provenance/v1"},
        {"subject": []},
        {"subject": [{"name": "x", "digest": {}}]},
        {"predicate": {**PREDICATE, "inputs": [{"digest": {}}]}},
        {"predicate": {name: value for name, value in PREDICATE.items() if name != "key"}},
        {"predicate": None},
    ],
)
def test_what_is_no_statement_of_ours_is_refused(change):
    """Another version or kind, and missing fields; the error names the file."""
    data = json.dumps({**STATEMENT.to_json(), **change}).encode()
    with pytest.raises(BadDocument) as caught:
        parse_statement(data, "x.provenance.json")
    assert caught.value.subject == "x.provenance.json" and caught.value.kind == "statement"


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"[]", b"\xff"])
def test_what_is_no_json_is_refused(data):
    """Cut and hostile files too."""
    with pytest.raises(BadDocument):
        parse_statement(data, "x")
