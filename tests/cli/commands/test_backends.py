"""``llm backends``: servers are listed, added, tested and removed."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import yaml
from fake_server import complete_answer, embed_texts, encode_chunk, error_answer, stream_answer
from hosted_servers import SERVERS, send_blocks
from remote_config import CANARY, configure

ELSEWHERE = "http://models.invalid/v1"


@pytest.fixture
def file():
    """Return the path of the configuration file; its directory exists."""
    path = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def rows_of(run):
    """Return the objects that a command printed."""
    return [json.loads(line) for line in run.out.splitlines()]


# ---- list ------------------------------------------------------------------------------------------------------------


def test_list_has_yours_and_the_well_known_ones(llm):
    """With the place of each key and the consent, and without a key; a pipe gets the same, tab-separated."""
    configure(work={"base_url": "https://work/v1", "key_env": "WORK_KEY", "consent": True, "model": "big"})
    env = {"WORK_KEY": CANARY}
    run = llm("backends", "list", "--json", env=env)
    rows = {row["name"]: row for row in rows_of(run)}
    assert list(rows)[:3] == ["work", "openai", "anthropic"] and len(rows) == 11
    assert rows["work"] == {
        "name": "work",
        "type": "openai",
        "base_url": "https://work/v1",
        "model": "big",
        "key": "WORK_KEY",
        "consent": "configured",
        "origin": "configuration",
    }
    assert rows["anthropic"]["type"] == "anthropic" and rows["anthropic"]["origin"] == "preset"
    assert rows["azure"]["base_url"] is None and rows["ollama"]["consent"] == "not needed"
    plain = llm("backends", "list", env=env)
    assert plain.out.splitlines()[0] == "work\topenai\thttps://work/v1\tbig\tWORK_KEY\tconfigured\tconfiguration"
    assert CANARY not in run.out + plain.out


def test_list_tells_a_person_how_to_store_a_key(llm, terminal):
    """Below the table, which says of a key that cannot be used why; each well-known server is one line of 80 columns."""
    configure(work={"base_url": "https://work/v1", "key_env": "WORK_KEY"})
    screen = terminal(columns=120)
    assert llm("backends", "list", out=screen.slave).code == 0
    assert "WORK_KEY is not set" in " ".join(screen.close().split())
    configure()
    screen = terminal(columns=80)
    assert llm("backends", "list", out=screen.slave).code == 0
    head, *lines = screen.close().splitlines()
    assert head.split() == ["NAME", "ADDRESS", "MODEL", "KEY"] and lines[-2:] == [
        "",
        "To store a key: llm keys set NAME",
    ]
    servers = {line.split()[0]: line.split()[-1] for line in lines[:-2]}
    assert servers["openai"] == "none" and servers["ollama"] == "-" and len(servers) == len(lines) - 2


# ---- add -------------------------------------------------------------------------------------------------------------


def test_a_preset_is_added_with_its_address(llm, file):
    """What it needs is written out, so that the file says all."""
    assert llm("backends", "add", "openai", "--model", "gpt-4.1-mini").code == 0
    assert yaml.safe_load(file.read_text()) == {
        "backends": {"openai": {"type": "openai", "base_url": "https://api.openai.com/v1", "model": "gpt-4.1-mini"}}
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_all_options_are_written(llm, file):
    """And accepted by every command afterwards."""
    argv = [
        *(
            "--base-url",
            "HTTPS://Host/v1/",
            "--type",
            "anthropic",
            "-m",
            "big",
            "--key-env",
            "KEY",
            "--context",
            "4096",
        ),
        *("--concurrency", "2", "--consent"),
    ]
    run = llm("backends", "add", "work", *argv, "--json")
    added = {
        "type": "anthropic",
        "base_url": "https://host/v1",
        "model": "big",
        "key_env": "KEY",
        "context": 4096,
        "concurrency": 2,
        "consent": True,
    }
    assert yaml.safe_load(file.read_text())["backends"]["work"] == added
    assert json.loads(run.out) == {"backend": "work", "path": str(file), **added}
    assert llm("config", "show", "backends").out.startswith("backends\twork: https://host/v1")


def test_a_preset_under_another_name(llm, file):
    """Two accounts of one provider are two backends."""
    assert llm("backends", "add", "work", "--preset", "anthropic").code == 0
    assert yaml.safe_load(file.read_text())["backends"]["work"]["base_url"] == "https://api.anthropic.com/v1"


def test_comments_and_settings_stay(llm, file):
    """All that was in the file, byte for byte, also through a link."""
    text = (
        "# mine\nctx: 4096  # enough\nbackends:\n  # the lab\n  lab:\n    type: openai\n    base_url: http://lab/v1\n"
    )
    file.with_name("real.yaml").write_text(text)
    file.symlink_to(file.with_name("real.yaml"))
    assert llm("backends", "add", "work", "--base-url", "http://work/v1").code == 0
    assert file.is_symlink() and file.read_text().startswith(text)
    assert llm("backends", "rm", "--yes", "work").code == 0
    assert file.read_text() == text


def test_a_key_file_is_found_from_every_directory(llm, file, monkeypatch, tmp_path):
    """A relative path is made absolute when it is added; ~ stays."""
    monkeypatch.chdir(tmp_path)
    for name, path, written in (
        ("a", "tok", str(tmp_path / "tok")),
        ("b", "~/tok", "~/tok"),
        ("c", "/x/tok", "/x/tok"),
    ):
        assert llm("backends", "add", name, "--base-url", "http://work/v1", "--key-file", path).code == 0
        assert yaml.safe_load(file.read_text())["backends"][name]["key_file"] == written


def test_an_existing_name_needs_force(llm, file):
    """2 without; with it the entry is replaced."""
    assert llm("backends", "add", "work", "--base-url", "http://one/v1").code == 0
    run = llm("backends", "add", "work", "--base-url", "http://two/v1")
    assert run.code == 2 and "--force" in run.err
    assert llm("backends", "add", "work", "--base-url", "http://two/v1", "--force").code == 0
    assert yaml.safe_load(file.read_text())["backends"] == {"work": {"type": "openai", "base_url": "http://two/v1"}}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("a/b", "--base-url", "http://x/v1"), "expected names"),
        (("local", "--base-url", "http://x/v1"), "other than local"),
        (("x",), "needs an address"),
        (("azure",), "RESOURCE.openai.azure.com"),
        (("x", "--base-url", "ftp://x"), "expected an address"),
        (("x", "--base-url", "http://me:secret@x/v1"), "expected an address"),
        (("x", "--base-url", "http://x/v1", "--type", "soap"), "expected one of openai"),
        (("x", "--preset", "nobody"), "there is no preset nobody"),
        (("x", "--base-url", "http://x/v1", "--key-env", "A", "--key-file", "B"), "either key_env or key_file"),
        (("x", "--base-url", "http://x/v1", "--concurrency", "0"), "concurrency"),
    ],
)
def test_what_is_wrong_is_not_written(llm, file, argv, words):
    """2, one line, and a next step."""
    run = llm("backends", "add", *argv)
    assert run.code == 2 and words in run.err and len(run.err.splitlines()) == 2 and not file.exists()
    assert "secret" not in run.err


def test_a_layout_that_cannot_be_edited_is_left_alone(llm, file):
    """78, with the way that works."""
    text = "backends: &all\n  one: &one {type: openai, base_url: 'http://x/v1'}\n  two: *one\n"
    file.write_text(text)
    run = llm("backends", "rm", "--yes", "two")
    assert run.code == 78 and "llm config edit" in run.err and file.read_text() == text


def test_a_broken_configuration_is_not_edited(llm, file):
    """78 as everywhere."""
    file.write_text("nonsense: 1\n")
    assert llm("backends", "add", "x", "--base-url", "http://x/v1").code == 78 and file.read_text() == "nonsense: 1\n"


# ---- rm --------------------------------------------------------------------------------------------------------------


def test_rm_removes_one(llm, file):
    """And asks; what is not in the configuration is 66."""
    configure(one={"base_url": "http://one/v1"}, two={"base_url": "http://two/v1"})
    assert llm("backends", "rm", "one").code == 2
    assert rows_of(llm("backends", "rm", "--yes", "one", "--json")) == [{"removed": "one"}]
    assert list(yaml.safe_load(file.read_text())["backends"]) == ["two"]
    for name in ("one", "openai"):
        run = llm("backends", "rm", "--yes", name)
        assert run.code == 66 and f"the configuration has no backend {name}" in run.err
    assert llm("backends", "rm", "--yes", "two").code == 0 and llm("config", "show").code == 0


def test_rm_says_what_still_names_it(llm, file):
    """A default that is gone would stop every command."""
    file.write_text("backend: one\nbackends:\n  one:\n    type: openai\n    base_url: http://one/v1\n")
    run = llm("backends", "rm", "--yes", "one")
    assert run.code == 0 and "backend is still set to one" in run.err


# ---- test ------------------------------------------------------------------------------------------------------------


def able_server(handler, body):
    """Do all that is asked for, as a server that supports it does."""
    if "tools" in body:
        call = {"id": "1", "type": "function", "function": {"name": "report_word", "arguments": '{"word": "Hello"}'}}
        complete_answer({"content": None, "tool_calls": [call]})(handler, body)
    elif "response_format" in body:
        stream_answer('{"word": "hello"}')(handler, body)
    elif "logprobs" in body:
        token = {"token": "Hi", "logprob": -0.1, "top_logprobs": [{"token": "Hi", "logprob": -0.1}]}
        chunk = encode_chunk({"content": "Hi"}, logprobs={"content": [token]})
        handler.stream(iter([chunk, encode_chunk({}, finish_reason="stop"), b"[DONE]"]))
    else:
        stream_answer("Hello to you, too.")(handler, body)


def found_by(run):
    """Return the result of each check."""
    return {row["check"]: row["works"] for row in rows_of(run)}


def test_a_server_that_can_do_all(llm, server):
    """Each check says yes, and why; by name or by address."""
    server.usual = able_server
    server.paths["/v1/embeddings"] = embed_texts(lambda _text: [0.6, 0.8])
    configure(there={"base_url": server.url})
    run = llm("backends", "test", "there", "--json")
    assert run.code == 0, run.err
    checks = ["answer", "stream", "schema", "tools", "logprobs", "embeddings", "context"]
    assert found_by(run) == dict.fromkeys(checks, "yes")
    assert "4096 tokens, as the server says" in run.out and len(server.chats()) == 4
    assert found_by(llm("backends", "test", "--base-url", server.url, "--json")) == found_by(run)
    assert llm("backends", "test", "there").out.splitlines()[1].split("\t")[:2] == ["stream", "yes"]


def test_a_server_that_can_do_little(llm, server):
    """Each check says no or unknown, and why; the server answers, so the code is 0."""
    server.models = [{"id": "big"}]
    server.fields_refused = {"response_format", "tools", "logprobs", "top_logprobs"}
    server.usual = lambda handler, body: (
        stream_answer('{"word": "hello"}') if "JSON" in str(body) else complete_answer({"content": "Hello there"})
    )(handler, body)
    run = llm("backends", "test", "--base-url", server.url, "--json")
    expected = {"answer": "yes", "stream": "unknown", "schema": "no", "tools": "no", "logprobs": "no"}
    assert run.code == 0 and found_by(run) == {**expected, "embeddings": "no", "context": "unknown"}
    details = {row["check"]: row["detail"] for row in rows_of(run)}
    assert "llm states the schema in the prompt" in details["schema"] and "tools" in details["tools"]
    assert "llm assumes 8192 tokens" in details["context"]


@pytest.mark.parametrize(
    "without",
    [
        error_answer(404, "Not Found"),
        error_answer(501, "Start it with --embeddings"),
        error_answer(400, "The model does not support Embeddings API"),
        error_answer(403, "You are not allowed to generate embeddings from this model"),
        error_answer(404, "The model `big` does not exist"),
        lambda handler, _body: handler.give(200, {"error": "Unexpected endpoint"}),
    ],
)
def test_a_server_without_embeddings_is_no_error(llm, server, without):
    """In whatever words it says so; the text is the one word of the other checks."""
    server.usual, server.paths["/v1/embeddings"] = able_server, without
    run = llm("backends", "test", "--base-url", server.url, "--json")
    (row,) = [row for row in rows_of(run) if row["check"] == "embeddings"]
    assert (run.code, row["works"], row["detail"]) == (0, "no", "no embeddings")
    assert [asked.body["input"] for asked in server.asked if asked.path.endswith("/embeddings")] == [["Hello"]]


def test_embeddings_that_fail_are_3(llm, server):
    """As with every check: the server may have them."""
    server.usual, server.paths["/v1/embeddings"] = able_server, error_answer(500, "out of order")
    run = llm("backends", "test", "--base-url", server.url, "--json")
    assert run.code == 3 and found_by(run)["embeddings"] == "unknown" and "out of order" in run.out


def test_what_was_learned_before_is_tried_again(llm, server):
    """A server that refused a field last week may have it now."""
    server.fields_refused = {"response_format"}
    server.usual = stream_answer('{"word": "hello"}')
    assert found_by(llm("backends", "test", "--base-url", server.url, "--json"))["schema"] == "no"
    server.fields_refused = set()
    assert found_by(llm("backends", "test", "--base-url", server.url, "--json"))["schema"] == "yes"


def test_a_whole_answer_of_some_length_is_no_stream(llm, server):
    """It would have come in pieces."""
    server.usual = lambda handler, _body: handler.give(
        200,
        {
            "choices": [{"message": {"content": "Hello there, all of you"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 6},
        },
    )
    assert found_by(llm("backends", "test", "--base-url", server.url, "--json"))["stream"] == "no"


def test_a_check_that_fails_is_3(llm, server):
    """The others are done all the same."""

    def fail_on_tools(handler, body):
        (error_answer(500, "out of order") if "tools" in body else able_server)(handler, body)

    server.usual = fail_on_tools
    run = llm("backends", "test", "--base-url", server.url, "--json")
    assert run.code == 3 and found_by(run)["tools"] == "unknown" and found_by(run)["logprobs"] == "yes"
    assert "out of order" in run.out


@pytest.mark.parametrize(
    ("usual", "code"), [(error_answer(401, "no"), 77), (error_answer(500, "hiccup"), 75), (error_answer(404), 76)]
)
def test_a_server_without_an_answer_has_its_code(llm, server, usual, code):
    """There is nothing to find out."""
    server.usual = usual
    run = llm("backends", "test", "--base-url", server.url)
    assert (run.code, run.out) == (code, "") and run.err.startswith("llm: ")


@pytest.mark.parametrize("protocol", ["openai", "openai-responses", "anthropic", "gemini"])
def test_every_protocol_is_tested(llm, protocol, monkeypatch):
    """With the tools of each; a call of a tool that does not exist, and text, mean that tools do not work."""
    hosted = SERVERS[protocol]()
    say = hosted.say("Hello to you, too.")
    unknown = send_blocks(hosted.call_events(("other_tool", "{}")))
    tool_answers = [send_blocks(hosted.call_events(("report_word", '{"word": "Hello"}'))), unknown, say]
    json_answer = hosted.say('{"word": "hello"}')

    def usual(handler, body):
        if "tools" in body:
            tool_answers[0](handler, body)
        elif any(word in json.dumps(body) for word in ("json_schema", "responseJsonSchema")):
            json_answer(handler, body)
        else:
            say(handler, body)

    hosted.usual = usual
    monkeypatch.setenv("THE_KEY", "the-key")
    hosted.key = "the-key"
    configure(there={"type": protocol, "base_url": hosted.url, "key_env": "THE_KEY", "model": "big"})
    try:
        run = llm("backends", "test", "there", "--json")
        found = found_by(run)
        assert run.code == 0, run.err + run.out
        assert (found["stream"], found["schema"], found["tools"]) == ("yes", "yes", "yes"), run.out
        assert (found["logprobs"], found["embeddings"]) == ("no", "no")
        for reason in ("'other_tool'", "no tool"):
            del tool_answers[0]
            run = llm("backends", "test", "there", "--json")
            assert found_by(run)["tools"] == "no" and reason in run.out
    finally:
        hosted.close()


def test_a_test_needs_consent_and_the_network(llm, server, monkeypatch):
    """As every command: 77 without consent, 69 offline; --yes agrees for this run."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    server.usual = able_server
    configure(there={"base_url": ELSEWHERE})
    assert llm("backends", "test", "there").code == 77
    assert llm("backends", "test", "there", "--yes", "--offline").code == 69 and server.asked == []
    assert llm("backends", "test", "there", "--yes").code == 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "test which server?"),
        (("opnai",), "Did you mean openai?"),
        (("openai", "--base-url", "http://x/v1"), "two servers"),
    ],
)
def test_a_test_needs_a_server(llm, argv, words):
    """2, with the next step."""
    run = llm("backends", "test", *argv)
    assert run.code == 2 and words in run.err


