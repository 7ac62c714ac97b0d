"""Prompt files whose answers follow a schema or labels, from the command line to the engine and back."""

from __future__ import annotations

import json

import pytest

KIND = "description: A thing\nuser: Describe it.\noptions: {{temperature: 0}}\noutput: {output}\n"
SCHEMA = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
        "count": {"type": "integer", "minimum": 3},
    },
    "required": ["code", "count"],
}


@pytest.fixture
def generate(process, tmp_path, monkeypatch):
    """Return a function that runs ``llm generate`` with a kind of its own; returns code, output and errors."""
    directory = tmp_path / "config"
    (directory / "prompts" / "generate").mkdir(parents=True)
    monkeypatch.setenv("LLMCLI_CONFIG_DIR", str(directory))

    def run(output, *options):
        text = KIND.format(output=json.dumps(output))
        (directory / "prompts" / "generate" / "thing.yaml").write_text(text)
        with process("generate", "thing", "--max-tokens", "200", *options) as child:
            out, err = child.communicate(timeout=60)
        return child.returncode, out.decode(), err.decode()

    return run


@pytest.mark.parametrize("where", [["--set", "worker=off"], []], ids=["here", "worker"])
def test_an_answer_follows_the_schema_of_its_prompt(generate, where):
    """On standard output, whole, with nothing on standard error."""
    code, out, err = generate({"schema": SCHEMA}, *where)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["code"][2] == "-" and found["count"] >= 3
    code, out, _ = generate({"schema": SCHEMA}, "--json", *where)
    assert json.loads(json.loads(out)["text"]) == found and json.loads(out)["finish_reason"] == "stop"


def test_an_answer_is_one_of_the_labels(generate):
    """To the letter."""
    code, out, err = generate({"labels": ['so "so"', "good"]}, "--set", "worker=off")
    assert (code, err) == (0, "") and out.strip() in {'so "so"', "good"}


@pytest.mark.parametrize("where", [["--set", "worker=off"], []], ids=["here", "worker"])
@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems cannot be enforced"),
        ({"type": "foo"}, "unknown type 'foo'"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(generate, where, schema, words):
    """2, in one line, with what to do; the same from a worker."""
    code, out, err = generate({"schema": schema}, *where)
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first == f"llm: thing: schema is bad input: {words}" and "llm prompts edit" in second
    code, _, err = generate({"schema": schema}, "--json", *where)
    assert code == 2 and json.loads(err)["error"]["type"] == "BadGrammar"
