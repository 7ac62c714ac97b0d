"""``llm run-batch`` on servers elsewhere: embeddings and log-probabilities, which not every server has."""

from __future__ import annotations

import base64
import json
import struct
import time

import pytest
from batch_lines import bodies, chat, embed, line
from fake_server import (
    FakeServer,
    close_connection,
    embed_texts,
    encode_chunk,
    error_answer,
    send_content,
    stream_answer,
)
from hosted_servers import SERVERS, send_blocks
from remote_config import CANARY, configure

PATH = "/v1/embeddings"
PRICE = {"input": 10.0, "output": 100.0}
MAIL = "jane@example.org"


def vector(text):
    """Return a vector that tells the text: its length and its last number."""
    return [len(text), 0.1, int("0" + "".join(filter(str.isdigit, text)))]


@pytest.fixture
def run(run_lines, server):
    """Run the command on lines, with a server that has the path; return the run and the lines of the output."""
    server.paths[PATH] = embed_texts(vector)
    return run_lines


def embedded(server):
    """Return the bodies of the requests for embeddings."""
    return [asked.body for asked in server.asked if asked.path == PATH]


def vectors_of(body):
    return [item["embedding"] for item in body["data"]]


def statuses(lines):
    return [each["response"]["status_code"] for each in lines]


# ---- embeddings ----------------------------------------------------------------------------------------------------


def test_a_server_embeds_texts(run, server):
    """In the order of the texts, whatever that of the answer; as numbers that are the server's, or as base64."""
    done, lines = run(
        [embed("a", ["one 1", "number 2"], dimensions=3), chat("c"), embed("b", "x7", encoding_format="base64")]
    )
    assert done.code == 0 and [each["custom_id"] for each in lines] == ["a", "c", "b"], done.err
    first, _, second = bodies(lines)
    assert vectors_of(first) == [[5, 0.1, 1], [8, 0.1, 2]]
    assert [item["index"] for item in first["data"]] == [0, 1] and first["model"] == "big"
    assert first["usage"] == {"prompt_tokens": 13, "total_tokens": 13}
    assert struct.unpack("<3f", base64.b64decode(*vectors_of(second))) == pytest.approx((2, 0.1, 7))
    assert sorted(embedded(server), key=len) == [
        {"model": "big", "input": ["x7"]},
        {"model": "big", "input": ["one 1", "number 2"], "dimensions": 3},
    ]


def test_vectors_may_come_as_base64(run, server):
    """A server that does so unasked is understood."""
    server.paths[PATH] = embed_texts(lambda text: base64.b64encode(struct.pack("<3f", *vector(text))).decode())
    _, lines = run([embed("a", "x7")])
    assert vectors_of(*bodies(lines)) == [pytest.approx([2, 0.1, 7])]


def test_a_long_list_becomes_several_requests(run, server):
    """Whose vectors are in order, and whose tokens are added up."""
    texts = [f"text {number}" for number in range(150)]
    _, lines = run([embed("a", texts)])
    (body,) = bodies(lines)
    assert [found[2] for found in vectors_of(body)] == [*range(150)]
    assert [item["index"] for item in body["data"]] == [*range(150)]
    assert body["usage"]["prompt_tokens"] == sum(map(len, texts))
    assert sorted(len(sent["input"]) for sent in embedded(server)) == [22, 64, 64]


def test_long_texts_are_few_in_a_request(run, server):
    """A server is silent until all are embedded, and must not seem to have stalled. None is divided."""
    texts = ["a" * 5000, "b" * 2000, "c" * 1000, "d" * 1000, "e" * 20_000, "f"]
    _, lines = run([embed("a", texts)])
    assert [found[0] for found in vectors_of(*bodies(lines))] == [*map(len, texts)]
    sent = ["".join(text[0] for text in each["input"]) for each in embedded(server)]
    assert sorted(sent) == ["abc", "d", "e", "f"]


def test_a_vector_of_another_length_is_refused(run):
    """As by models on this machine: the client wants no other."""
    done, lines = run([embed("a", "x", dimensions=2), embed("b", "x")])
    assert done.code == 3 and statuses(lines) == [400, 200]
    assert bodies(lines)[0]["error"]["param"] == "dimensions" and "must be 3" in bodies(lines)[0]["error"]["message"]


