"""Servers whose answers name another model than was asked for: one warning for each, also in a pipe."""

from __future__ import annotations

import json

import pytest
from fake_server import FakeServer, complete_answer, embed_texts, error_answer, stream_answer
from hosted_servers import SERVERS, send_blocks
from remote_config import configure

OTHER = "which it does not list"


@pytest.fixture
def ask(llm, server):
    """Ask a server that lists the model big."""
    configure(there={"base_url": server.url})
    return lambda *argv, **how: llm("ask", "hello", "--backend", "there", "--no-stdin", *argv, **how)


def warning(server, *, answered="small", name="there"):
    where = server.url.removesuffix("/v1")
    return f"{name} ({where}) was asked for big, but its answers name the model {answered}, {OTHER}"


def test_a_warning_comes_in_a_pipe(ask, server):
    """One line, with the whole answer, which is a success; -q silences it."""
    server.usual = stream_answer("One two three four", model="small")
    run = ask()
    assert (run.code, run.out, run.err) == (0, "One two three four\n", f"llm: warning: {warning(server)}\n")
    quiet = ask("-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, "One two three four\n", "")


def test_json_has_the_warning(ask, server):
    """In warnings of the result; standard error has an object."""
    server.usual = stream_answer("Yes", model="small")
    run = ask("--json")
    assert run.code == 0 and json.loads(run.out)["warnings"] == [warning(server)]
    assert json.loads(run.err) == {"warning": warning(server)}


@pytest.mark.parametrize("is_list_known", [True, False])
def test_the_warning_is_a_line_of_its_own_on_a_terminal(ask, server, terminal, is_list_known):
    """Before the answer if the list is known, else as soon as the list has come: never within a line of the answer."""
    if not is_list_known:
        configure(there={"base_url": server.url, "model": "big", "context": 4096})
    server.usual = stream_answer("One two three four", model="small")
    screen = terminal(columns=200)
    assert ask(out=screen.slave, err=screen.slave).code == 0
    lines = [line.rstrip() for line in screen.close().splitlines() if line.strip()]
    expected = [f"llm: warning: {warning(server)}", "One two three four"]
    assert lines == expected or (not is_list_known and lines == expected[::-1])


def test_a_test_of_a_server_names_the_other_model(llm, server):
    """Instead of the one that it lists."""
    configure(there={"base_url": server.url})
    server.usual = stream_answer("Yes", model="small")
    first, *_ = llm("backends", "test", "there").out.splitlines()
    assert first == f"answer\tyes\t{warning(server)}"


def test_an_answer_that_is_not_streamed_is_checked(ask, server):
    """From a server that does not stream."""
    server.usual = complete_answer({"content": "Yes"}, model="small")
    run = ask()
    assert (run.code, run.out, run.err) == (0, "Yes\n", f"llm: warning: {warning(server)}\n")


@pytest.mark.parametrize("named", ["big", "org/BIG-2025-01-01", "big:latest", "/models/big.gguf", "alias", ""])
def test_no_warning_about_names_of_the_same_model(ask, server, named):
    """Versions, providers, files, and other names that the server lists."""
    server.models.append({"id": "alias", "owned_by": "somebody"})
    server.usual = stream_answer("Yes", model=named)
    run = ask("-m", "big")
    assert (run.code, run.out, run.err) == (0, "Yes\n", "")


def test_the_list_is_asked_for_afterwards_if_it_was_not_needed(ask, server):
    """With a configured model and context, only an answer of another model costs a request, and once."""
    configure(there={"base_url": server.url, "model": "big", "context": 4096})
    assert ask().err == "" and [asked.path for asked in server.asked] == ["/v1/chat/completions"]
    server.usual = stream_answer("Yes", model="small")
    assert ask().err == f"llm: warning: {warning(server)}\n"
    assert [asked.path for asked in server.asked][1:] == ["/v1/chat/completions", "/v1/models"]


def test_a_server_without_a_list_is_compared_with_the_name_asked_for(ask, server):
    """The warning does not speak of a list then."""
    configure(there={"base_url": server.url, "model": "big"})
    server.paths["/v1/models"] = error_answer(404)
    server.usual = stream_answer("Yes", model="small")
    assert ask().err == f"llm: warning: {warning(server).removesuffix(', ' + OTHER)}\n"


def test_a_chat_warns_once(llm, server):
    """Of all its answers."""
    configure(there={"base_url": server.url})
    server.usual = stream_answer("Yes", model="small")
    run = llm("chat", "--backend", "there", stdin=b"one\ntwo\nthree\n")
    assert run.out == "Yes\n" * 3 and run.err == f"llm: warning: {warning(server)}\n"


def test_labels_and_vectors_are_checked(llm, server, tmp_path):
    """They come from requests whose answers are no text."""
    configure(there={"base_url": server.url})
    server.usual = stream_answer("positive", model="small")
    run = llm("sentiment", "--backend", "there", "--json", stdin=b"What a day\nWhat a night\n")
    assert run.code == 0 and run.err.count("was asked for") == 1
    assert all(warning(server) in json.loads(line)["warnings"] for line in run.out.splitlines())
    server.paths["/v1/embeddings"] = embed_texts(lambda _text: [1.0, 0.0], model="small")
    asked = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "big", "input": "A day"}}
    batch = tmp_path / "in.jsonl"
    batch.write_text(json.dumps(asked) + "\n")
    run = llm("run-batch", "-i", str(batch), "-o", str(tmp_path / "out.jsonl"), "--backend", "there")
    assert run.code == 0 and f"llm: warning: {warning(server)}\n" in run.err


