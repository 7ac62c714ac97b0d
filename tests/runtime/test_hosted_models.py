"""Verbs on servers of each protocol: answers, refusals, cuts, failures in mid-stream, and the key's header."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from fake_server import FakeServer, close_connection, error_answer, send_content
from grid import covering
from hosted_servers import SERVERS, rechunk, send_blocks, stall_after
from remote_config import CANARY, configure

KEY_HEADERS = {
    "openai": ("authorization", f"Bearer {CANARY}"),
    "openai-responses": ("authorization", f"Bearer {CANARY}"),
    "anthropic": ("x-api-key", CANARY),
    "gemini": ("x-goog-api-key", CANARY),
}


@pytest.fixture(params=list(SERVERS))
def hosted(request, monkeypatch):
    """Return a server of each protocol; retries wait only briefly."""
    from llmcli.backends.remote import remote_backend
    from llmcli.network.retry_policy import RetryPolicy

    policy = RetryPolicy(max_tries=4, max_connect_tries=2, first_pause_s=0.001, max_pause_s=5)
    monkeypatch.setattr(remote_backend, "DEFAULT_RETRY_POLICY", policy)
    fake = SERVERS[request.param]()
    configure(there={"type": fake.type, "base_url": fake.url})
    yield fake
    fake.close()


@pytest.fixture
def ask(llm, hosted):
    """Ask the server a question."""
    return lambda *argv, **how: llm("ask", "hello there", "--backend", "there", "--no-stdin", *argv, **how)


# ---- what comes ------------------------------------------------------------------------------------------------------


def test_an_answer_comes_with_its_counts(ask, hosted):
    """Text, model and tokens, those that the server had cached among them."""
    run = ask("--json")
    found = json.loads(run.out)
    assert (run.code, run.err, found["text"], found["model"]) == (0, "", "hello there", "big")
    assert found["usage"] == {"prompt_tokens": 7, "cached_tokens": 2, "completion_tokens": 3}
    assert found["finish_reason"] == "stop"


def test_every_verb_works(llm, hosted, tmp_path):
    """On the same backend; a conversation is sent with both its sides."""
    note = tmp_path / "note.txt"
    note.write_text("A day.\n\nA night.\n")
    there = ("--backend", "there")
    hosted.usual = hosted.say("Bonjour")
    assert llm("translate", "--to", "fr", str(note), *there).out == "Bonjour\n\nBonjour\n"
    assert llm("summarize", str(note), *there).out == "Bonjour\n"
    assert llm("generate", "poem", "--no-stdin", "--var", "topic=rain", *there).out == "Bonjour\n"
    assert llm("chat", *there, stdin=b"one\ntwo\n").out == "Bonjour\nBonjour\n"
    sent = json.dumps(hosted.chats()[-1])
    assert sent.index('"one"') < sent.index('"Bonjour"') < sent.index('"two"')


def test_labels_are_counted_where_there_are_no_log_probabilities(llm, hosted, terminal):
    """The output says so: a warning of each record, and a line on a terminal."""
    answers = itertools.cycle(["positive", "Positive.", "negative", "**positive**", "It is positive"])
    hosted.fields_refused = {"logprobs", "top_logprobs", "include"}
    hosted.usual = hosted.say(lambda _body: next(answers))
    run = llm("sentiment", "--backend", "there", "--json", stdin=b"What a day\n")
    found = json.loads(run.out)
    assert run.code == 0, run.err
    assert (found["label"], found["scoring"]) == ("positive", "samples")
    assert found["usage"]["prompt_tokens"] >= 5 * 7
    assert len(found["warnings"]) == 1 and "the model's own answers are used" in found["warnings"][0]
    assert run.err == ""
    screen = terminal(columns=200)
    llm("sentiment", "--backend", "there", stdin=b"What a day\n\nWhat a night\n", err=screen.slave)
    assert screen.close().count(found["warnings"][0]) == 1


def test_answers_that_are_no_label(llm, hosted):
    """The server refused nothing: the message quotes the first answer, and names what helps."""
    hosted.usual = hosted.say("I would\nrather not say")
    run = llm("sentiment", "--backend", "there", stdin=b"good\n")
    assert run.code == 76 and "refused" not in run.err
    assert "no answer of there" in run.err and 'the first was: "I would rather not say"' in run.err
    assert "Choose a larger model (-m)" in run.err and "--examples FILE" in run.err


def test_reasoning_is_no_part_of_the_answer(ask, hosted):
    """It is shown on request, on standard error."""
    hosted.usual = hosted.say("Yes.", reasoning="Let me think. ")
    run = ask("--reasoning")
    assert (run.out, run.code) == ("Yes.\n", 0) and "Let me think." in run.err
    assert ask().err == ""


def test_a_schema_is_kept_to(llm, hosted, tmp_path):
    """By the protocol's field, and where that is refused by the prompt; what comes is checked in any case."""
    prompts = tmp_path / "home" / "config" / "prompts"
    (prompts / "generate").mkdir(parents=True)
    (prompts / "generate" / "age.yaml").write_text(
        "description: An age\nuser: How old?\n"
        "output: {schema: {type: object, properties: {age: {type: integer, minimum: 1}}, required: [age]}}\n"
    )
    hosted.script = [hosted.say('{"age": 0}')]
    hosted.usual = hosted.say('{"age": 3}')
    run = llm("generate", "age", "--backend", "there", "--no-stdin")
    assert (run.code, run.out) == (0, '{"age": 3}\n'), run.err
    first, second = hosted.chats()
    assert '"age"' in json.dumps(first) and "minimum of 1" in json.dumps(second)


