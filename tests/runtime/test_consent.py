"""Verbs on remote servers: answers, exit codes of failures, consent, and secret keys."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from fake_server import (
    FakeServer,
    certificate,
    close_connection,
    complete_answer,
    cut_connection,
    encode_chunk,
    end_without_finish,
    error_answer,
    repeat_event,
    send_content,
    send_events,
    stall_after,
    stream_answer,
)
from remote_config import CANARY, configure
from waiting import wait_until

ELSEWHERE = "http://models.invalid/v1"


@pytest.fixture
def ask(llm, server):
    """Ask the server a question."""
    return lambda *argv, **how: llm("ask", "hello there", "--base-url", server.url, "--no-stdin", *argv, **how)


@pytest.fixture
def through(server, monkeypatch):
    """Make the server the proxy through which all others are reached."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:word@127.0.0.1:{server.port}")
    return server


# ---- what comes ------------------------------------------------------------------------------------------------------


def test_an_answer_of_a_server(ask, server):
    """The server's text, its model's name and its counts; the model of this machine is not involved."""
    run = ask("--json")
    found = json.loads(run.out)
    assert (run.code, found["text"], found["model"]) == (0, "hello there", "big") and run.backend is None
    assert found["usage"] == {"prompt_tokens": 7, "cached_tokens": 2, "completion_tokens": 3}
    assert server.chats()[0]["model"] == "big" and server.chats()[0]["stream"] is True


def test_every_verb_works(llm, server, tmp_path):
    """Each task on the same backend."""
    note = tmp_path / "note.txt"
    note.write_text("A day.\n\nA night.\n")
    there = ("--base-url", server.url)
    server.usual = stream_answer("Bonjour")
    assert llm("translate", "--to", "fr", str(note), *there).out == "Bonjour\n\nBonjour\n"
    assert llm("summarize", str(note), *there).out == "Bonjour\n"
    assert llm("generate", "poem", "--no-stdin", "--var", "topic=rain", *there).out == "Bonjour\n"
    assert llm("chat", *there, stdin=b"one\ntwo\n").out == "Bonjour\nBonjour\n"
    assert [turn["role"] for turn in server.chats()[-1]["messages"]][-3:] == ["user", "assistant", "user"]


def test_an_address_in_capitals_is_the_same(llm, server):
    """The path is case-sensitive, scheme and host are not."""
    assert llm("ask", "hi", "--no-stdin", "--base-url", server.url.replace("http", "HTTP") + "/").out == "hi\n"


def test_a_backend_of_the_configuration(llm, server):
    """By an option or as the default; -m overrides its model, and local is this machine."""
    configure(there={"base_url": server.url, "model": "big", "context": 4096})
    assert llm("ask", "hi", "--backend", "there", "--no-stdin").out == "hi\n"
    assert llm("ask", "hi", "--no-stdin", env={"LLMCLI_BACKEND": "there"}).out == "hi\n"
    assert llm("ask", "hi", "--backend", "there", "-m", "other", "--no-stdin").code == 0
    assert [body["model"] for body in server.chats()] == ["big", "big", "other"]
    # everything is known: no other request is sent
    assert [asked.path for asked in server.asked] == ["/v1/chat/completions"] * 3
    run = llm("ask", "hi", "--backend", "local", "--no-stdin", env={"LLMCLI_BACKEND": "there"})
    assert run.code == 0 and run.backend is not None and len(server.chats()) == 3


def test_a_closer_setting_overrides(llm, server):
    """A backend and an address both select a server: an option overrides the environment, which overrides the file."""
    configure(there={"base_url": "http://127.0.0.1:9/v1"})
    assert llm("ask", "hi", "--base-url", server.url, "--no-stdin", env={"LLMCLI_BACKEND": "there"}).out == "hi\n"
    both = llm("ask", "hi", "--base-url", server.url, "--backend", "there", "--no-stdin")
    assert both.code == 2 and "two servers" in both.err
    assert llm("ask", "hi", "--no-stdin", env={"LLMCLI_BACKEND": "there", "LLMCLI_BASE_URL": server.url}).code == 78