def test_one_of_two_servers_has_another_model(llm, server, tmp_path):
    """A job names it once; the records that it answered, and its statistics, say so."""
    other = FakeServer()
    try:
        configure(farm={"base_urls": [server.url, other.url], "concurrency": 2})
        server.usual = stream_answer("right", seconds=0.01, model="big-2025")
        other.usual = stream_answer("wrong", seconds=0.01, model="small")
        file = tmp_path / "rows.csv"
        file.write_text("text\n" + "".join(f"row {number}\n" for number in range(40)))
        argv = ("ask", "-f", str(file), "--column", "text", "Which?", "--backend", "farm", "--json", "--stats")
        run = llm(*argv)
        rows = [json.loads(line) for line in run.out.splitlines()]
        said = [json.loads(line) for line in run.err.splitlines()]
        assert run.code == 0, run.err
        expected = warning(other, name="farm")
        assert [each for each in said if "warning" in each] == [{"warning": expected}]
        assert len(rows) == 40 and {row["text"] for row in rows} == {"right", "wrong"}
        assert all(row["warnings"] == ([expected] if row["text"] == "wrong" else []) for row in rows)
        (stats,) = [each["stats"] for each in said if "stats" in each]
        assert [each["warning"] for each in stats["servers"]] == ["", expected]
    finally:
        other.close()


@pytest.mark.parametrize(
    ("argv", "stdin"),
    [
        (("translate", "--to", "fr"), b"A day.\n\nA night.\n"),
        (("translate", "--to", "fr", "--column", "text", "{file}"), b""),
        (("extract", "--schema", "name"), b"Ada lives in Paris.\n"),
        (("summarize",), b"The mill is closed.\n"),
        (("classify", "--labels", "a,b"), b"a day\nb\n"),
        (("generate", "poem", "--var", "topic=rain", "--no-stdin"), b""),
    ],
)
def test_every_verb_warns_once(llm, server, argv, stdin, tmp_path):
    """However many requests it sends; each result has the warning once."""
    configure(there={"base_url": server.url})
    server.usual = stream_answer('{"name": "Ada"}' if argv[0] == "extract" else "a", model="small")
    file = tmp_path / "rows.csv"
    file.write_text("text\nA day.\nA night.\n")
    run = llm(*(word.format(file=file) for word in argv), "--backend", "there", "--json", stdin=stdin)
    results = [json.loads(line) for line in run.out.splitlines()]
    assert results and all(result["warnings"].count(warning(server)) == 1 for result in results), run.err
    assert run.err.count("was asked for big") == 1


@pytest.mark.parametrize("protocol", [name for name in SERVERS if name != "openai"])
def test_each_protocol_names_its_model(llm, protocol):
    """A date or a number is no other model."""
    hosted = SERVERS[protocol]()
    try:
        configure(there={"type": hosted.type, "base_url": hosted.url})
        for named, warns in (("big-20250219", False), ("models/big-001", False), ("small", True)):
            hosted.usual = send_blocks(name_model(protocol, hosted.events("Yes"), named))
            run = llm("ask", "hi", "--backend", "there", "--no-stdin")
            assert (run.code, run.out) == (0, "Yes\n"), run.err
            assert run.err.count(f"was asked for big, but its answers name the model {named}") == warns, run.err
            assert run.err.count("\n") == warns
    finally:
        hosted.close()


def name_model(protocol, events, named):
    """Return the blocks with the name of a model where the protocol has it."""
    blocks = []
    for block in events:
        head, _, data = block.decode().rstrip().rpartition("data: ")
        event = json.loads(data)
        if protocol == "gemini":
            event["modelVersion"] = named
        elif protocol == "openai-responses" and "response" in event:
            event["response"]["model"] = named
        elif protocol == "anthropic" and event["type"] == "message_start":
            event["message"]["model"] = named
        blocks.append(f"{head}data: {json.dumps(event)}\n\n".encode())
    return blocks