# ---- what is no answer -----------------------------------------------------------------------------------------------


def test_a_refusal_is_an_error_of_its_own(ask, hosted):
    """65 with the reason, not tried again, and nothing on standard output."""
    hosted.usual = hosted.say("No help with that.", end="refusal")
    run = ask()
    assert (run.code, run.out) == (65, "") and len(hosted.chats()) == 1
    assert "refuses to answer" in run.err and "No help with that." in run.err
    error = json.loads(ask("--json").err.splitlines()[0])["error"]
    assert (error["type"], error["code"]) == ("AnswerRefused", 65)


def test_a_refusal_in_mid_stream(ask, hosted):
    """What came stands, and the code says that it is no answer."""
    refused = hosted.events("No help with that.", end="refusal")
    hosted.usual = send_blocks([*hosted.events("Half an answer that goes on")[:5], *refused])
    run = ask()
    assert run.code == 65 and run.out.startswith("Half") and "No help with that." in run.err


def test_a_refused_segment_is_left_untranslated(llm, hosted, tmp_path):
    """The rest of the document is not lost: 3; a document of which all is refused fails: 65."""
    note = tmp_path / "note.txt"
    note.write_text("A day.\n\nA night.\n\nA weapon.\n")
    refuse, translate = hosted.say("No weapons.", end="refusal"), hosted.say("Bonjour")
    hosted.usual = lambda handler, body: (refuse if "weapon" in hosted.last_message(body) else translate)(handler, body)
    run = llm("translate", "--to", "fr", "--backend", "there", str(note))
    assert (run.code, run.out) == (3, "Bonjour\n\nBonjour\n\nA weapon.\n")
    assert "line 5: left untranslated" in run.err and "refuses to answer" in run.err and "No weapons." in run.err
    note.write_text("A weapon.\n")
    run = llm("translate", "--to", "fr", "--backend", "there", str(note))
    assert (run.code, run.out) == (65, "") and "refuses to answer" in run.err


def test_a_cut_is_a_cut(ask, hosted):
    """3 for a limit of the server, 0 for one that the user set."""
    hosted.usual = hosted.say("Once upon a", end="length")
    assert (ask().code, ask().out) == (3, "Once upon a\n")
    run = ask("--max-tokens", "3", "--json")
    assert run.code == 0 and json.loads(run.out)["finish_reason"] == "length"


def test_an_empty_answer_is_a_failure(ask, hosted):
    """1, after another try."""
    hosted.usual = hosted.say("")
    run = ask()
    assert (run.code, run.out) == (1, "") and "empty answer" in run.err and len(hosted.chats()) == 2


