"""The parameters of a command in a statement: which values stand in it, and the command line that they are again."""

from __future__ import annotations

import json

import pytest
from declared_commands import DECLARED, has_option

from llmcli.cli.parsing.parameters import REQUIRED, parse_words
from llmcli.cli.provenance.command_parameters import (
    describe_parameters,
    digest_text,
    find_named_files,
    find_private_texts,
    format_words,
)
from llmcli.provenance.digest_key import DigestKey

KEY = DigestKey(bytes(32))
CANARY = "a canary"
VERBS = {name: declared.parameters for name, declared in DECLARED.items() if has_option(name, "provenance")}
NAMES = {
    "against", "answer", "backend", "calibrate", "calibration", "column", "delimiter", "evaluate",
    "examples", "file", "files", "format", "format_name", "glossary", "html", "index", "input_file",
    "kind", "label_column", "language", "lora", "memory", "model", "more", "outline", "output_format",
    "plot",
    "prompt", "reference", "report", "shard", "shell", "source", "sources", "style", "summary", "swap", "to",
    "update",
}  # fmt: skip
"""Parameters of verbs whose values are names, and no texts of the user."""


def takes_text(parameter):
    return parameter.value_type in (str, str | None, list[str], list[str] | None)


def describe(parameters, **values):
    return describe_parameters(parameters, values, KEY)


def test_only_names_stand_in_a_statement():
    """Any other text of any verb is a digest; an option that is added later is private by default."""
    shown = set()
    for parameters in VERBS.values():
        for parameter in filter(takes_text, parameters):
            value = [CANARY] if "list" in str(parameter.value_type) else CANARY
            if CANARY in json.dumps(describe([parameter], **{parameter.name: value})):
                shown.add(parameter.name)
    assert shown == NAMES


def test_a_page_and_a_key_of_a_server_are_private():
    """The address of a page may hold a token."""
    page = "https://example.org/?token=canary"
    found = describe(VERBS["summarize"], files=[page, "notes.txt"], base_url="https://example.org/canary")
    assert "canary" not in json.dumps(found) and found["files"][1] == "notes.txt"


@pytest.mark.parametrize(
    ("verb", "words", "private"),
    [
        ("ask", ["-f", "a b.txt", "-f", "-", "-s", "Be short.", "-x", "Why", "is", "it?"], ["Why is it?", "Be short."]),
        ("ask", ["--temperature", "0.5", "--seed", "3", "--", "-5 + 3?"], ["-5 + 3?"]),
        ("ask", ["-s", "@rules.txt", "--var", "a=@b.txt", "--schema", "@s.json", "-p", "mine"], []),
        ("ask", ["-s", "@@home"], ["@@home"]),
        ("classify", ["--labels", "a,b", "--multi", "--on-error", "skip", "x.csv", "--column", "text"], ["a,b"]),
        ("filter", ["it is so", "--and", "or so", "x.txt", "y.txt", "--threshold", "0.7"], ["it is so", "or so"]),
        ("check", ["answer.md", "--against", "a.txt", "b.txt"], []),
        (
            "translate",
            ["--to", "fr", "--to", "de", "--style", "formal", "--context", "a canary", "a.md"],
            ["a canary"],
        ),
        ("translate", ["--to", "fr", "--style", "@guide.md", "a.md"], []),
    ],
)
def test_the_command_line_is_made_again(verb, words, private):
    """From the statement and the texts that it does not hold; what is missing is named as on the command line."""
    parameters = VERBS[verb]
    values = parse_words(parameters, words)
    described = json.loads(json.dumps(describe_parameters(parameters, values, KEY)))
    assert not any(text in json.dumps(described) for text in private)
    found = find_private_texts(parameters, described)
    assert sorted(each.digest for each in found) == sorted(digest_text(KEY, text) for text in private)
    again = format_words(parameters, described, {digest_text(KEY, text): text for text in private})
    expected = {**values, **({"words": [" ".join(values["words"])]} if values.get("words") else {})}
    assert parse_words(parameters, again) == expected
    if private:
        with pytest.raises(KeyError):
            format_words(parameters, described, {})


def test_files_that_are_read_are_found(tmp_path, monkeypatch):
    """Also behind an @, but no file that the command writes, and none that does not exist."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "rules.txt", "b.txt", "s.json", "report.json", "out.txt"):
        (tmp_path / name).write_text("x")
    asked = {"file": ["a.txt", "missing.txt"], "system": "@rules.txt", "var": ["n=@b.txt", "m=1"], "schema": "s.json"}
    assert [*find_named_files(VERBS["ask"], {**asked, "output": "out.txt"})] == [
        "a.txt", "rules.txt", "b.txt", "s.json",
    ]  # fmt: skip
    assert [*find_named_files(VERBS["translate"], {"report": "report.json", "files": None})] == []


def test_every_parameter_has_a_long_name():
    """A value is joined to it, so that one that begins with a dash stays a value."""
    for parameters in VERBS.values():
        for parameter in parameters:
            assert parameter.default is REQUIRED or any(
                name.startswith("--") for name in getattr(parameter.declaration, "names", ["--"])
            )
