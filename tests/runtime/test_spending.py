"""Prices and --max-cost: what a command says of its cost, and that it ends before it costs more."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

import pytest
from fake_server import (
    cut_connection,
    end_without_finish,
    error_answer,
    iter_answer_events,
    stream_answer,
)
from hosted_servers import SERVERS, send_blocks
from remote_config import configure

PRICE = {"input": 10.0, "cached_input": 1.0, "output": 100.0, "currency": "EUR"}
"""An answer of the fake server has 7 tokens in (2 cached) and one out for each five characters."""


@pytest.fixture
def there(server):
    """Configure the server with a price and return the options that choose it."""
    configure(there={"base_url": server.url, "price": PRICE, "model": "big", "context": 4096})
    return ("--backend", "there")


def cost_of(answer):
    """Return what the server's answer costs."""
    return round((5 * 10 + 2 * 1 + -(-len(answer) // 5) * 100) / 1e6, 9)


def test_json_says_the_cost(llm, there):
    """A number in the currency of the price, for each result."""
    run = llm("ask", "hello there", "--no-stdin", "--json", *there)
    found = json.loads(run.out)
    assert (found["cost"], found["currency"]) == (cost_of("hello there"), "EUR")


def test_stats_say_the_cost(llm, there):
    """As words, and with --json as fields of the object."""
    assert llm("ask", "hi", "--no-stdin", "--stats", *there).err.rstrip().endswith("cost 0.000152 EUR")
    stats = json.loads(llm("ask", "hi", "--no-stdin", "--stats", "--json", *there).err)["stats"]
    assert (stats["cost"], stats["currency"]) == (cost_of("hi"), "EUR")


def test_each_turn_of_a_chat_has_its_own_cost(llm, there):
    """The backend counts on; the line is about one answer."""
    said = llm("chat", "--stats", *there, stdin=b"one\ntwo\n").err.splitlines()
    assert [line.rpartition("cost ")[2] for line in said if "cost" in line] == ["0.000152 EUR"] * 2


def test_without_a_price_nothing_is_said(llm, server):
    """JSON and statistics are as they were."""
    run = llm("ask", "hi", "--no-stdin", "--json", "--stats", "--base-url", server.url)
    assert "cost" not in json.loads(run.out) and "cost" not in json.loads(run.err)["stats"]
    assert "cost" not in json.loads(llm("ask", "hi", "--no-stdin", "--json").out)


def test_a_model_has_its_own_price(llm, server):
    """By the name that -m gave."""
    models = {"dear": {"price": {"input": 1000, "output": 1000}}}
    configure(there={"base_url": server.url, "price": PRICE, "models": models, "context": 4096})
    found = json.loads(llm("ask", "hi", "--no-stdin", "--json", "--backend", "there", "-m", "dear").out)
    assert (found["cost"], found["currency"]) == (0.008, "USD")


def test_a_usage_that_the_server_does_not_tell_is_null(llm, server, there):
    """Not nothing."""
    server.usual = lambda handler, _body: handler.stream(
        iter([json.dumps({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}).encode(), b"[DONE]"])
    )
    assert json.loads(llm("ask", "hi", "--no-stdin", "--json", *there).out)["cost"] is None


def without_counts(text="Fine.", usage=None):
    """Answer with a text whose tokens are not counted, streamed or whole as it is asked for."""
    more = {} if usage is None else {"usage": usage}

    def behave(handler, body):
        if body.get("stream"):
            events = [event for event in iter_answer_events(text) if b'"usage"' not in event]
            handler.stream(iter([*events[:-1], json.dumps({"choices": [], **more}).encode(), events[-1]]))
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            handler.give(200, {"choices": [choice], **more})

    return behave


def whole(behaviour):
    """Answer as a server that does not stream."""
    return lambda handler, body: behaviour(handler, {**body, "stream": False})


@pytest.mark.parametrize("wrap", [whole, lambda behaviour: behaviour], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": 7}, {"total_tokens": 9}]
)
def test_unknown_tokens_have_an_unknown_cost(llm, server, there, wrap, usage):
    """In words and as null, whatever a server without counts sends in their place."""
    server.usual = wrap(without_counts(usage=usage))
    run = llm("ask", "hi", "--no-stdin", "--stats", *there)
    assert (run.code, run.out) == (0, "Fine.\n")
    assert run.err.startswith("llm: tokens unknown, ") and run.err.endswith(", cost unknown\n")
    run = llm("ask", "hi", "--no-stdin", "--stats", "--json", *there)
    found, stats = json.loads(run.out), json.loads(run.err)["stats"]
    assert (found["cost"], found["currency"], found["usage"]["is_known"]) == (None, "EUR", False)
    assert (stats["cost"], stats["known_cost"], stats["currency"]) == (None, 0, "EUR")
    assert stats["usage_is_known"] is False


def test_known_tokens_do_not_say_that_they_are_known(llm, server, there):
    """The object of results is as it was."""
    found = json.loads(llm("ask", "hi", "--no-stdin", "--json", *there).out)
    assert found["usage"] == {"prompt_tokens": 7, "cached_tokens": 2, "completion_tokens": 1}


def test_without_a_price_only_the_tokens_are_unknown(llm, server):
    """There is no cost to speak of."""
    server.usual = without_counts()
    run = llm("ask", "hi", "--no-stdin", "--stats", "--base-url", server.url)
    assert "tokens unknown" in run.err and "cost" not in run.err


def unknown_if_odd(text):
    """Answer with a text, without counts where the request is about something odd."""
    known, unknown = stream_answer(text), without_counts(text)
    return lambda handler, body: (unknown if "odd" in json.dumps(body["messages"]) else known)(handler, body)


@pytest.fixture
def nine(server, tmp_path):
    """Write nine short texts, every third an odd one, for a server that answers one request at a time.

    Returns their files.
    """
    fields = {"price": {"input": 0.001, "output": 100.0}, "model": "big", "context": 4096, "concurrency": 1}
    configure(there={"base_url": server.url, **fields})
    files = [tmp_path / f"{number}.txt" for number in range(9)]
    for number, file in enumerate(files):
        file.write_text(f"an {'even' if number % 3 else 'odd'} text, number {number}\n")
    return [*map(str, files)]


def test_documents_with_and_without_counts(llm, server, nine):
    """Each has its own cost, and the sum is unknown beyond what the others cost."""
    server.usual = unknown_if_odd("A good text.")
    argv = ("summarize", *nine, "--backend", "there")
    run = llm(*argv, "--stats")
    assert run.code == 0 and run.err.rstrip().endswith(f"cost unknown (at least {6 * 0.0003:.6f} USD)"), run.err
    assert "at least 42 tokens in (12 reused), 18 out" in run.err
    costs = [json.loads(line)["cost"] for line in llm(*argv, "--json").out.splitlines()]
    assert [cost is None for cost in costs] == [True, False, False] * 3


def test_records_with_and_without_counts(llm, server, nine):
    """Each row is a row of its own, as each document is."""
    server.usual = unknown_if_odd("positive")
    rows = "".join(Path(file).read_text() for file in nine).encode()
    argv = ("sentiment", "--backend", "there", "--stats")
    run = llm(*argv, stdin=rows)
    assert run.code == 0 and "cost unknown (at least 0.007" in run.err, (
        run.err
    )  # six rows of five samples, and a neutral text
    assert "at least 210 tokens in" in run.err
    run = llm(*argv, "--json", stdin=rows)
    costs = [json.loads(line)["cost"] for line in run.out.splitlines()]
    assert [cost is None for cost in costs] == [True, False, False] * 3
    stats = json.loads(run.err.splitlines()[-1])["stats"]
    assert (stats["cost"], stats["usage_is_known"]) == (None, False) and stats["known_cost"] > 0.006


def test_the_tokens_of_a_resumed_job_stay_unknown(llm, server, nine, tmp_path):
    """Those of its earlier run, which the job file keeps; the cost is that of the last run, as documented."""
    rows, output = tmp_path / "rows.txt", tmp_path / "out.txt"
    rows.write_text("".join(Path(file).read_text() for file in nine))
    argv = ("sentiment", str(rows), "-o", str(output), "--backend", "there", "--stats")
    server.script = [unknown_if_odd("positive")] * 11
    server.usual = error_answer(401, "no key")
    assert llm(*argv).code != 0 and not output.exists()
    server.usual = stream_answer("positive")
    run = llm(*argv, "--resume")
    assert run.code == 0 and "at least " in run.err and ", cost 0.00" in run.err, run.err


def test_a_turn_without_counts_is_not_part_of_the_next_one(llm, server, there):
    """The second line of a chat has a cost of its own."""
    server.script = [without_counts("one")]
    said = llm("chat", "--stats", *there, stdin=b"one\ntwo\n").err.splitlines()
    assert [line.rpartition("cost ")[2] for line in said if "cost" in line] == ["unknown", "0.000152 EUR"], said


def test_an_invalid_answer_without_counts_keeps_its_reservation(llm, server, nine, tmp_path):
    """The answer to its correction has counts: its own, so that the limit of cost holds for both."""
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}))
    server.script = [without_counts("{}"), stream_answer('{"a": 1}')] * 9
    argv = ("extract", "--schema", str(schema), "--backend", "there", "--max-tokens", "100", "--max-cost", "0.035")
    run = llm(*argv, *nine, "--json")
    assert run.code == 3 and "stopped before --max-cost" in run.err
    assert len(server.chats()) == 5, "three answers without counts may have cost 0.01 each"
    assert {json.loads(line)["cost"] for line in run.out.splitlines()} == {None}