@pytest.mark.parametrize(
    ("behaviour", "status", "words", "param"),
    [
        (error_answer(404, "Not Found"), 501, "cannot use embeddings here", None),
        (error_answer(501, "Start it with --embeddings"), 501, "Start it with --embeddings", None),
        (
            error_answer(400, "dimensions is not supported", param="dimensions"),
            400,
            "dimensions is not supported",
            "dimensions",
        ),
        (
            error_answer(400, "maximum context length is 8 tokens"),
            400,
            "maximum context length is 8 tokens",
            "input",
        ),
        (error_answer(404, "The model `big` does not exist"), 404, "there is no model 'big' here", "model"),
        (error_answer(500, "it broke"), 503, "it broke", None),
        (embed_texts(lambda _: []), 500, "not one vector for each text", None),
        (embed_texts(lambda _: [1.0, float("nan")]), 500, "no numbers", None),
        (embed_texts(lambda _: [1.0, None]), 500, "not one vector", None),
        (embed_texts(lambda _: "AAA="), 500, "not one vector", None),
        (embed_texts(lambda text: [1.0] * len(text)), 500, "not one vector", None),
        (embed_texts(vector, data=[{"index": 0, "embedding": [1.0]}]), 500, "not one vector", None),
        (send_content("application/json", b"[]"), 500, "not a JSON object", None),
    ],
)
def test_what_is_no_answer_fails_its_line_alone(run, server, behaviour, status, words, param):
    """The line says why, and the chats go on."""
    server.paths[PATH] = behaviour
    done, lines = run([embed("a", ["x", "yy"]), chat("c")])
    assert done.code == 3 and statuses(lines) == [status, 200] and words in bodies(lines)[0]["error"]["message"]
    assert bodies(lines)[0]["error"]["param"] == param


@pytest.mark.parametrize("status", [404, 501])
def test_a_server_without_embeddings_is_asked_once_for_each_line(run, server, status):
    """To ask again is useless. What it refused is not remembered: it may be started with them later."""
    server.paths[PATH] = error_answer(status, "no such thing")
    assert statuses(run([embed(name, "x") for name in "abc"])[1]) == [501] * 3 and len(embedded(server)) == 3
    server.paths[PATH] = embed_texts(vector)
    done, lines = run([embed(name, "x") for name in "abc"], "--base-url", server.url, "-m", "big", "--retry-failed")
    assert done.code == 0 and statuses(lines) == [200] * 3


def test_a_busy_server_is_asked_again(run, server):
    """As for chats."""
    answers = [error_answer(429, "slowly"), error_answer(500, "oops")]

    def answer(handler, body):
        (answers.pop(0) if answers else embed_texts(vector))(handler, body)

    server.paths[PATH] = answer
    assert statuses(run([embed("a", "x")])[1]) == [200]
    assert [body["input"] for body in embedded(server)] == [["x"], ["x"], ["Hello"], ["x"]]


@pytest.mark.parametrize("body", [{"given": [1, 2]}, {"given": [[1, 2]]}, {"given": "x", "pooling": "last"}])
def test_what_servers_do_not_take_is_not_sent(run, server, body):
    """Private values cannot be found in tokens, and servers may ignore a field that they do not know."""
    done, lines = run([embed("a", **body)])
    assert done.code == 3 and statuses(lines)[0] in {400, 501} and embedded(server) == []


@pytest.mark.parametrize("protocol", ["anthropic", "gemini"])
def test_other_protocols_have_no_embeddings(run, protocol):
    """The line names the type of server that does."""
    other = SERVERS[protocol]()
    configure(there={"base_url": other.url, "type": protocol, "model": "big", "context": 4096})
    _, lines = run([embed("a", "x"), chat("c")], "--backend", "there")
    other.close()
    assert statuses(lines) == [501, 200] and "type: openai" in bodies(lines)[0]["error"]["message"]
    assert not any("embed" in asked.path for asked in other.asked)


def test_a_server_of_responses_embeds_too(run):
    """It is OpenAI's protocol."""
    other = SERVERS["openai-responses"]()
    other.paths[PATH] = embed_texts(vector)
    configure(there={"base_url": other.url, "type": other.type, "model": "big"})
    _, lines = run([embed("a", "x7")], "--backend", "there")
    other.close()
    assert vectors_of(*bodies(lines)) == [[2, 0.1, 7]]


