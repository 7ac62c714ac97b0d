"""JSON of a schema and labels: by response_format, or requested in the prompt and validated."""

from __future__ import annotations

import pytest
from fake_server import last_message, stream_answer

from llmcli.backends.base import run_requests
from llmcli.errors import RemoteError
from llmcli.types import (
    FinishReason,
    Message,
    Request,
    Role,
    TextDelta,
)

PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def request(name="a", **fields):
    return Request(name, (Message(Role.USER, f"text {name}"),), **fields)


def structured(backend):
    """Return the text of an answer to a schema, and its end."""
    *pieces, ended = run_requests(backend, [request(schema=PERSON)])
    return "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)), ended


def test_a_schema_goes_into_response_format(server, backend):
    """If the server supports it, the prompt does not mention the schema; the answer is still checked."""
    server.usual = stream_answer('{"age": 3}')
    assert structured(backend)[0] == '{"age": 3}'
    (asked,) = server.chats()
    assert asked["response_format"]["json_schema"]["schema"] == PERSON and "schema" not in str(asked["messages"])


def test_without_response_format_the_prompt_has_the_schema(server, backend):
    """Wrong answers are sent back with their errors, at most twice; fences around JSON are removed."""
    server.fields_refused = {"response_format"}
    server.script = [
        stream_answer("ignored"),
        stream_answer("Sure! 3"),
        stream_answer('{"age": "3"}'),
        stream_answer('```json\n{"age": 3}\n```'),
    ]
    text, ended = structured(backend)
    assert text == '{"age": 3}' and ended.reason is FinishReason.STOP
    first, second, third = server.chats()[1:]
    assert '"age"' in first["messages"][0]["content"] and first["messages"][0]["role"] == "system"
    assert "not JSON" in last_message(second) and "$.age: '3' is not of type 'integer'" in last_message(third)
    assert ended.usage.prompt_tokens == 3 * 7


def test_a_server_that_ignores_response_format_gets_a_prompt(server, backend):
    """In the second attempt, and from then on in the first."""
    server.script = [stream_answer("They are 3."), stream_answer('{"age": 3}'), stream_answer('{"age": 4}')]
    assert structured(backend)[0] == '{"age": 3}' and structured(backend)[0] == '{"age": 4}'
    first, *others = server.chats()
    assert "response_format" in first and len(others) == 2
    assert all("response_format" not in body and "JSON schema" in body["messages"][0]["content"] for body in others)


def test_an_answer_that_stays_wrong_is_an_error(server, backend):
    """76, and nothing of it is delivered."""
    server.usual = stream_answer('{"name": "x"}')
    text, ended = structured(backend)
    assert (
        text == "" and isinstance(ended.error, RemoteError) and "$: 'age' is a required property" in ended.error.detail
    )
    assert len(server.chats()) == 3


def labelled(backend, **fields):
    """Return the text of an answer that must be a label, and how it ended."""
    *pieces, ended = run_requests(backend, [request(labels=("good", "so so"), **fields)])
    return "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)), ended


def test_labels_go_into_response_format(server, backend):
    """As an object with one of them, of which only the label is returned; the limit leaves room for the object."""
    server.usual = stream_answer('{"label": "so so"}')
    text, ended = labelled(backend, max_tokens=4)
    assert (text, ended.reason) == ("so so", FinishReason.STOP)
    (asked,) = server.chats()
    wanted = asked["response_format"]["json_schema"]["schema"]
    assert wanted["properties"]["label"]["enum"] == ["good", "so so"] and asked["max_tokens"] == 4 + 16


@pytest.mark.parametrize("said", ["good", "Good.", '**"good"**', '```json\n{"label": "good"}\n```'])
def test_a_label_without_json_is_accepted(server, backend, said):
    """From a server that ignores the field."""
    server.usual = stream_answer(said)
    assert labelled(backend)[0] == "good" and len(server.chats()) == 1


def test_what_is_no_label_is_sent_back(server, backend):
    """Even one that only mentions a label; if the field is refused, the prompt lists the labels; then it is an error."""
    server.fields_refused = {"response_format"}
    server.script = [
        stream_answer("ignored"),
        stream_answer("It is not good"),
        stream_answer('{"label": "fine"}'),
        stream_answer('{"label": "good"}'),
    ]
    assert labelled(backend)[0] == "good"
    assert '"so so"' in server.chats()[1]["messages"][0]["content"] and "is not one of" in last_message(
        server.chats()[3]
    )
    server.usual = stream_answer("It is not good")
    text, ended = labelled(backend)
    assert text == "" and isinstance(ended.error, RemoteError) and len(server.chats()) == 4 + 3


def test_a_label_cut_by_a_limit_does_not_count(server, backend):
    """It might have become another label; a complete one counts."""
    server.usual = stream_answer("good", reason="length")
    assert labelled(backend)[0] == "" and labelled(backend)[1].reason is FinishReason.LENGTH
    server.usual = stream_answer('{"label": "good"}', reason="length")
    text, ended = labelled(backend)
    assert (text, ended.reason) == ("good", FinishReason.STOP)
