"""Several servers behind one name, through the command line: added, tested, used by the verbs, and killed."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from batch_lines import bodies, chat
from fake_server import FakeServer, close_connection, error_answer, last_message, send_content, stream_answer
from remote_config import CANARY, configure
from waiting import wait_until

from llmcli.backends.remote import request_router

TESTS = Path(__file__).parents[1]
SEED = int(os.environ.get("LLMCLI_STRESS_SEED", "41"))


@pytest.fixture
def servers(server):
    """Return two servers."""
    other = FakeServer()
    yield [server, other]
    other.close()


@pytest.fixture
def farm(servers):
    """Configure the servers as one backend, with these fields; return the options that choose it."""

    def configured(**fields):
        configure(farm={"base_urls": [each.url for each in servers], **fields})
        return ("--backend", "farm")

    return configured


def rows_of(run):
    return [json.loads(line) for line in run.out.splitlines()]


# ---- the configuration -----------------------------------------------------------------------------------------------


def test_several_servers_are_added(llm):
    """With the path of OpenAI's protocol where none is named; a list shows all."""
    file = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    urls = ("--url", "http://a:8033", "--url", "HTTP://B:8033/", "--url", "http://c/openai/v1")
    run = llm("backends", "add", "farm", *urls, "--mixed", "--concurrency", "4", "--json")
    added = {
        "type": "openai",
        "base_urls": ["http://a:8033/v1", "http://b:8033/v1", "http://c/openai/v1"],
        "mixed": True,
        "concurrency": 4,
    }
    assert yaml.safe_load(file.read_text()) == {"backends": {"farm": added}}
    assert json.loads(run.out) == {"backend": "farm", "path": str(file), **added}
    shown = ", ".join(added["base_urls"])
    assert rows_of(llm("backends", "list", "--json"))[0]["base_url"] == shown
    assert llm("config", "show", "backends").out.startswith(f"backends\tfarm: {shown}\t")
    assert f"farm: {shown} (no consent yet; no key)" in llm("doctor", "--json").out