def test_private_texts_are_replaced(run, server, monkeypatch):
    """Before they are sent to another machine, as in chats."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    server.paths["http://models.invalid/v1/embeddings"] = embed_texts(vector)
    asked = [embed("a", [f"Write to {MAIL} soon.", "nothing"])]
    elsewhere = ("--base-url", "http://models.invalid/v1", "-m", "big")
    done, lines = run(asked, *elsewhere)
    assert done.code == 0 and len(vectors_of(*bodies(lines))) == 2, done.err
    sent = [request.body["input"] for request in server.asked if request.path.endswith(PATH)]
    assert sent == [["Write to PII_EMAIL_1 soon.", "nothing"]]


def test_the_key_is_sent(run, server):
    """And shown nowhere, though the server repeats it."""
    server.key = CANARY
    server.paths[PATH] = error_answer(400, f"bad key {CANARY}")
    configure(there={"base_url": server.url, "model": "big", "key_env": "THE_KEY"})
    done, lines = run([embed("a", "x")], "--backend", "there", env={"THE_KEY": CANARY})
    assert statuses(lines) == [400] and len(embedded(server)) == 1
    assert CANARY not in done.err + json.dumps(lines)


def test_the_cost_is_limited(run, server):
    """Each request is reserved before it is sent; the tokens that the server counts are paid."""
    configure(there={"base_url": server.url, "model": "big", "price": PRICE, "context": 4096, "concurrency": 1})
    asked = [embed(f"r{number}", "x" * 1000) for number in range(9)]
    server.paths[PATH] = embed_texts(vector, usage={"prompt_tokens": 300})
    done, lines = run(asked, "--backend", "there", "--max-cost", "0.02")
    assert done.code == 3 and "--max-cost" in done.err, done.err
    answered = [each for each in lines if each["response"]["status_code"] == 200]
    assert 3 <= len(answered) <= 6 and len(embedded(server)) == len(answered)


def test_vectors_without_counts_have_no_usage(run, server):
    """And no cost; zero tokens is no usage that a server has reported."""
    configure(there={"base_url": server.url, "model": "big", "price": PRICE, "context": 4096})
    server.paths[PATH] = embed_texts(vector, usage=None)
    done, lines = run([embed("a", "one")], "--backend", "there", "--stats")
    assert done.code == 0 and bodies(lines)[0]["usage"] is None
    assert "tokens unknown" in done.err and "cost unknown" in done.err


def test_chats_without_counts_have_no_usage(run, server):
    """As in a stream of OpenAI's API that has none."""
    server.usual = lambda handler, _body: handler.stream(
        iter([encode_chunk({"content": "x"}, finish_reason="stop"), b"[DONE]"])
    )
    done, lines = run([chat("a")])
    assert done.code == 0 and bodies(lines)[0]["usage"] is None


def test_several_servers_share_the_texts(run, server):
    """A server that falls silent loses none: another one embeds them, and each line comes once, in order."""
    other, texts = FakeServer(), [f"text {number}" for number in range(40)]
    slow = embed_texts(vector)
    for each in (server, other):
        each.paths[PATH] = lambda handler, body: (time.sleep(0.002), slow(handler, body))
    configure(farm={"base_urls": [server.url, other.url], "concurrency": 4})
    asked = [embed(f"r{number}", text) for number, text in enumerate(texts)]
    done, lines = run(asked, "--backend", "farm")
    assert done.code == 0 and embedded(server) and embedded(other)
    other.paths[PATH] = close_connection()
    for each in (server, other):
        each.asked.clear()
    done, again = run([*asked, embed("all", texts * 5)], "--backend", "farm")
    other.close()
    assert done.code == 0 and embedded(other), done.err
    assert bodies(again)[:-1] == bodies(lines) and vectors_of(bodies(again)[-1]) == [*map(vector, texts)] * 5


@pytest.mark.parametrize(
    "argv",
    [
        ("embed", "notes.txt"),
        ("similar", "query", "notes.txt"),
        ("index", "notes", "notes.txt", "--embed"),
        ("summarize", "--key-sentences", "2", "notes.txt"),
        ("ask", "-f", "notes.txt", "What is it?"),
    ],
)
def test_no_other_command_sends_texts_for_embeddings(llm, server, tmp_path, monkeypatch, argv):
    """Whatever the server could: passages of a document are nothing that the user asked to be embedded elsewhere."""
    server.paths[PATH] = embed_texts(vector)
    (tmp_path / "notes.txt").write_text("One sentence. " * 2000)
    monkeypatch.chdir(tmp_path)
    llm(*argv, "--base-url", server.url, "-m", "big", "--yes")
    assert not any("embed" in asked.path for asked in server.asked)


# ---- log-probabilities ---------------------------------------------------------------------------------------------

TOKENS = [("Hel", -0.25), ("lo", -0.5)]


def position(token, logprob, top=2):
    others = [{"token": other, "logprob": lower, "bytes": list(other.encode())} for other, lower in TOKENS[:top]]
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": others}