@pytest.mark.usefixtures("nine")
def test_an_empty_answer_keeps_its_reservation(llm, server):
    """It is asked again, and the counts of the second answer are not those of the first one."""
    server.script = [end_without_finish(""), stream_answer("Good.")] * 3
    argv = ("chat", "--backend", "there", "--max-tokens", "100", "--max-cost", "0.035")
    run = llm(*argv, stdin=b"one\ntwo\nthree\n")
    assert (run.code, run.out, len(server.chats())) == (3, "Good.\nGood.\n", 5), run.err


def test_an_answer_that_breaks_off_has_an_unknown_cost(llm, server, there):
    """The attempt that succeeds has counts; the first one may have cost something."""
    server.script = [cut_connection(""), stream_answer("Good.")]
    run = llm("ask", "hi", "--no-stdin", "--stats", *there)
    assert run.code == 0 and run.err.rstrip().endswith(f"cost unknown (at least {cost_of('Good.'):.6f} EUR)"), run.err


def labelled(run):
    return [line for line in run.out.splitlines() if line]


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_job_ends_before_it_costs_more(llm, server, tmp_path, concurrency):
    """What is done is delivered, 3, and a line says why; the server's bill is below the amount."""
    fields = {"price": PRICE, "model": "big", "context": 4096, "concurrency": concurrency}
    configure(there={"base_url": server.url, **fields})
    server.usual = stream_answer("A short summary.", seconds=0.002)
    files = [tmp_path / f"{number}.txt" for number in range(60)]
    for number, file in enumerate(files):
        file.write_text(f"text {number}\n")
    argv = ("summarize", "--backend", "there", "--max-tokens", "20", *map(str, files))
    whole = llm(*argv)
    assert whole.code == 0 and len(server.chats()) == 60
    server.asked.clear()
    run = llm(*argv, "--max-cost", "0.02", "--json")
    bill = len(server.chats()) * cost_of("A short summary.")
    done = [json.loads(line) for line in run.out.splitlines()]
    assert run.code == 3 and len(done) == len(server.chats()) and 0.01 < bill <= 0.02
    assert round(sum(each["cost"] for each in done), 9) == round(bill, 9)
    assert "stopped before --max-cost 0.0200 EUR" in run.err and '"code": 3' in run.err