def test_reasoning_is_recognized(ask, server):
    """Its own field, or tags in the text, are reasoning and never part of the answer."""
    server.script = [
        stream_answer("Yes.", reasoning="Let me think. "),
        stream_answer("<think>Let me think.</think>\n\nYes."),
    ]
    for _ in range(2):
        run = ask("--reasoning")
        assert (run.out, run.code) == ("Yes.\n", 0) and "Let me think." in run.err


def test_a_server_that_does_not_stream(ask, server):
    """A complete answer without a stream is accepted too."""
    server.script = [complete_answer({"content": "All at once."})]
    assert ask().out == "All at once.\n"


def test_a_limit_of_the_server_is_reported(ask, server):
    """An answer that ended at a limit of the server is truncated: 3."""
    server.usual = stream_answer("Once upon a", reason="length")
    assert ask().code == 3
    assert ask("--max-tokens", "3").code == 0


def test_refused_fields_are_omitted(ask, server):
    """One after the other, reported with -v, and remembered for the next command; limits get their newer name."""
    server.fields_refused = {"temperature", "seed", "stream_options", "chat_template_kwargs", "max_tokens"}
    run = ask("--seed", "1", "--max-tokens", "9", "-v")
    assert run.code == 0 and "seed, stream_options, temperature" in run.err
    last = server.chats()[-1]
    assert last["max_completion_tokens"] == 9 and not server.fields_refused & set(last)
    before = len(server.chats())
    assert ask("--seed", "1").code == 0 and len(server.chats()) == before + 1


def test_many_at_once_and_no_more(llm, server, tmp_path):
    """A server that accepts four requests gets the refused ones of sixteen again, and all are answered in order."""
    files = [tmp_path / f"{number}.txt" for number in range(40)]
    for number, file in enumerate(files):
        file.write_text(f"text {number}\n")
    server.bears = 4
    server.usual = stream_answer(lambda body: re.findall(r"text (\d+)", str(body))[-1], seconds=0.002)
    run = llm("summarize", "--base-url", server.url, *map(str, files))
    assert run.code == 0, run.err
    assert [line for line in run.out.splitlines() if line.isdigit()] == [str(number) for number in range(40)]


# ---- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        error_answer(429, Retry_After="0"),
        error_answer(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
        error_answer(500, "hiccup"),
        error_answer(503),
        close_connection(),
        send_events(),
        cut_connection(""),
    ],
)
def test_temporary_failures_are_retried(ask, server, first):
    """Busy, failing, or disconnected before the first word: the next attempt succeeds."""
    server.script = [first, first]
    run = ask()
    assert (run.code, run.out, run.err) == (0, "hello there\n", "") and len(server.chats()) == 3


