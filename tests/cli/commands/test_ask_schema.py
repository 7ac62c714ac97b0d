"""``llm ask --schema``: the answer is valid JSON of the schema, or the exit code is 3."""

from __future__ import annotations

import json

import pytest
from scripted import Reply, all_messages

from llmcli.types import FinishReason

ADA = '{"name": "Ada", "age": 36}'


def give(text, **reply):
    """Return a scripted model that answers with ``text``."""
    return lambda _: Reply(text, **reply)


def test_a_valid_answer(llm):
    """The request has the schema, the model is told it, and --json has the value."""
    run = llm("ask", "--schema", "name, age int: in years", "who?", answer=give(ADA))
    assert (run.code, run.out, run.err) == (0, ADA + "\n", "")
    (request,) = run.backend.requests
    assert list(request.schema["properties"]) == ["name", "age"] and "in years" in all_messages(request)
    found = json.loads(llm("ask", "--schema", "name, age int", "who?", "--json", answer=give(ADA)).out)
    assert found["value"] == {"name": "Ada", "age": 36}


@pytest.mark.parametrize("text", ['{"name": "Ada"', '{"name": "Ada"}', '{"name": "Ada", "age": "old"}', "Ada"])
def test_an_invalid_answer_is_partial(llm, text):
    """Whether it is cut, lacks a field, has a wrong type, or is no JSON."""
    run = llm("ask", "--schema", "name, age int", "who?", answer=give(text))
    assert (run.code, run.out) == (3, text + "\n") and "not valid JSON of the schema" in run.err


def test_the_user_s_own_limit_makes_no_answer_valid(llm):
    """Unlike that of a text, it is code 3."""
    cut = give('{"name":', reason=FinishReason.LENGTH)
    run = llm("ask", "--schema", "name", "who?", "--max-tokens", "2", answer=cut)
    assert run.code == 3 and run.err.endswith("Raise the limit with --max-tokens.\n")
    assert llm("ask", "who?", "--max-tokens", "2", answer=cut).code == 0


def test_a_schema_in_a_file(llm, write):
    """With any of the keywords that a model can be held to."""
    file = write("person.json", '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}')
    run = llm("ask", "--schema", file, "who?", answer=give('{"name": "Ada"}'))
    assert run.code == 0 and run.backend.requests[0].schema["required"] == ["name"]


def test_documents_prompts_and_sessions_have_it(llm, write):
    """The instructions of a session stay as they were."""
    file = write("a.txt", "alpha")
    assert llm("ask", "--schema", "name", "-f", file, "?", answer=give("{}")).backend.requests[0].schema
    llm("ask", "--session", "a", "-s", "Be kind.", "--schema", "name", "one", answer=give('{"name": "x"}'))
    request = llm("ask", "--continue", "two").backend.requests[0]
    assert request.schema is None and "Be kind." in request.messages[0].content
    assert "JSON" not in request.messages[0].content and request.messages[2].content == '{"name": "x"}'
    text = "description: d\nuser: '{{ text }}'\nvariables: {text: {}}\noutput: {labels: [a, b]}\n"
    run = llm("ask", "-p", write("p.yaml", text), "--schema", "name", "x", answer=give('{"name": "x"}'))
    assert (run.code, run.backend.requests[0].labels) == (0, ()) and run.backend.requests[0].schema


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--schema", "name foo", "x"], 2),
        (["--schema", "none.json", "x"], 66),
        (["--schema", '{"type": 3}', "x"], 65),
        (["--schema", "name", "-x", "x"], 2),
        (["--schema", "name", "--column", "text", "x"], 2),
    ],
)
def test_what_makes_no_sense_is_refused(llm, argv, code):
    """Before a model is loaded."""
    run = llm("ask", *argv, "--no-stdin")
    assert (run.code, run.backend) == (code, None)