@pytest.mark.slow
@pytest.mark.parametrize("redact", [[], ["--redact"]])
def test_an_endless_input_ends(process, there, redact):
    """No line is read for ever after the limit was reached, also where private values are replaced."""
    running = process("sentiment", *there, "--max-cost", "0.0001", *redact, stdin=-1)
    with suppress(BrokenPipeError):  # it has ended before it has read all
        for _ in range(600):
            running.stdin.write(b"a line of me@example.org\n")
        running.stdin.flush()
    out, err = running.communicate(timeout=20)
    assert (running.returncode, out.strip(b"\n")) == (3, b"") and b"stopped before --max-cost" in err


def test_one_request_that_costs_too_much_is_not_sent(llm, server, there):
    """3 with nothing delivered, and the next step."""
    run = llm("ask", "hi", "--no-stdin", "--max-tokens", "1000", "--max-cost", "0.05", *there)
    assert (run.code, run.out, server.chats()) == (3, "", [])
    happened, advice = run.err.splitlines()
    assert "the next request could cost 0.10" in happened and "--max-tokens" in advice


def test_an_answer_without_a_limit_gets_one(llm, server, there):
    """What is left pays for it."""
    assert llm("ask", "hi", "--no-stdin", "--max-cost", "0.05", *there).out == "hi\n"
    assert 300 < server.chats()[-1]["max_tokens"] < 500
    assert llm("ask", "hi", "--no-stdin", *there).code == 0 and "max_tokens" not in server.chats()[-1]