@pytest.mark.slow
def test_a_servers_pause_is_respected(ask, server):
    """Retry-After in seconds and as a date is respected."""
    server.script = [
        error_answer(429, Retry_After="1"),
        error_answer(429, Retry_After=formatdate(time.time() + 2, usegmt=True)),
    ]
    started = time.monotonic()
    assert ask().code == 0
    assert time.monotonic() - started > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("usual", "code", "words", "asked"),
    [
        (error_answer(429, Retry_After="3600"), 75, "3600 seconds", 1),
        (error_answer(429, "slow down"), 75, "slow down", 4),
        (error_answer(500, "hiccup"), 75, "hiccup", 4),
        (close_connection(), 75, "connection", 4),
        (send_events(b"{malformed"), 76, "not JSON", 1),
        (send_events(b"[]"), 76, "not a JSON object", 1),
        (send_content("text/html", b"<html>log in</html>"), 76, "a web page", 1),
        (send_content("application/pdf", b"%PDF"), 76, "application/pdf", 1),
        (send_content("application/json", b"{"), 76, "not JSON", 1),
        (repeat_event(encode_chunk({})), 76, "does not end", 1),
        (repeat_event(b"x" * 4000 + b"\r"), 76, "not JSON", 1),
        (send_events(b'{"error": {"message": "overloaded", "type": "server_error"}}'), 75, "overloaded", 4),
        (
            send_events(b'{"error": {"message": "no such thing", "type": "invalid_request_error"}}'),
            76,
            "no such thing",
            1,
        ),
        (error_answer(401, "who are you?"), 77, "requires a key", 1),
        (error_answer(403, "not for you"), 77, "not for you", 1),
        (error_answer(404, "The model `big` does not exist"), 66, "does not exist", 1),
        (error_answer(404), 76, "base_url", 1),
        (error_answer(413, "too large"), 65, "too large", 1),
        (error_answer(400, "maximum context length is 5 tokens", code="context_length_exceeded"), 65, "5 tokens", 1),
        (error_answer(400, "messages must alternate"), 76, "must alternate", 1),
        (send_content("application/json", b"{}"), 76, "its answer is empty", 1),
        (send_content("application/json", b'{"choices": null}'), 76, "its answer is empty", 1),
        (error_answer(200, Content_Encoding="gzip"), 76, "did not request (gzip)", 1),
        (send_events(encode_chunk({"content": "x"})[:-2] + b"\xff"), 76, "not UTF-8", 1),
        (error_answer(418), 76, "HTTP status 418", 1),
        (error_answer(204), 76, "HTTP status 204", 1),
        (error_answer(429, "pay first", code="insufficient_quota"), 69, "pay first", 1),
        (error_answer(400, "flagged", code="content_filter"), 65, "flagged", 1),
        (stream_answer("", reason="content_filter"), 65, "its content filter stopped the answer", 1),
        (stream_answer("I cannot help.", field="refusal"), 65, "refuses to answer: I cannot help.", 1),
    ],
)
def test_each_failure_has_its_code(ask, server, usual, code, words, asked):
    """In one line, with nothing delivered; only temporary failures are retried."""
    server.usual = usual
    run = ask("--max-tokens", "4")
    assert (run.code, run.out) == (code, ""), run.err
    assert words in run.err and run.err.startswith("llm: ") and (code == 69 or len(run.err.splitlines()) == 2)
    assert str(server.port) in run.err or code == 66
    assert len(server.chats()) == asked


@pytest.mark.parametrize("behaviour", [cut_connection(), end_without_finish()])
def test_a_cut_stream_is_a_failure(ask, server, behaviour, tmp_path):
    """The text so far is on standard output, the code is 75, and nothing is retried."""
    server.usual = behaviour
    run = ask()
    assert (run.code, run.out.rstrip("\n")) == (75, "Half an ans") and "broke off" in run.err
    assert len(server.chats()) == 1
    kept = tmp_path / "answer.txt"
    kept.write_text("before")
    assert ask("-o", str(kept)).code == 75 and kept.read_text() == "before"


def test_one_cut_stream_of_several_is_partial(llm, server, tmp_path):
    """The others are delivered: 3."""
    files = [tmp_path / name for name in ("a.txt", "b.txt")]
    for file in files:
        file.write_text(f"{file.stem} text\n")
    good = stream_answer("A summary.")
    server.usual = lambda handler, body: (cut_connection() if "b text" in str(body) else good)(handler, body)
    run = llm("summarize", "--base-url", server.url, *map(str, files))
    assert run.code == 3 and "A summary." in run.out and "broke off" in run.err