@covering
@pytest.mark.parametrize(
    ("status", "message", "code", "expected"),
    [
        (401, "who are you?", None, 77),
        (403, "not for you", None, 77),
        (404, "model: big does not exist", None, 66),
        (404, "no such page", None, 76),
        (413, "too large", None, 65),
        (400, "prompt is too long: 9 tokens > 5 maximum", None, 65),
        (400, "The input token count (9) exceeds the maximum number of tokens allowed (5).", None, 65),
        (400, "roles must alternate", None, 76),
    ],
)
def test_errors_that_stay_have_their_codes(ask, hosted, status, message, code, expected):
    """In one line, asked once."""
    hosted.usual = error_answer(status, message, code=code)
    run = ask()
    assert (run.code, run.out) == (expected, "") and message in run.err and len(hosted.chats()) == 1


@covering
@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_what_passes_is_tried_again(ask, hosted, status):
    """Too many requests, a failure, no service and an overload."""
    hosted.script = [error_answer(status, "later", Retry_After="0")] * 2 + [close_connection()]
    run = ask()
    assert (run.code, run.out, run.err) == (0, "hello there\n", "") and len(hosted.chats()) == 4


def test_an_overload_that_stays_is_told(ask, hosted):
    """75; a pause that is longer than the program waits is told at once."""
    hosted.usual = error_answer(529, "Overloaded", code="overloaded_error")
    run = ask()
    assert run.code == 75 and "Overloaded" in run.err and len(hosted.chats()) == 4
    hosted.usual = error_answer(429, "slow down", Retry_After="3600")
    assert "3600 seconds" in ask().err and len(hosted.chats()) == 5


# ---- streams ---------------------------------------------------------------------------------------------------------


@covering
@pytest.mark.parametrize("size", [1, 7])
def test_blocks_may_end_anywhere(ask, hosted, size):
    """In mid-event, and in the middle of a character."""
    text = "Grüße, 世界 😀 – naïve"
    unescaped = [json_block_as_utf8(block) for block in hosted.events(text)]
    hosted.usual = send_blocks(rechunk(unescaped, size))
    assert ask().out == f"{text}\n"


def json_block_as_utf8(block: bytes) -> bytes:
    """Return an event whose data has characters instead of escapes."""
    lines = block.decode().splitlines()
    data = [
        f"data: {json.dumps(json.loads(line[6:]), ensure_ascii=False)}" if line.startswith("data: {") else line
        for line in lines
    ]
    return ("\n".join(data) + "\n").encode()


@covering
@pytest.mark.parametrize("ends", [False, True])
def test_a_stream_that_breaks_off_is_no_shorter_answer(ask, hosted, ends):
    """In mid-event or between events, whether the connection is cut or ends in order: 75, and what came stands."""
    whole = b"".join(hosted.events("Half an answer that goes on"))
    for cut in (whole.index(b"an an") + 20, whole.index(b"hat") - 1):
        hosted.usual = send_blocks([whole[:cut]], ends=ends)
        before = len(hosted.chats())
        run = ask()
        assert run.code == 75 and "broke off" in run.err and run.out.startswith("Half")
        assert len(hosted.chats()) == before + 1


def test_nothing_before_a_break_is_tried_again(ask, hosted):
    """Since no reader saw any of it."""
    hosted.script = [send_blocks([hosted.events("x")[0][:20]], ends=False), send_blocks([])]
    assert ask().out == "hello there\n" and len(hosted.chats()) == 3


def test_an_error_in_the_stream(ask, hosted):
    """Before the first word it is tried again; after it, what came stands: 75."""
    begun = hosted.events("Half an answer that goes on")[:5]
    hosted.script = [send_blocks([hosted.stream_error("Overloaded")])]
    assert ask().out == "hello there\n" and len(hosted.chats()) == 2
    hosted.script = [send_blocks([*begun, hosted.stream_error("Overloaded")])]
    run = ask()
    assert run.code == 75 and "Overloaded" in run.err and len(hosted.chats()) == 3