def test_a_person_sees_each_result_as_it_comes(llm, server, terminal):
    """In columns."""
    server.usual = able_server
    screen = terminal()
    assert llm("backends", "test", "--base-url", server.url, out=screen.slave).code == 0
    assert [line.split()[:2] for line in screen.close().splitlines()][:2] == [["answer", "yes"], ["stream", "yes"]]


def test_a_long_reason_goes_on_in_its_column(llm, server, terminal):
    """At words, not in the middle of one."""
    server.models = [{"id": "big"}]
    server.usual = stream_answer('{"word": "hello"}')
    screen = terminal()
    assert llm("backends", "test", "--base-url", server.url, out=screen.slave).code == 0
    assert screen.close().splitlines()[-2:] == [
        "context    unknown  the server does not say; llm assumes 8192 tokens, unless you",
        f"{'':20}set context",
    ]


@pytest.mark.parametrize(
    ("wrong", "end"),
    [
        ("{farm: {base_urls: []}}", "farm.base_urls: expected a list of addresses such as [http://a:8033, http://b:8033]"),
        ("{farm: {base_url: 'http://x/v1', concurrency: many}}", "farm.concurrency: expected a whole number from 1 to 1024"),
        ("[farm]", "{NAME: {type: openai, base_url: ...}}, not a list"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_not_called_a_mapping(llm, file, wrong, end):
    """The error of a part does not say what the whole is."""
    file.write_text(f"backends: {wrong}\n")
    run = llm("ask", "--backend", "farm", "hi")
    assert run.code == 78 and " ".join(run.err.split()).partition(" Try:")[0].endswith(end)