def test_a_fault_of_many_records_is_reported_once(llm, server):
    """With the line of the first and what to do; the others are listed."""
    server.usual = error_answer(400, "bad thing")
    run = llm("sentiment", "--base-url", server.url, stdin="".join(f"text {number}\n" for number in range(9)).encode())
    first, advice, others = run.err.splitlines()
    assert run.code == 76 and "line 1: " in first and advice.startswith("Check")
    assert others == "llm: the same of line 2; line 3; line 4; line 5; line 6 and 3 more"


def test_a_job_does_not_begin_on_a_server_that_answers_nothing(llm, server):
    """A server that lists its model and answers nonsense is asked three times for one word."""
    server.usual = send_events(b"[]")
    run = llm("sentiment", "--base-url", server.url, stdin=b"text\nmore\n")
    assert (run.code, run.out) == (76, "") and len(run.err.splitlines()) == 2


@pytest.mark.slow
def test_a_silent_server_times_out(llm, server):
    """After the timeout of its configuration: before and after the first words, and with keep-alives only."""
    configure(there={"base_url": server.url, "timeout": 0.1})
    server.script = [stall_after()] * 4
    run = llm("ask", "hi", "--backend", "there", "--no-stdin")
    assert run.code == 75 and "0.1 seconds" in run.err
    server.script = [stall_after(encode_chunk({"content": "Some"}))]
    run = llm("ask", "hi", "--backend", "there", "--no-stdin")
    assert (run.code, run.out.rstrip()) == (75, "Some")


def test_a_slow_server_reaches_the_deadline(ask, server):
    """--timeout ends a command at once, whatever the server does."""
    server.usual = stall_after()
    started = time.monotonic()
    assert ask("--timeout", "0.2").code == 124
    assert time.monotonic() - started < 5
    server.usual = stream_answer("Late but good", seconds=0.2)
    assert ask("--timeout", "30").out == "Late but good\n"


def test_a_redirect_is_not_followed(llm, server, monkeypatch):
    """Neither the key nor the prompt follows a redirect."""
    other = FakeServer()
    monkeypatch.setenv("THE_KEY", CANARY)
    configure(there={"base_url": server.url, "key_env": "THE_KEY", "model": "big"})
    try:
        for status in (301, 302, 307, 308):
            server.usual = error_answer(status, Location=f"{other.url}/chat/completions?k={CANARY}")
            run = llm("ask", "hi", "--backend", "there", "--no-stdin")
            assert run.code == 76 and "redirects" in run.err and CANARY not in run.err
    finally:
        other.close()
    assert other.asked == []


def test_a_certificate_that_does_not_verify(llm, server, tmp_path, monkeypatch):
    """Nothing is sent; to trust the certificate, set OpenSSL's own variable."""
    secret = FakeServer(certificate(tmp_path))
    try:
        run = llm("ask", "hi", "--base-url", secret.url, "--no-stdin")
        assert run.code == 76 and "cannot be verified" in run.err and secret.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        assert llm("ask", "hi", "--base-url", secret.url, "--no-stdin").out == "hi\n"
    finally:
        secret.close()


@pytest.mark.usefixtures("server")
def test_a_refused_connection_names_the_address(llm):
    """A refused connection is not worth a retry: the error names the address and what to do."""
    run = llm("ask", "Q", "--base-url", "http://127.0.0.1:9/v1")
    happened, advice = run.err.splitlines()
    assert (run.code, run.out) == (75, "") and "Connection refused" in happened
    assert "Is the server running?" in advice and "http://127.0.0.1:9/v1" in advice and "later" not in run.err


def test_no_server_there(llm, server):
    """75, and no long wait; an address with another protocol is 76."""
    run = llm("ask", "hi", "--base-url", "http://127.0.0.1:9/v1", "--no-stdin")
    assert run.code == 75 and "refused" in run.err.lower()
    run = llm("ask", "hi", "--base-url", server.url.replace("http", "https"), "--no-stdin")
    assert run.code == 76 and "TLS failed" in run.err