@covering
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (send_blocks([b"data: {malformed\n\n"]), "not JSON"),
        (send_blocks([b"data: []\n\n"]), "not a JSON object"),
        (send_blocks([b'data: {"a": "\xff"}\n\n']), "not UTF-8"),
        (send_blocks([b"data: " + b"x" * (1 << 20) + b"xx"]), "too long"),
        (send_content("text/html", b"<html>log in</html>"), "a web page"),
        (send_content("application/json", b"{}"), "its answer is empty"),
        (send_content("application/json", b"{"), "not JSON"),
        (error_answer(200, Content_Encoding="gzip"), "(gzip)"),
    ],
)
def test_what_is_not_the_protocol_is_an_error(ask, hosted, behaviour, words):
    """76, asked once."""
    hosted.usual = behaviour
    run = ask()
    assert (run.code, run.out) == (76, "") and words in run.err and len(hosted.chats()) == 1


@pytest.mark.grid(1)
def test_wrong_lengths(ask, hosted):
    """A body that is shorter than it says, and one that never ends."""

    def short(handler, _body):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(b"".join(hosted.events("Half an answer that goes on")[:5]))
        handler.close_connection = True

    hosted.usual = short
    assert ask().code == 75

    def forever(handler, _body):
        def blocks():
            while not handler.fake.over.is_set():
                yield b'data: {"type": "ping"}\n\n' * 1000

        handler.stream_blocks(blocks())

    hosted.usual = forever
    run = ask("--max-tokens", "4")
    assert run.code == 76 and "does not end" in run.err


@pytest.mark.slow
def test_a_silent_server_is_given_up(llm, hosted):
    """Before the first event, and in mid-stream; signs of life are no answer."""
    configure(there={"type": hosted.type, "base_url": hosted.url, "timeout": 0.1})
    hosted.usual = stall_after()
    assert llm("ask", "hi", "--backend", "there", "--no-stdin").code == 75
    hosted.script = [stall_after(*hosted.events("Some words")[:4], b": alive\n\n")]
    run = llm("ask", "hi", "--backend", "there", "--no-stdin")
    assert run.code == 75 and "0.1 seconds" in run.err


def test_a_deadline_ends_a_slow_stream(ask, hosted):
    """At once, with its own code."""
    hosted.usual = stall_after(*hosted.events("Some words")[:4])
    started = time.monotonic()
    assert ask("--timeout", "0.3").code == 124
    assert time.monotonic() - started < 5


def test_fields_that_are_refused_are_left_out(ask, hosted):
    """And remembered for the next command."""
    hosted.fields_refused = {"temperature"}
    assert ask("-v").code == 0 and "temperature" not in hosted.sent_fields(hosted.chats()[-1])
    before = len(hosted.chats())
    assert ask().code == 0 and len(hosted.chats()) == before + 1


def test_a_server_that_does_not_count_is_not_asked_again(llm, hosted, tmp_path):
    """By the next command: a request that is refused costs time."""
    file = tmp_path / "long.txt"
    file.write_text("a few words and more\n" * 420)  # close to the context of 4096 tokens
    argv = ("ask", "what?", "-f", str(file), "--backend", "there", "--no-stdin")
    hosted.usual = hosted.say("Words.")
    requests = []
    for _ in range(3):
        before = len(hosted.asked)
        assert llm(*argv).code == 0
        requests.append([each.method for each in hosted.asked[before:]])
    assert requests[1] == requests[2] == ["GET", "POST"], requests