def with_logprobs(pieces=TOKENS, *, top=2):
    """Answer a chat with the log-probabilities of its tokens."""

    def events(body):
        for token, logprob in pieces:
            more = {"logprobs": {"content": [position(token, logprob, top)]}} if body.get("logprobs") else {}
            yield encode_chunk({"content": token}, **more)
        yield encode_chunk({}, finish_reason="stop")

    return lambda handler, body: handler.stream(events(body))


def test_log_probabilities_of_a_server(run, server):
    """In the shape of those of this machine: token, log-probability, bytes and the most likely others."""
    server.usual = with_logprobs()
    done, lines = run([chat("a", logprobs=True, top_logprobs=2), chat("b", logprobs=True), chat("c")])
    assert done.code == 0, done.err
    first, second, third = (body["choices"][0]["logprobs"] for body in bodies(lines))
    assert first == second == {"content": [position(*token) for token in TOKENS]} and third is None
    sent = [(body.get("logprobs"), body.get("top_logprobs")) for body in server.chats()]
    assert sorted(sent, key=str) == [(None, None), (True, 0), (True, 2)]


def test_an_answer_without_what_was_asked_for_is_an_error(run, server):
    """Of a server that ignores the fields; the other requests are answered."""
    server.usual = with_logprobs(top=0)
    _, lines = run([chat("a", logprobs=True, top_logprobs=2), chat("b", logprobs=True)])
    assert statuses(lines) == [501, 200] and "top_logprobs" in bodies(lines)[0]["error"]["message"]
    server.usual = stream_answer("Hello")
    _, lines = run([chat("a", logprobs=True), chat("b")])
    assert statuses(lines) == [501, 200]
    assert bodies(lines)[0]["error"]["message"] == "cannot use logprobs here: the server reports none"


@pytest.mark.parametrize("field", ["logprobs", "top_logprobs"])
def test_a_server_that_refuses_log_probabilities_is_quoted(run, llm, server, field):
    """They are not left out, as they are where labels can be scored in other ways, which is remembered."""
    server.fields_refused, server.usual = {field}, stream_answer("positive")
    assert llm("sentiment", "--base-url", server.url, stdin=b"good\n").code == 0
    _, lines = run([chat("a", logprobs=True, top_logprobs=2), chat("b")])
    assert statuses(lines) == [400, 200] and field in bodies(lines)[0]["error"]["message"]
    server.fields_refused, server.usual = set(), with_logprobs()
    assert statuses(run([chat("a", logprobs=True, top_logprobs=2)])[1]) == [200]


def test_log_probabilities_of_json(run, server):
    """An answer that is checked against a schema has them too."""
    server.usual = with_logprobs([('{"a"', -0.25), (": 1}", -0.5)])
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    _, lines = run([chat("a", logprobs=True, response_format=form)])
    (choice,) = bodies(lines)[0]["choices"]
    assert choice["message"]["content"] == '{"a": 1}'
    assert [each["token"] for each in choice["logprobs"]["content"]] == ['{"a"', ": 1}"]


def test_log_probabilities_of_responses(run):
    """They are included in the text of the message, and asked for under the protocol's names."""
    other = SERVERS["openai-responses"]()
    usual = [json.loads(event.split(b"data: ")[1]) for event in other.events("Hello")]
    for event in usual:
        if event["type"] == "response.output_text.delta":
            event["logprobs"] = [position(*token) for token in TOKENS]
    blocks = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in usual]
    other.usual = send_blocks(blocks)
    configure(there={"base_url": other.url, "type": other.type, "model": "big"})
    included = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    done, lines = run(
        [line("a", "/v1/responses", input="Hi", **included), line("b", "/v1/responses", input="Hi")],
        "--backend",
        "there",
    )
    other.close()
    assert done.code == 0, done.err
    first, second = (body["output"][0]["content"][0]["logprobs"] for body in bodies(lines))
    assert first == [position(*token) for token in TOKENS] and second == []
    (asked,) = [body for body in other.chats() if "include" in body]
    assert (asked["include"], asked["top_logprobs"]) == (included["include"], 2)


def test_log_probabilities_come_with_restored_values(run, server, monkeypatch):
    """The text has the private value again; the tokens are what the server wrote."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    server.usual = with_logprobs([("PII_", -0.25), ("EMAIL_1", -0.5)])
    done, lines = run([chat("a", MAIL, logprobs=True)], "--base-url", "http://models.invalid/v1", "-m", "big")
    assert done.code == 0, done.err
    (choice,) = bodies(lines)[0]["choices"]
    assert choice["message"]["content"] == MAIL
    assert "".join(each["token"] for each in choice["logprobs"]["content"]) == "PII_EMAIL_1"