def test_several_models_require_a_name(ask, server):
    """No model is assumed: 2, with the names."""
    server.models = [{"id": "big"}, {"id": "small"}]
    run = ask()
    assert run.code == 2 and "-m big or small" in run.err
    assert ask("-m", "small").code == 0 and server.chats()[-1]["model"] == "small"


def test_a_prompt_that_does_not_fit_is_not_sent(llm, ask, server, tmp_path):
    """The context is the one that the server reports for its model."""
    server.models[0]["max_model_len"] = 512
    run = llm("ask", "word " * 2000, "--base-url", server.url, "--no-stdin")
    assert run.code == 65 and "context of 512" in run.err and server.chats() == []
    book = tmp_path / "book.txt"
    book.write_text("word " * 2000)
    assert ask("-f", str(book)).code == 0
    sent = [sum(len(each["content"].split()) for each in chat["messages"]) for chat in server.chats()]
    assert sent and max(sent) < 512  # passages of it


def test_deterministic_is_unsupported(ask, server):
    """69 instead of a silent difference."""
    assert ask("--deterministic").code == 69 and server.asked == []


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"base_url": "ftp://x"}, "expected an address"),
        ({"base_url": "https://name:word@host/v1"}, "set key_env or key_file"),
        ({"base_url": "https://host/v1", "keys": 1}, "one key is keys"),
        ({}, "expected the key base_url"),
        ({"base_url": "https://host/v1", "concurrency": 0}, "concurrency: expected a whole number"),
        ({"base_url": "https://host/v1", "consent": "yes"}, "consent: expected true or false"),
        ({"base_url": "https://host/v1", "timeout": -1}, "timeout: expected a positive number"),
        ({"base_url": "https://host/v1", "key_env": "A", "key_file": "B"}, "either key_env or key_file"),
    ],
)
def test_a_wrong_description_is_78(llm, described, words):
    """It says what was expected."""
    configure(there=described)
    run = llm("ask", "hi", "--no-stdin")
    assert run.code == 78 and words in run.err