def test_many_at_once_and_no_more(llm, hosted, tmp_path):
    """A server that bears three gets the refused ones again, and all are answered."""
    files = [tmp_path / f"{number}.txt" for number in range(20)]
    for number, file in enumerate(files):
        file.write_text(f"text {number}\n")
    hosted.bears = 3
    hosted.usual = hosted.say("Short.", seconds=0.002)
    run = llm("summarize", "--backend", "there", *map(str, files))
    assert run.code == 0 and run.out.count("Short.") == 20


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_travels_in_its_header_alone(llm, hosted, monkeypatch):
    """In that of the protocol, in no address, to no other host, and it is never shown."""
    monkeypatch.setenv("THE_KEY", CANARY)
    hosted.key = CANARY
    configure(there={"type": hosted.type, "base_url": hosted.url, "key_env": "THE_KEY"})
    assert llm("ask", "hi", "--backend", "there", "--no-stdin").code == 0
    for asked in hosted.asked:
        named = {name: value for name, value in asked.headers.items() if CANARY in value}
        assert named == dict([KEY_HEADERS[hosted.type]]) and CANARY not in asked.path + json.dumps(asked.body)
    other = FakeServer()
    try:
        hosted.usual = error_answer(307, f"go on with {CANARY}", Location=f"{other.url}/x?key={CANARY}")
        run = llm("ask", "hi", "--backend", "there", "--no-stdin", "-v")
    finally:
        other.close()
    assert run.code == 76 and CANARY not in run.out + run.err and other.asked == []
    hosted.usual = error_answer(401, f"{CANARY} is wrong")
    run = llm("ask", "hi", "--backend", "there", "--no-stdin")
    assert run.code == 77 and "THE_KEY" in run.err and CANARY not in run.err


def test_a_host_gets_nothing_before_consent(llm, hosted):
    """Whatever its protocol."""
    configure(there={"type": hosted.type, "base_url": "http://models.invalid/v1", "model": "big"})
    run = llm("ask", "hi", "--backend", "there", "--no-stdin")
    assert run.code == 77 and "consent" in run.err


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("The model `giant` does not exist or you do not have access to it.", "invalid_request_error"),
        ("The requested model 'giant' does not exist.", "model_not_found"),
        ("model 'giant' not found, try pulling it first", None),
        ("Model Not Exist", "invalid_request_error"),
        ("invalid model ID", "invalid_request_error"),
        ("/chat/completions: Invalid model name passed in model=giant. Call `/v1/models`", None),
        ("giant is not a valid model ID", "400"),
        ("Invalid model: giant", "invalid_model"),
        ("models/giant is not found for API version v1", None),
    ],
)
@covering
def test_a_missing_model_may_be_a_bad_request(llm, hosted, message, code):
    """Many servers say so with the status 400; the message is the same as with 404."""
    hosted.models = [{"id": "big"}]
    hosted.usual = error_answer(400, message, code=code)
    run = llm("ask", "hi", "--no-stdin", "--backend", "there", "-m", "giant")
    assert run.code == 66 and "the server has no model giant" in run.err, run.err
    assert "It has big. Name one: -m MODEL" in run.err and len(hosted.chats()) == 1


@pytest.mark.parametrize(
    "message",
    [
        "this model does not support tools",
        "the model returned an invalid tool: search not found",
        "Invalid model parameter: temperature",
        "the messages of a model must alternate",
    ],
)
@covering
def test_other_bad_requests_about_a_model_stay(llm, hosted, message):
    """76, with the server's words."""
    hosted.usual = error_answer(400, message)
    run = llm("ask", "hi", "--no-stdin", "--backend", "there", "-m", "big")
    assert run.code == 76 and message in run.err


@pytest.mark.parametrize("argv", [("ask", "hi", "--no-stdin"), ("sentiment",)])
def test_a_missing_model_names_those_that_the_server_has(llm, hosted, argv):
    """66. Where the server lists none, the advice stays general."""
    hosted.models = [{"id": "big"}, {"id": "small"}]
    hosted.usual = error_answer(404, "The model `giant` does not exist", code="model_not_found")
    run = llm(*argv, "--backend", "there", "-m", "giant", stdin=b"good\n")
    assert run.code == 66 and "the server has no model giant" in run.err, run.err
    assert "It has big, small. Name one: -m MODEL" in run.err
    hosted.models = []
    run = llm(*argv, "--backend", "there", "-m", "giant", stdin=b"good\n")
    assert run.code == 66 and "Name one of its models" in run.err


def test_an_unknown_protocol_is_named(llm, hosted):
    """78, with those that there are."""
    configure(there={"type": "cohere", "base_url": hosted.url})
    run = llm("ask", "hi", "--backend", "there", "--no-stdin")
    assert run.code == 78 and "openai, openai-responses, anthropic, gemini" in run.err and hosted.asked == []
