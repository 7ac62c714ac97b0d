"""One server that fails in the middle of a job, through the command line: a record fails alone, or the job ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from batch_lines import chat
from fake_server import (
    close_connection,
    cut_connection,
    embed_texts,
    error_answer,
    last_message,
    send_content,
    send_events,
    stream_answer,
)
from hosted_servers import SERVERS
from remote_config import configure

from llmcli.backends.remote import request_router
from llmcli.interrupt import Interrupt

NUM_RECORDS = 40
usual_init = Interrupt.__init__
FAILING = {
    "500": (error_answer(500, "it broke"), 75),
    "402": (error_answer(402, "Insufficient Balance"), 69),
    "401": (error_answer(401, "the key has expired"), 77),
    "404": (error_answer(404, "Not Found"), 75),
    "quota": (error_answer(429, "no credit", code="insufficient_quota"), 69),
    "long pause": (error_answer(429, "come tomorrow", Retry_After="86400"), 75),
    "busy": (error_answer(503, "Loading model"), 75),
    "no JSON": (send_events(b"[{"), 75),
    "web page": (send_content("text/html", b"<html>Sign in</html>"), 75),
    "closed": (close_connection(), 75),
}


@pytest.fixture
def job(llm, server, tmp_path):
    """Return a function that runs a batch file of chats with more options, and the path of its output."""
    configure(there={"base_url": server.url, "concurrency": 4})
    lines, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines.write_text("\n".join(chat(f"r{number}", f"text {number}") for number in range(NUM_RECORDS)))
    return lambda *more: llm("run-batch", "-i", str(lines), "-o", str(out), "--backend", "there", *more), out


def check_end(ended, out: Path, *, header: int = 0) -> None:
    """One line says why a job ended, and a second one how to go on if there are rows: those before the first open one."""
    partial = Path(f"{out}.partial")
    has_rows = partial.exists() and len(partial.read_text().splitlines()) > header
    assert ended.err.count("llm: ") == 1 + has_rows and not out.exists(), ended.err
    assert ended.err.splitlines()[-1].endswith("--resume") == has_rows, ended.err


def statuses(path: Path) -> list[int]:
    return [json.loads(line)["response"]["status_code"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("way", FAILING)
def test_a_job_ends_when_its_server_answers_nothing_any_more(job, server, way, monkeypatch):
    """No record fails of it: one line says why, what is done stays, and --resume completes the rest."""
    monkeypatch.setattr(request_router, "MAX_SILENCE_S", 0.0)  # it is given up at the second sign of silence
    run, out = job
    failing, code = FAILING[way]
    server.script = [stream_answer()] * 10
    server.usual = failing
    ended = run()
    assert ended.code == code, ended.err
    check_end(ended, out)
    partial = Path(f"{out}.partial")
    done = statuses(partial) if partial.exists() else []
    assert set(done) <= {200} and len(done) <= 10
    server.usual = stream_answer()
    server.asked.clear()
    assert run("--resume").code == 0 and statuses(out) == [200] * NUM_RECORDS
    asked_again = {last_message(body) for body in server.chats() if body}
    assert not asked_again & {f"text {number}" for number in range(len(done))}


@pytest.mark.parametrize("way", ["500", "busy", "closed"])
def test_a_server_that_fails_for_a_while_costs_no_record(job, server, way):
    """Among the failures are those of the questions whether it answers again."""
    run, out = job
    server.script = [*[stream_answer()] * 10, *[FAILING[way][0]] * 6]
    ended = run()
    assert (ended.code, ended.err) == (0, "") and statuses(out) == [200] * NUM_RECORDS


@pytest.mark.parametrize("refusals", [3, 4, 5, 6])
def test_a_busy_server_that_answers_again_after_the_last_try(job, server, refusals):
    """A request that was refused each of its four times is tried once more, since the server was busy for all."""
    run, out = job
    configure(there={"base_url": server.url, "concurrency": 1})
    server.script = [*[stream_answer()] * 10, *[FAILING["busy"][0]] * refusals]
    ended = run()
    assert (ended.code, ended.err) == (0, "") and statuses(out) == [200] * NUM_RECORDS


@pytest.mark.parametrize("way", ["500", "401", "402", "404", "quota", "busy", "no JSON", "web page"])
def test_bad_records_do_not_end_a_job(job, server, way):
    """However many follow each other, as long as the server answers one word."""
    run, out = job
    bad = [f"text {number}" for number in (0, *range(10, 34), NUM_RECORDS - 1)]
    server.usual = lambda handler, body: (FAILING[way][0] if last_message(body) in bad else stream_answer())(
        handler, body
    )
    ended = run()
    found = statuses(out)
    assert ended.code == 3 and [f"text {n}" for n in range(NUM_RECORDS) if found[n] != 200] == bad, ended.err


@pytest.mark.parametrize("protocol", SERVERS)
@pytest.mark.parametrize(("status", "code"), [(401, 77), (500, 75), (529, 75)])
@pytest.mark.usefixtures("server")
def test_each_protocol_ends_a_job_and_goes_on(llm, tmp_path, protocol, status, code, monkeypatch):
    """One word is asked for in its own way."""
    monkeypatch.setattr(request_router, "MAX_SILENCE_S", 0.0)
    server = SERVERS[protocol]()
    configure(there={"base_url": server.url, "type": protocol, "model": "big", "context": 4096, "concurrency": 2})
    lines, out = tmp_path / "in.csv", tmp_path / "out.csv"
    lines.write_text("\n".join(["text", *(f"record {number}" for number in range(20))]))
    argv = ("ask", "-f", str(lines), "--column", "text", "-o", str(out), "--backend", "there")
    server.script, server.usual = [server.say("fine")] * 5, error_answer(status, "no")
    try:
        ended = llm(*argv)
        assert ended.code == code, ended.err
        check_end(ended, out, header=1)
        server.usual = server.say("fine")
        assert llm(*argv, "--resume").code == 0
    finally:
        server.close()
    assert out.read_text().count(",fine,") == 20


def test_other_kinds_of_requests_go_on(llm, server, tmp_path):
    """Where a server has no embeddings today, it still answers chats."""
    lines, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    server.paths["/v1/embeddings"] = error_answer(500, "it broke")
    vectors = {"custom_id": "v", "method": "POST", "url": "/v1/embeddings", "body": {"model": "big", "input": "a"}}
    lines.write_text("\n".join([json.dumps(vectors), *(chat(f"r{number}", "hi") for number in range(20))]))
    run = llm("run-batch", "-i", str(lines), "-o", str(out), "--base-url", server.url)
    assert run.code == 3 and statuses(out) == [503] + [200] * 20
    server.paths["/v1/embeddings"] = embed_texts(lambda _text: [1.0])
    assert llm("run-batch", "-i", str(lines), "-o", str(out), "--base-url", server.url, "--retry-failed").code == 0


def test_a_job_ends_when_its_server_has_another_model(llm, server, tmp_path):
    """Its answers would be those of another model."""
    lines, out = tmp_path / "in.csv", tmp_path / "out.csv"
    lines.write_text("\n".join(["text", *(f"record {number}" for number in range(NUM_RECORDS))]))

    def restart(handler, body):
        server.models = [{"id": "small", "owned_by": "vendor", "max_model_len": 4096}]
        cut_connection()(handler, body)

    server.script = [*[stream_answer()] * 10, restart]
    argv = ("ask", "-f", str(lines), "--column", "text", "Which?", "-o", str(out), "--base-url", server.url)
    ended = llm(*argv)
    assert ended.code == 78 and "it had big, and has small now" in ended.err, ended.err
    assert not out.exists() and {body["model"] for body in server.chats() if body} == {"big"}


@pytest.mark.parametrize("num_records", [NUM_RECORDS, 600])
def test_an_interrupted_job_does_not_wait_for_its_server(llm, server, tmp_path, monkeypatch, num_records):
    """The first Ctrl-C finishes what runs; what waits for a server that fails is left for --resume.

    Also where more records are left than may be read ahead.
    """
    made = []
    monkeypatch.setattr(Interrupt, "__init__", lambda self, *args: (made.append(self), usual_init(self, *args))[-1])
    lines, out = tmp_path / "in.csv", tmp_path / "out.csv"
    lines.write_text("\n".join(["text", *(f"record {number}" for number in range(num_records))]))

    def press_ctrl_c(handler, body):
        for interrupt in made:
            interrupt.set(signal.SIGINT)
        server.usual = close_connection()
        cut_connection()(handler, body)

    server.script = [*[stream_answer()] * 10, press_ctrl_c]
    run = llm("ask", "-f", str(lines), "--column", "text", "-o", str(out), "--base-url", server.url)
    assert run.code == 130 and run.err.splitlines()[-1].endswith("--resume") and not out.exists(), run.err


def test_a_chat_does_not_wait_for_a_server_that_is_down(llm, server):
    """Its next message is sent as soon as it is typed."""
    server.script = [stream_answer("one"), *[error_answer(500, "it broke")] * 5, stream_answer("three")]
    run = llm("chat", "--base-url", server.url, stdin=b"first\nsecond\nthird\n")
    assert "one" in run.out and "three" in run.out and run.err.count("llm:") == 1, run


SCHEMA = '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}'
COMMANDS = {
    "extract": ["extract", "--schema", "schema.json", "doc.txt"],
    "ask": ["ask", "--schema", "schema.json", "Who paid?", "-f", "doc.txt"],
    "classify": ["classify", "--labels", "good,bad", "doc.txt"],
    "translate": ["translate", "--to", "de", "doc.txt"],
    "summarize": ["summarize", "doc.txt"],
    "command": ["command", "list the files", "--no-stdin"],
    "check": ["check", "doc.txt", "--against", "doc.txt"],
}


@pytest.mark.parametrize("failing", [close_connection(), cut_connection(), error_answer(500, "it broke")])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_costs_the_usual_number_of_attempts(llm, server, command, failing, tmp_path, monkeypatch):
    """Four here, five as a rule: no command repeats them, also where the server closes a connection that was idle."""
    monkeypatch.chdir(tmp_path)
    Path("schema.json").write_text(SCHEMA)
    Path("doc.txt").write_text("Mr Smith paid 300 euros to Acme in Paris.\n")

    def behave(handler, body):
        (stream_answer("Hi") if body.get("messages", [{}])[-1].get("content") == "Hello" else failing)(
            handler, body
        )  # a word is answered

    server.usual = behave
    run = llm(*COMMANDS[command], "--base-url", server.url, "-m", "big")
    sent = [json.dumps(body, sort_keys=True) for body in server.chats() if body and last_message(body) != "Hello"]
    assert run.code == 75 and sent and max(map(sent.count, sent)) <= 4, (len(sent), run.err)
    assert len(sent) <= 4 or command == "check", len(sent)  # which asks about several passages


def test_an_answer_that_breaks_off_counts_the_characters_that_were_shown(llm, server):
    """Not those that were received for an answer that is shown only when it is complete."""
    server.usual = cut_connection("Half an answer")
    run = llm("ask", "hi", "--no-stdin", "--base-url", server.url, "-m", "big")
    assert f"broke off (the connection broke) (characters of the answer shown: {len(run.out.strip())})" in run.err, (
        run.err
    )
    assert run.out.startswith("Half")
    run = llm("ask", "hi", "--no-stdin", "--json", "--base-url", server.url, "-m", "big")
    assert "broke off" in run.err and "characters" not in run.err and run.out == "", run.err