def test_failed_requests_cost_nothing(llm, server, there):
    """A server that was busy is asked again within the amount."""
    server.script = [error_answer(429, Retry_After="0")] * 3
    argv = ("ask", "hi", "--no-stdin", "--max-tokens", "100", "--max-cost", "0.015", *there)
    assert llm(*argv).out == "hi\n" and len(server.chats()) == 4


def test_labels_stay_within_the_amount(llm, server, there):
    """Of samples each is reserved as it is sent."""
    server.usual = stream_answer("positive")
    run = llm("sentiment", "--max-cost", "0.08", "--json", *there, stdin=b"good\n" * 40)
    rows = [row for row in map(json.loads, run.out.splitlines()) if "error" not in row]
    assert run.code == 3 and 0 < len(rows) < 40 and all(row["cost"] > 0 for row in rows)
    assert sum(row["cost"] for row in rows) <= 0.08


def test_a_setting_limits_every_command(llm, server, there):
    """LLMCLI_MAX_COST as the option; on this machine nothing costs anything."""
    env = {"LLMCLI_MAX_COST": "0.000001"}
    assert llm("ask", "hi", "--no-stdin", *there, env=env).code == 3
    assert llm("ask", "hi", "--no-stdin", env=env).code == 0
    assert llm("ask", "hi", "--no-stdin", "--max-cost", "0.000001").code == 0


@pytest.mark.parametrize(
    ("argv", "advice"),
    [
        (
            ("--backend", "free"),
            "Add price: {input: 3, output: 15} (for a million tokens) to backends.free in config.yaml",
        ),
        (
            ("--base-url", "http://127.0.0.1:9/v1"),
            "NAME: {type: openai, base_url: http://127.0.0.1:9/v1, price: {input: 3, output: 15}}",
        ),
        (("--backend", "ollama"), "Add ollama: {price: {input: 3, output: 15}} (for a million tokens) to backends in"),
    ],
)
def test_a_limit_needs_a_price(llm, server, argv, advice):
    """2, and what to write into the file; a limit in the configuration is 78."""
    configure(free={"base_url": server.url})
    run = llm("ask", "hi", "--no-stdin", "--max-cost", "1", *argv)
    assert run.code == 2 and "--max-cost needs the price" in run.err and advice in run.err
    assert "llm config edit" in run.err and server.asked == []
    run = llm("ask", "hi", "--no-stdin", *argv, env={"LLMCLI_MAX_COST": "1"})
    assert run.code == 78 and advice in run.err