DOCS = "\n".join(path.read_text("utf-8") for path in sorted((Path(__file__).parents[2] / "docs").glob("*.md")))
EXAMPLES = re.findall(r"^```yaml\n(backends:.*?)```", DOCS, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_documented_examples_are_valid(llm, example):
    """Each is accepted as a configuration without changes."""
    file = configure()
    file.write_text(example)
    run = llm("config", "show", "backends")
    assert run.code == 0 and all(name in run.out for name in re.findall(r"^  (\w+):$", example, re.MULTILINE))


def test_the_documentation_has_examples():
    """Of remote servers, and of ``llm serve`` on another machine."""
    assert len(EXAMPLES) >= 2


def test_a_password_in_an_address_is_not_repeated(llm):
    """Anyone who reads the connection could read it."""
    run = llm("ask", "hi", "--no-stdin", "--base-url", "http://user:hunter2@host/v1")
    assert run.code == 2 and "hunter2" not in run.err and "***@host/v1" in run.err
    run = llm("ask", "hi", "--no-stdin", env={"LLMCLI_BASE_URL": "http://user:hunter2/@@host/v1"})
    assert run.code == 78 and "hunter2" not in run.err


def test_an_unknown_backend(llm):
    """2 for an option, 78 for a setting, with the available names."""
    configure(there={"base_url": "https://host/v1"})
    run = llm("ask", "hi", "--backend", "their", "--no-stdin")
    assert run.code == 2 and "local, there" in run.err
    run = llm("ask", "hi", "--no-stdin", env={"LLMCLI_BACKEND": "their"})
    assert run.code == 78 and "Did you mean there?" in run.err


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_comes_from_a_variable_or_a_file(llm, server, tmp_path, monkeypatch):
    """It is sent in the header, and nowhere else."""
    server.key = CANARY
    monkeypatch.setenv("THE_KEY", CANARY)
    file = tmp_path / "key"
    file.write_text(CANARY + "\n")
    file.chmod(0o600)
    configure(
        one={"base_url": server.url, "key_env": "THE_KEY"},
        two={"base_url": server.url, "key_file": str(file)},
        none={"base_url": server.url},
    )
    assert llm("ask", "hi", "--backend", "one", "--no-stdin").out == "hi\n"
    assert llm("ask", "hi", "--backend", "two", "--no-stdin").out == "hi\n"
    run = llm("ask", "hi", "--backend", "none", "--no-stdin")
    assert run.code == 77 and "key_env" in run.err


def test_a_wrong_key_is_not_shown(llm, server, monkeypatch):
    """Not even when the server repeats it."""
    server.key = "another"
    monkeypatch.setenv("THE_KEY", CANARY)
    configure(there={"base_url": server.url, "key_env": "THE_KEY", "model": "big"})
    run = llm("ask", "hi", "--backend", "there", "--no-stdin", "-v", "--json")
    assert run.code == 77 and "THE_KEY" in run.err and "Incorrect API key provided: Bearer ***" in run.err
    assert CANARY not in run.err


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_readable_key_file_is_refused(llm, server, tmp_path, mode):
    """77, with the command that restricts it; nothing is sent."""
    file = tmp_path / "key"
    file.write_text(CANARY)
    file.chmod(mode)
    configure(there={"base_url": server.url, "key_file": str(file)})
    run = llm("ask", "hi", "--backend", "there", "--no-stdin")
    assert run.code == 77 and f"chmod 600 {file}" in run.err and server.asked == []


@pytest.mark.parametrize(
    ("described", "code"),
    [
        ({"key_env": "NOT_SET"}, 78),
        ({"key_file": "/nowhere/key"}, 66),
        ({"key_file": "/dev/null"}, 66),
        ({"key_file": "/tmp"}, 66),
        ({"key_env": "BAD_KEY"}, 78),
    ],
)
def test_an_invalid_key(llm, server, described, code):
    """Not set, missing, not a file, or with characters that would form other headers."""
    configure(there={"base_url": server.url, **described})
    run = llm("ask", "hi", "--backend", "there", "--no-stdin", env={"BAD_KEY": f"{CANARY}\r\nX-Evil: 1"})
    assert run.code == code and CANARY not in run.err and server.asked == []


def test_a_key_is_not_sent_unencrypted(llm, through, monkeypatch):
    """Unless the configuration allows it."""
    monkeypatch.setenv("THE_KEY", CANARY)
    there = {"base_url": ELSEWHERE, "key_env": "THE_KEY", "consent": True}
    configure(there=there)
    run = llm("ask", "hi", "--backend", "there", "--no-stdin")
    assert run.code == 78 and "plain_http" in run.err and through.asked == []
    configure(there=there | {"plain_http": True})
    assert llm("ask", "hi", "--backend", "there", "--no-stdin").code == 0


@pytest.mark.slow
@pytest.mark.usefixtures("real_processes")
def test_canary_keys_are_nowhere(process, server, tmp_path, monkeypatch):
    """During a command: in no argument list, and in no environment but its own; afterwards in no output and no file."""
    server.key = key = f"{CANARY}-{os.getpid()}"  # of no other test
    server.usual = stall_after(encode_chunk({"content": "Some"}))
    secret = tmp_path / "secret" / "key"
    secret.parent.mkdir()
    secret.write_text(key)
    secret.chmod(0o600)
    configure(
        file={"base_url": server.url, "key_file": str(secret)}, env={"base_url": server.url, "key_env": "THE_KEY"}
    )
    both = [
        process("ask", "hi", "--backend", name, "--timeout", "1.5", "-v", "--json", env=environ)
        for name, environ in (("file", {}), ("env", {"THE_KEY": key}))
    ]
    wait_until(lambda: len(server.chats()) == 2 or any(running.poll() is not None for running in both))
    there = [path for path in Path("/proc").iterdir() if path.name.isdigit()]  # some of which end meanwhile
    assert {int(path.name) for path in there if _holds(path / "environ", key)} <= {both[1].pid}
    assert [path for path in there if _holds(path / "cmdline", key)] == []
    for running in both:
        out, err = running.communicate(timeout=20)
        assert running.returncode == 124 and key.encode() not in out + err
    held = [path for path in tmp_path.rglob("*") if path.is_file() and path != secret and _holds(path, key)]
    assert held == []


def _holds(path: Path, key: str) -> bool:
    try:
        return key.encode() in path.read_bytes()
    except OSError:
        return False


# ---- knowingly -------------------------------------------------------------------------------------------------------


def test_a_host_gets_nothing_before_consent(llm, through):
    """A script is told how to agree: for one run, or in the configuration."""
    configure(there={"base_url": ELSEWHERE})
    run = llm("ask", "hi", "--backend", "there", "--no-stdin")
    assert run.code == 77 and "--yes" in run.err and "backends.there.consent" in run.err and through.asked == []
    assert llm("ask", "hi", "--backend", "there", "--no-stdin", "--yes").out == "hi\n"
    assert llm("ask", "hi", "--backend", "there", "--no-stdin").code == 77  # --yes is for one run
    configure(there={"base_url": ELSEWHERE, "consent": True})
    assert llm("ask", "hi", "--backend", "there", "--no-stdin").out == "hi\n"
    assert through.asked[-1].path == f"{ELSEWHERE}/chat/completions"  # as for a proxy
    assert through.asked[-1].headers["proxy-authorization"] == "Basic dXNlcjp3b3Jk"


@pytest.mark.parametrize(("typed", "code"), [(b"y\n", 0), (b"\n", 77), (b"n\n", 77)])
def test_the_user_is_asked_once_for_each_host(process, through, terminal, llm, typed, code):
    """The question says which host gets what; Enter means no; yes is stored in a file that only this user can read."""
    screen = terminal(columns=200)
    argv = ("ask", "hi", "--base-url", ELSEWHERE)
    running = process(*argv, stdin=screen.slave, stderr=screen.slave)
    wait_until(lambda: b"[y/N]" in screen.raw)
    assert through.asked == []
    os.write(screen.master, typed)
    out, _ = running.communicate(timeout=20)
    shown = screen.close()
    assert running.returncode == code and "http://models.invalid will receive what you type" in shown
    assert out == (b"hi\n" if code == 0 else b"")
    kept = Path(os.environ["LLMCLI_DATA_DIR"]) / "consents.json"
    assert kept.exists() == (code == 0)
    if code == 0:
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert llm(*argv, "--no-stdin").out == "hi\n"  # there is no second question
        assert llm("ask", "hi", "--no-stdin", "--base-url", "http://other.invalid/v1").code == 77


@pytest.mark.parametrize(("argv", "env"), [(["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"})])
def test_offline_refuses_remote_servers(llm, through, argv, env):
    """69, even with consent; a server on this machine needs no network."""
    run = llm("ask", "hi", "--base-url", ELSEWHERE, "--yes", "--no-stdin", *argv, env=env)
    assert run.code == 69 and (argv or list(env))[0] in run.err and through.asked == []
    assert llm("ask", "hi", "--base-url", through.url, "--no-stdin", *argv, env=env).out == "hi\n"


def test_loopback_needs_no_consent_and_no_proxy(llm, server, monkeypatch):
    """Requests to a server on this machine stay on it."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert llm("ask", "hi", "--base-url", server.url, "--no-stdin").out == "hi\n"
    assert llm("ask", "hi", "--base-url", server.url.replace("127.0.0.1", "localhost"), "--no-stdin").code == 0


def test_doctor_lists_backends_hosts_and_consents(llm, tmp_path, monkeypatch):
    """Each address, its consent, and whether its key exists; never the key, and without a connection."""
    monkeypatch.setenv("THE_KEY", CANARY)
    open_file = tmp_path / "key"
    open_file.write_text(CANARY)
    open_file.chmod(0o644)
    configure(
        one={"base_url": "https://one.invalid/v1", "key_env": "THE_KEY", "consent": True},
        two={"base_url": "http://127.0.0.1:9/v1"},
        three={"base_url": "https://three.invalid/v1", "key_file": str(open_file)},
    )
    kept = Path(os.environ["LLMCLI_DATA_DIR"]) / "consents.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"hosts": {"https://four.invalid": "2026-01-02"}}))
    run = llm("doctor", "--json")
    found = {row["check"]: row for row in map(json.loads, run.out.splitlines())}["backends"]
    assert found["state"] == "warning" and "chmod 600" in found["next"]
    leaves = [each["consent"] for each in found["data"]["backends"]]
    assert leaves == ["consent in the configuration", "this machine", "no consent yet"]
    assert found["data"]["consents"] == {"https://four.invalid": "2026-01-02"} and "four.invalid" in found["text"]
    assert CANARY not in run.out + run.err
    shown = llm("config", "show", "backends")
    assert "one: https://one.invalid/v1" in shown.out and CANARY not in shown.out
    assert CANARY not in llm("config", "show", "--json").out


@pytest.mark.slow
def test_doctor_asks_servers_on_request_only(llm, server):
    """Servers that were not asked are untested; one that does not run is a warning with its address."""
    backends = {"runs": {"base_url": server.url}, "stopped": {"base_url": "http://127.0.0.1:9/v1"}}

    def look(*more, **wanted):
        configure(**{name: backends[name] for name in wanted or backends})
        rows = map(json.loads, llm("doctor", "--json", *more).out.splitlines())
        return {row["check"]: row for row in rows}["backends"]

    found = look()
    assert found["state"] == "untested" and "no connection was tried" in found["text"] and server.asked == []
    found = look("--network", runs=True)
    assert found["state"] == "ok" and "it answers" in found["text"] and server.asked != []
    found = look("--network")
    assert found["state"] == "warning" and "Connection refused" in found["text"]
    assert "http://127.0.0.1:9/v1" in found["next"]


def test_doctor_asks_no_server_without_consent(llm, through):
    """Without consent for the server, or with offline set."""
    configure(there={"base_url": ELSEWHERE})
    for env in ({}, {"LLMCLI_OFFLINE": "on"}):
        rows = map(json.loads, llm("doctor", "--network", "--json", env=env).out.splitlines())
        found = {row["check"]: row for row in rows}["backends"]
        assert found["state"] == "untested" and "not tried" in found["text"]


def test_doctor_continues_after_an_invalid_key_file(llm, tmp_path):
    """It names the backend, and checks the rest."""
    configure(there={"base_url": "http://127.0.0.1:9/v1", "key_file": str(tmp_path)})
    rows = {row["check"]: row for row in map(json.loads, llm("doctor", "--json").out.splitlines())}
    assert str(tmp_path) in rows["backends"]["text"] and "key_file" in rows["backends"]["next"] and "network" in rows


def test_a_broken_list_of_consents_means_no_consent(llm, through):
    """An unreadable list agrees to nothing."""
    kept = Path(os.environ["LLMCLI_DATA_DIR"]) / "consents.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    for text in ("{", "[]", '{"hosts": []}'):
        kept.write_text(text)
        assert llm("ask", "hi", "--base-url", ELSEWHERE, "--no-stdin").code == 77


def test_ctrl_c_ends_a_silent_answer(process, server):
    """A signal is noticed while the server is silent, and the server sees its client disconnect."""
    server.usual = stall_after()
    running = process("ask", "hi", "--base-url", server.url)
    wait_until(server.chats)
    threading.Timer(0.05, running.terminate).start()
    running.communicate(timeout=20)
    assert running.returncode == -15