def test_several_servers_of_a_preset(llm):
    """They have its type, and not its address."""
    assert llm("backends", "add", "vllm", "--url", "http://a:8000", "--url", "http://b:8000").code == 0
    (added, *_) = rows_of(llm("backends", "list", "--json"))
    assert (added["type"], added["base_url"]) == ("openai", "http://a:8000/v1, http://b:8000/v1")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--url", "http://a", "--url", "http://a/v1"), "each address once"),
        (("--url", "http://a", "--base-url", "http://b/v1"), "either base_url or base_urls"),
        (("--url", "a:8033"), "expected an address"),
        (("--base-url", "http://a/v1", "--mixed"), "mixed only with base_urls"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(llm, argv, words):
    """2, and the configuration is not written."""
    run = llm("backends", "add", "farm", *argv)
    assert run.code == 2 and words in run.err, run.err
    assert not (Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml").exists()


def test_consent_is_needed_for_each_host(llm, monkeypatch, server):
    """The question and the error name those that are missing; a yes for one is none for the other."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    configure(farm={"base_urls": ["http://one.invalid/v1", "http://two.invalid/v1", server.url]})
    consents = Path(os.environ["LLMCLI_DATA_DIR"]) / "consents.json"
    consents.parent.mkdir(parents=True)
    consents.write_text(json.dumps({"hosts": {"http://one.invalid": "2026-01-01"}}))
    run = llm("ask", "hi", "--no-stdin", "--backend", "farm")
    assert run.code == 77 and "http://two.invalid needs your consent" in run.err and "one.invalid" not in run.err
    assert llm("ask", "hi", "--no-stdin", "--backend", "farm", "--offline").code == 69 and server.asked == []
    assert llm("ask", "hi", "--no-stdin", "--backend", "farm", "--yes").out == "hi\n"


def test_private_values_are_replaced_for_all_if_one_is_elsewhere(llm, monkeypatch, server):
    """A request may go to any of them."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    configure(farm={"base_urls": [server.url, "http://two.invalid/v1"]})
    run = llm("ask", "--yes", "--backend", "farm", "jane@example.org")
    assert run.out == "jane@example.org\n" and "jane" not in str(server.chats())


def test_each_server_gets_the_key(llm, servers, farm):
    """As one does; it is never shown."""
    for server in servers:
        server.key, server.usual = CANARY, stream_answer("positive", seconds=0.01)
    chosen = farm(key_env="FARM_KEY")
    run = llm("sentiment", *chosen, "--stats", stdin=b"good\nbad\nfine\n" * 10, env={"FARM_KEY": CANARY})
    assert run.code == 0 and all(server.chats() for server in servers) and CANARY not in run.out + run.err
    servers[1].key = "another"
    run = llm("ask", "hi", "--no-stdin", *chosen, env={"FARM_KEY": CANARY})
    assert run.code == 77 and str(servers[1].port) in run.err and CANARY not in run.err


# ---- verbs -----------------------------------------------------------------------------------------------------------


def test_records_come_once_and_in_order(llm, servers, farm, tmp_path):
    """Although servers are slow in turn, and one fails; the statistics say what each answered."""
    texts = [f"record {number}" for number in range(60)]
    file = tmp_path / "in.csv"
    file.write_text("\n".join(["text", *texts]) + "\n")
    echo = stream_answer(lambda body: re.search(r"record \d+|Hello", last_message(body)).group())
    servers[0].usual = lambda handler, body: (time.sleep(random.random() * 0.01), echo(handler, body))
    servers[1].usual = echo
    servers[1].script = [echo, close_connection(), echo, error_answer(500), echo]
    run = llm("ask", "-f", str(file), "--column", "text", "Which?", "--json", "--stats", *farm())
    assert run.code == 0, run.err
    assert [row["text"] for row in rows_of(run)] == texts
    stats = json.loads(run.err)["stats"]
    assert sum(each["answered"] for each in stats["servers"]) == 60
    assert [each["address"] for each in stats["servers"]] == [server.url for server in servers]
    assert min(each["answered"] for each in stats["servers"]) > 0 and stats["servers"][1]["failed"] >= 1
    servers[0].usual = servers[1].usual = stream_answer()
    said = llm("ask", "hi", "--no-stdin", "--stats", *farm()).err
    assert f"{servers[0].url} answered 1, {servers[1].url} answered 0" in said


def test_every_verb_works(llm, servers, farm, tmp_path):
    """Without knowing of servers."""
    chosen = farm()
    document = tmp_path / "a.txt"
    document.write_text("The mill is closed.\n")
    batch = tmp_path / "in.jsonl"
    body = {"model": "big", "messages": [{"role": "user", "content": "hi"}]}
    asked = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    batch.write_text(json.dumps(asked) + "\n")
    for server in servers:
        server.usual = stream_answer("a mill")
    for argv, stdin in [
        (("chat",), b"one\ntwo\n"),
        (("summarize", str(document)), b""),
        (("translate", "--to", "fr", str(document)), b""),
        (("classify", "--labels", "a,b"), b"a\nb\n"),
        (("generate", "poem", "--var", "topic=a"), b""),
        (("run-batch", "-i", str(batch), "-o", str(tmp_path / "out.jsonl")), b""),
    ]:
        run = llm(*argv, *chosen, stdin=stdin)
        assert run.code in {0, 3} and run.backend is None, (argv, run.err)
    assert len(servers[0].chats()) + len(servers[1].chats()) >= 7


def test_a_statement_names_all_servers(llm, farm, servers, tmp_path):
    """Any of them may have answered."""
    output = tmp_path / "out.txt"
    assert llm("ask", "hi", "--no-stdin", *farm(), "-o", str(output), "--provenance").code == 0
    statement = json.loads(Path(f"{output}.provenance.json").read_text())
    named = statement["predicate"]["server"]
    assert (named["name"], named["models"]) == ("farm", ["big"])
    assert named["origin"] == ", ".join(server.url.removesuffix("/v1") for server in servers)


def test_different_models_are_refused(llm, servers, farm):
    """78, with what each has and what to set; with mixed they answer."""
    servers[1].models = [{"id": "small"}]
    run = llm("ask", "hi", "--no-stdin", *farm())
    assert run.code == 78 and f"{servers[0].url} has big" in run.err and f"{servers[1].url} has small" in run.err
    assert "mixed: true" in run.err and servers[0].chats() == []
    run = llm("ask", "hi", "--no-stdin", "--json", *farm(mixed=True))
    assert (run.code, json.loads(run.out)["model"]) == (0, "big and small")


UNUSABLE_LISTS = {
    "no JSON": (send_content("application/json", b"[{"), 69),
    "web page": (send_content("text/html", b"<html>Sign in</html>"), 69),
    "no credit": (error_answer(402, "Insufficient Balance"), 69),
}


@pytest.mark.parametrize("way", UNUSABLE_LISTS)
def test_a_server_without_a_list_of_models_is_set_aside(llm, servers, farm, way):
    """The other one does the whole work, and --stats says why; a farm of nothing else ends at once."""
    listing, code = UNUSABLE_LISTS[way]
    servers[0].paths["/v1/models"] = listing
    servers[1].usual = stream_answer("positive")
    run = llm("sentiment", *farm(), "--stats", stdin=b"good\nbad\nfine\n" * 10)
    assert run.code == 0 and len(run.out.splitlines()) == 30, run.err
    assert f"{servers[0].url} answered 0, failed" in run.err and "set aside: " in run.err and servers[0].chats() == []
    servers[1].paths["/v1/models"] = listing
    assert llm("sentiment", *farm(), stdin=b"good\n").code == code


def test_a_server_without_credit_is_set_aside_in_a_job(llm, servers, farm, tmp_path):
    """Its records go to the other server; once none is left, the job ends at once."""
    path, out = write_lines(tmp_path, [chat(f"r{number}", f"text {number}") for number in range(60)]), tmp_path / "out"
    argv = ("run-batch", "-i", path, "-o", str(out), *farm(concurrency=4))
    servers[0].usual = error_answer(402, "Insufficient Balance")
    run = llm(*argv)
    assert run.code == 0 and len(out.read_text().splitlines()) == 60, run.err
    assert len(servers[0].chats()) <= 16  # two servers with four requests at once, and a word for each of these
    servers[1].usual = servers[0].usual
    servers[1].asked.clear()
    out.unlink()
    run = llm(*argv)
    assert run.code == 69 and "Insufficient Balance" in run.err and len(servers[1].chats()) <= 16, run.err


def test_max_cost_is_for_all_servers_together(llm, servers, farm, tmp_path):
    """The job ends before they cost more, with what is done and 3."""
    chosen = farm(price={"input": 10.0, "cached_input": 1.0, "output": 100.0}, model="big", context=4096)
    files = []
    for number in range(40):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text(f"text {number}\n")
    for server in servers:
        server.usual = stream_answer("A short summary.", seconds=0.002)
    run = llm("summarize", *chosen, "--max-tokens", "20", "--max-cost", "0.012", "--json", "--stats", *map(str, files))
    done = [json.loads(line) for line in run.out.splitlines()]
    num_sent = sum(len(server.chats()) for server in servers)
    assert run.code == 3 and 0 < len(done) == num_sent < 40 and sum(each["cost"] for each in done) <= 0.012
    assert "stopped before --max-cost" in run.err and all(server.chats() for server in servers)


# ---- no server is left -----------------------------------------------------------------------------------------------


class DyingServers:
    """Servers that answer until one of them gets a request that ``kills`` all, and then close each connection."""

    def __init__(self, servers, kills=lambda _body: True):
        self.are_dead = False
        self.kills = kills
        for server in servers:
            server.usual = self._chat
            server.paths["/v1/models"] = self._list_models

    def start_again(self):
        self.are_dead, self.kills = False, lambda _body: False

    def _chat(self, handler, body):
        self.are_dead = self.are_dead or self.kills(body)
        (close_connection() if self.are_dead else stream_answer())(handler, body)

    def _list_models(self, handler, body):
        if self.are_dead:
            close_connection()(handler, body)
        else:
            handler.give(200, handler.fake.list_models())


def write_lines(directory, lines):
    """Write a batch file; return its path."""
    path = directory / "in.jsonl"
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture
def no_patience(monkeypatch):
    """Servers of which none answers are given up when one of them was asked again, and not after a minute."""
    monkeypatch.setattr(request_router, "MAX_SILENCE_S", 0.0)


@pytest.mark.usefixtures("no_patience")
def test_a_job_ends_when_no_server_answers(llm, servers, farm, tmp_path):
    """With 75 and one line that names the servers and the cause. What is done stays, and --resume goes on."""
    asked = [chat(f"r{number}", f"text {number}") for number in range(300)]
    path, out = write_lines(tmp_path, asked), tmp_path / "out.jsonl"
    argv = ("run-batch", "-i", path, "-o", str(out), *farm(concurrency=4))
    # a record is read when the one 256 before it is done
    dying = DyingServers(servers, kills=lambda body: last_message(body) == "text 260")
    run = llm(*argv)
    assert run.code == 75 and not out.exists(), run.err
    first, advice, resumed = run.err.splitlines()
    assert first.startswith(f"llm: farm ({servers[0].url}, {servers[1].url}): none has answered for"), run.err
    assert advice.startswith("Start a server again") and resumed.endswith("--resume")
    done = [json.loads(line) for line in Path(f"{out}.partial").read_text().splitlines()]
    assert 4 < len(done) < 300 and {each["response"]["status_code"] for each in done} == {200}
    for server in servers:
        server.asked.clear()
    dying.start_again()
    assert llm(*argv, "--resume").code == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [f"r{number}" for number in range(300)]
    asked_again = {last_message(body) for server in servers for body in server.chats() if body}
    assert lines[: len(done)] == done and not asked_again & {f"text {number}" for number in range(len(done))}


@pytest.mark.usefixtures("no_patience")
def test_earlier_failures_do_not_change_the_code(llm, servers, farm, tmp_path):
    """Scripts repeat the command after 75, and not after 3."""
    path, out = write_lines(tmp_path, ["no request", *map(chat, "abc")]), tmp_path / "out.jsonl"
    dying = DyingServers(servers)
    assert llm("run-batch", "-i", path, "-o", str(out), *farm()).code == 75
    dying.start_again()
    run = llm("run-batch", "-i", path, "-o", str(out), *farm(), "--resume")
    assert run.code == 3 and len(out.read_text().splitlines()) == 4


@pytest.mark.usefixtures("no_patience")
def test_documents_end_when_no_server_answers(llm, servers, farm, tmp_path):
    """With one line for all of them."""
    files = [tmp_path / f"{number}.txt" for number in range(9)]
    for file in files:
        file.write_text("The mill is closed.\n")
    DyingServers(servers)
    run = llm("summarize", *map(str, files), *farm())
    assert run.code == 75 and run.err.count("the connection broke") == 1, run.err
    assert len(run.err.splitlines()) == 2


@pytest.mark.usefixtures("no_patience")
@pytest.mark.parametrize("chats", [0, 5])
def test_a_dead_server_beside_a_living_one_changes_nothing(llm, servers, farm, tmp_path, chats):
    """From the start, or from the middle of a job."""
    path, out = write_lines(tmp_path, [chat(f"r{n}", f"text {n}") for n in range(51)]), tmp_path / "out.jsonl"
    DyingServers(servers[:1], kills=lambda _body: len(servers[0].chats()) > chats)
    run = llm("run-batch", "-i", path, "-o", str(out), *farm(concurrency=4))
    assert (run.code, run.err) == (0, "")
    texts = [body["choices"][0]["message"]["content"] for body in bodies(map(json.loads, out.read_text().splitlines()))]
    assert texts == [f"text {number}" for number in range(51)]


@pytest.mark.parametrize(
    "failing",
    [
        error_answer(401, "the key has expired"),
        error_answer(404, "Not Found"),
        error_answer(429, "no credit", code="insufficient_quota"),
        send_content("text/html", b"<html>Sign in</html>"),
    ],
    ids=["key", "path", "quota", "page"],
)
def test_a_server_that_refuses_everything_fails_no_record(llm, servers, farm, tmp_path, failing):
    """It answers at once, so it would get most of them."""
    path, out = write_lines(tmp_path, [chat(f"r{n}", f"text {n}") for n in range(51)]), tmp_path / "out.jsonl"
    servers[0].script, servers[0].usual = [stream_answer()] * 3, failing
    servers[1].usual = stream_answer(seconds=0.005)
    run = llm("run-batch", "-i", path, "-o", str(out), *farm(concurrency=4))
    assert (run.code, run.err) == (0, "") and len(out.read_text().splitlines()) == 51
    assert sum(last_message(body) != "Hello" for body in servers[0].chats() if body) < 12


# ---- llm backends test -----------------------------------------------------------------------------------------------


def test_each_server_is_tested(llm, servers, farm):
    """With its address, and at the end whether they have the same model."""
    for server in servers:
        server.usual = stream_answer('{"word": "hello"}')
    run = llm("backends", "test", *farm()[1:], "--json")
    rows = rows_of(run)
    checks = ["answer", "stream", "schema", "tools", "logprobs", "embeddings", "context"]
    assert [(row["server"], row["check"]) for row in rows] == [
        *((server.url, check) for server in servers for check in checks),
        ("all", "models"),
    ]
    assert run.code == 0 and rows[-1]["works"] == "yes" and rows[-1]["detail"] == "2 servers have big"
    assert llm("backends", "test", "farm").out.splitlines()[0].split("\t")[:3] == [servers[0].url, "answer", "yes"]


def test_a_test_shows_a_person_each_server(llm, servers, farm, terminal):
    """Its address is a heading."""
    for server in servers:
        server.usual = stream_answer('{"word": "hello"}')
    screen = terminal(columns=100)
    assert llm("backends", "test", *farm()[1:], out=screen.slave).code == 0
    lines = screen.close().splitlines()
    assert [lines[0], lines[9]] == [server.url for server in servers] and lines[1].startswith("answer     yes")
    assert lines[-2:] == ["all", "models     yes      2 servers have big"]


def test_a_test_finds_what_is_wrong_with_a_server(llm, servers, farm):
    """3 for a server that does not answer, and for another model; the code of the error if none answers."""
    for server in servers:
        server.usual = stream_answer('{"word": "hello"}')
    servers[1].models = [{"id": "small", "max_model_len": 4096}]
    run = llm("backends", "test", *farm()[1:], "--json")
    last = rows_of(run)[-1]
    assert (run.code, last["works"]) == (3, "no") and "different models" in last["detail"]
    run = llm("backends", "test", *farm(mixed=True)[1:], "--json")
    assert (run.code, rows_of(run)[-1]["works"]) == (0, "no")
    servers[0].usual = error_answer(401, "no")
    run = llm("backends", "test", *farm()[1:], "--json")
    assert run.code == 3 and [row["works"] for row in rows_of(run) if row["check"] == "answer"] == ["no", "yes"]
    assert rows_of(run)[-1]["detail"] == "1 server has small"
    servers[1].usual = error_answer(401, "no")
    assert llm("backends", "test", *farm()[1:]).code == 77


# ---- kills -----------------------------------------------------------------------------------------------------------

_SERVER = """
import re, sys, threading
from fake_server import FakeServer, last_message, stream_answer
server = FakeServer(port=int(sys.argv[1]))
server.usual = stream_answer(lambda body: re.search(r"record \\d+|Hello", last_message(body)).group(), seconds=0.02)
threading.Event().wait()
"""


class KilledServer:
    """A scripted server in a process of its own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", _SERVER, str(self.port)]
        self._process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(TESTS)})
        wait_until(self._accepts)

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.stress)])
def test_kills_in_the_middle_of_a_job(process, kills):
    """Each record comes once and in order, however often a server is killed and started again."""
    servers = [KilledServer() for _ in range(3)]
    configure(farm={"base_urls": [f"http://127.0.0.1:{server.port}" for server in servers], "concurrency": 4})
    chance = random.Random(SEED)
    num_records, killing = 0, threading.Event()

    def kill() -> None:
        try:
            for _ in range(kills):
                time.sleep(chance.uniform(0.1, 0.4))
                victim = chance.choice(servers)
                victim.kill()
                time.sleep(chance.choice([0.0, 0.0, 0.3]))
                victim.start()
        finally:
            killing.set()

    job = process("ask", "-f", "-", "--column", "text", "Which?", "--json", "--stats", "--backend", "farm", stdin=-1)
    try:
        fcntl.fcntl(job.stdin, fcntl.F_SETPIPE_SZ, 4096)
        job.stdin.write(b"text\n")
        threading.Thread(target=kill, daemon=True).start()
        read = []
        reader = threading.Thread(target=lambda: read.extend(job.stdout), daemon=True)
        reader.start()
        while not killing.is_set():
            job.stdin.write(b"record %d\n" % num_records)
            job.stdin.flush()
            num_records += 1
        job.stdin.close()
        said = job.stderr.read().decode()
        assert job.wait(60) == 0, said
        reader.join(20)
    finally:
        job.kill()
        for server in servers:
            server.kill()
    assert [json.loads(line)["text"] for line in read] == [f"record {number}" for number in range(num_records)]
    stats = json.loads(said)["stats"]["servers"]
    assert (
        sum(each["answered"] for each in stats) == num_records and sum(each["failed"] for each in stats) >= kills // 2
    )