@pytest.mark.parametrize(
    ("name", "indent"),
    [("there", " " * 4), ("other", " " * 2)],
    ids=["of a server that llm has added", "of an address"],
)
def test_a_price_that_is_written_by_hand_below_an_added_server(llm, server, name, indent):
    """What the advice says is right as it is, and stays when another server is added."""
    argv = ("ask", "hello there", "--no-stdin", "--json", "--max-tokens", "100", "--max-cost", "1")
    assert llm("backends", "add", name, "--base-url", server.url).code == 0
    said = llm(*argv, *(("--backend", name) if name == "there" else ("--base-url", server.url))).err
    (advised,) = re.findall(r"Add (.*) \(for a million tokens\)", said)
    file = Path(os.environ["LLMCLI_CONFIG_DIR"], "config.yaml")
    file.write_text(f"{file.read_text()}{indent}{advised.replace('NAME', 'there')}\n")
    before = file.read_text()
    assert llm("backends", "add", "more", "--base-url", "http://more/v1").code == 0
    assert file.read_text().startswith(before)
    assert json.loads(llm(*argv, "--backend", "there").out)["cost"] > 0


def test_a_limit_without_a_price_is_refused_before_consent_is_asked_for(llm):
    """A server elsewhere is not even named."""
    configure(there={"base_url": "https://models.invalid/v1"})
    assert llm("ask", "hi", "--no-stdin", "--max-cost", "1", "--backend", "there").code == 2


@pytest.mark.parametrize("protocol", SERVERS)
def test_every_protocol_has_costs_and_limits(llm, protocol):
    """The usage of each is counted, and its limit of tokens is found in what is sent."""
    hosted = SERVERS[protocol]()
    fields = {"type": protocol, "base_url": hosted.url, "model": "big", "context": 4096, "price": PRICE}
    configure(there=fields)
    argv = ("ask", "hello there", "--no-stdin", "--json", "--backend", "there", "--max-tokens", "100")
    try:
        assert json.loads(llm(*argv, "--max-cost", "1").out)["cost"] == cost_of("hello there")
        sent = len(hosted.asked)
        run = llm(*argv, "--max-cost", "0.01")
        assert run.code == 3 and "stopped before --max-cost" in run.err and len(hosted.asked) == sent
        assert llm(*argv[:-2], "--max-cost", "1").code == 0
    finally:
        hosted.close()


def without_usage(block):
    """Return the event of a stream without the tokens of the answer."""
    name, separator, data = block.decode().partition("data: ")
    if not data.startswith("{"):
        return block
    event = json.loads(data)
    for holder in (event, event.get("response", {})):
        holder.pop("usage", None)
        holder.pop("usageMetadata", None)
    return f"{name}{separator}{json.dumps(event)}\n\n".encode()


@pytest.mark.parametrize("protocol", SERVERS)
@pytest.mark.parametrize("first", [False, True])
def test_a_stream_without_a_final_usage_counts_as_reserved(llm, tmp_path, protocol, first):
    """Its cost is not known, also where the ``first`` event has counts: those of Anthropic's start say one token."""
    hosted = SERVERS[protocol]()
    fields = {"type": protocol, "base_url": hosted.url, "model": "big", "context": 4096, "concurrency": 1}
    configure(there=fields | {"price": {"input": 0.001, "output": 100.0}})
    events = hosted.events("Good.")
    kept = [events[0]] if first and protocol == "anthropic" else [without_usage(events[0])]
    hosted.usual = send_blocks([*kept, *map(without_usage, events[1:])])
    texts = [tmp_path / f"{number}.txt" for number in range(5)]
    for text in texts:
        text.write_text("some text\n")
    argv = ("summarize", "--style", "paragraph", "--backend", "there", "--max-tokens", "100", "--max-cost", "0.025")
    try:
        run = llm(*argv, *map(str, texts))
        assert run.code == 3 and "stopped before --max-cost" in run.err
        assert len(hosted.chats()) == 2, run.err  # 100 tokens cost 0.01
        found = json.loads(llm("ask", "hi", "--no-stdin", "--json", "--backend", "there", "--max-tokens", "9").out)
        assert found["cost"] is None
    finally:
        hosted.close()


@pytest.mark.parametrize("amount", ["0", "-1", "nan", "inf", "much"])
def test_an_amount_is_positive(llm, there, amount):
    """2 otherwise."""
    run = llm("ask", "hi", "--no-stdin", "--max-cost", amount, *there)
    assert run.code == 2 and re.search("max-cost", run.err)
