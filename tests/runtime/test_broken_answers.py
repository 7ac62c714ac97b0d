"""Answers that servers send in other pieces, shapes and sizes than expected, through the command line."""

from __future__ import annotations

import io
import json

import pytest
from batch_lines import bodies, chat
from fake_server import Behaviour, complete_answer, encode_chunk, send_content, send_events

END = (encode_chunk({}, finish_reason="stop"), b"[DONE]")
HALVES = [b'{"choices": [{"index": 0, "delta": {"content": "%b"}}]}' % half for half in (b"a \\ud83d", b"\\ude00 b")]


def send_twice(text: str) -> Behaviour:
    """Send an answer and, in the same packet, another one that was not asked for."""

    def behave(handler, body):
        connection, handler.wfile = handler.wfile, io.BytesIO()
        complete_answer({"content": text})(handler, body)
        complete_answer({"content": f"{text} again"})(handler, body)
        sent, handler.wfile = handler.wfile.getvalue(), connection
        connection.write(sent)

    return behave


def test_an_answer_without_a_request_is_not_taken_for_the_next_one(llm, server):
    """The connection is given up, since all later answers on it would belong to other requests."""
    server.usual = lambda handler, body: send_twice(body["messages"][-1]["content"])(handler, body)
    run = llm("chat", "--base-url", server.url, stdin=b"one\ntwo\nthree\n")
    assert (run.code, run.out) == (0, "one\ntwo\nthree\n")


@pytest.mark.parametrize(
    ("events", "text"), [(HALVES, "a \U0001f600 b"), (HALVES[:1], "a \ufffd"), (HALVES[1:], "\ufffd b")]
)
def test_half_characters_are_joined(llm, server, events, text):
    """Servers may send the two escapes of a character in two events; one alone is no text."""
    server.usual = send_events(*events, *END)
    assert llm("ask", "hi", "--no-stdin", "--base-url", server.url).out == f"{text}\n"
    run = llm("sentiment", "--base-url", server.url, stdin=b"good\n")
    assert run.code == 76 and text in run.err, run.err


def test_half_characters_in_errors_and_names(llm, server):
    """They are shown as U+FFFD in messages, and a model is called by its name without them."""
    server.script = [lambda handler, _body: handler.give(400, b'{"error": {"message": "bad \\ud83d"}}')]
    run = llm("ask", "hi", "--no-stdin", "--base-url", server.url)
    assert run.code == 76 and "bad \ufffd" in run.err, run.err
    server.models = [{"id": "a\ud83d"}]
    run = llm("ask", "hi", "--no-stdin", "--json", "--base-url", server.url)
    assert (run.code, json.loads(run.out)["model"]) == (0, "a?") and server.chats()[-1]["model"] == "a?"


def test_an_answer_may_be_a_list_of_parts(llm, server, tmp_path):
    """Mistral's models that think send one, also where nothing is streamed."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]}
    server.usual = complete_answer({"content": [thinking, {"type": "text", "text": "Par"}, {"text": "is"}]})
    run = llm("ask", "hi", "--no-stdin", "--reasoning", "--base-url", server.url)
    assert (run.code, run.out) == (0, "Paris\n") and "Let me see." in run.err
    lines = tmp_path / "in.jsonl"
    lines.write_text(chat("a", "hi"))
    run = llm("run-batch", "-i", str(lines), "--base-url", server.url)
    assert bodies([json.loads(run.out)])[0]["choices"][0]["message"]["content"] == "Paris"


def test_an_answer_that_is_too_large_names_its_server(llm, server):
    """16 MiB, of one that is not streamed."""
    server.usual = send_content("application/json", b'{"choices": ["%b"]}' % (b"x" * (17 << 20)))
    run = llm("ask", "hi", "--no-stdin", "--base-url", server.url)
    assert run.code == 76 and run.err.startswith(f"llm: {server.url.removesuffix('/v1')}: unexpected response"), run.err
