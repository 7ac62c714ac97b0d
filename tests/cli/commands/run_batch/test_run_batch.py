"""``llm run-batch`` from the command line: requests in OpenAI's batch format, and a line for each."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import struct
import subprocess

import pytest
from batch_lines import bodies, chat, complete, line
from killed_runs import KilledRuns
from scripted import Reply, last_message

from llmcli.cli.records import job_checkpoint
from llmcli.errors import InternalError
from llmcli.types import ToolCall

SEED = 41
KILLS = 4
HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture
def run(llm, write, tmp_path):
    """Run the command on lines; return the run and the lines of the output."""

    def call(lines, *argv, answer=last_message, **how):
        path, out = write("in.jsonl", "".join(f"{each}\n" for each in lines)), tmp_path / "out.jsonl"
        done = llm("run-batch", "-i", path, "-o", str(out), *argv, answer=answer, **how)
        return done, [json.loads(each) for each in out.read_text().splitlines()] if out.exists() else []

    return call


# ---- answers -------------------------------------------------------------------------------------------------------


def test_each_request_has_a_line_in_its_place(run):
    """With the id that the client chose, a status, and the body that llm serve would send."""
    done, lines = run([chat("b", "one"), chat("a", "two")])
    assert (done.code, done.out, done.err) == (0, "", "")
    assert [each["custom_id"] for each in lines] == ["b", "a"]
    assert all({*each} == {"id", "custom_id", "response", "error"} and each["error"] is None for each in lines)
    assert [each["response"]["status_code"] for each in lines] == [200, 200]
    first, second = bodies(lines)
    assert first["choices"][0]["message"]["content"] == "one" and first["object"] == "chat.completion"
    assert second["usage"]["completion_tokens"] == 1
    assert len({each["id"] for each in lines} | {each["response"]["request_id"] for each in lines}) == 4


def test_requests_for_a_model_that_does_not_exist_can_go_to_another_one(run):
    """The first request names the model, so the next step is the option that lets another model answer for it."""
    done, lines = run([chat("a", "one", model="gpt 9"), chat("b", "two", model="gpt 9")], env={"LLMCLI_MODEL": None})
    assert (done.code, lines) == (66, []) and "the first request names the model gpt 9: there is none" in done.err
    assert "-m MODEL --served-model-name 'gpt 9'" in done.err
    named, _ = run([chat("a", "one", model="gpt 9")], "-m", "nosuch")
    assert named.code == 66 and "no model called nosuch" in named.err and "llm models list" in named.err


def test_the_requests_of_a_batch_are_one_job(run):
    """Its requests give way to interactive ones, have the fields of their bodies, and unlike ids."""
    done, _ = run([chat(f"r{n}", f"text {n}", temperature=0.5, max_tokens=7, stop="x") for n in range(20)])
    requests = done.backend.requests
    assert done.backend.jobs == 1 and len({request.id for request in requests}) == 20
    assert {request.priority.value for request in requests} == {"bulk"}
    assert {(r.sampling.temperature, r.max_tokens, r.stop) for r in requests} == {(0.5, 7, ("x",))}


def test_responses(run):
    """The Responses API, with instructions and reasoning."""
    request = line("r", "/v1/responses", input="Hello!", instructions="Be brief.", reasoning={"effort": "low"})
    done, lines = run([request], answer=lambda _: Reply("Hi.", reasoning="hm"))
    (body,) = bodies(lines)
    assert done.code == 0 and body["status"] == "completed"
    assert [item["type"] for item in body["output"]] == ["reasoning", "message"]
    assert done.backend.requests[0].messages[0].content == "Be brief."


def test_completions(run):
    """Several prompts and choices, without the chat template."""
    _, lines = run([line("c", "/v1/completions", prompt=["one", "two"], n=2)])
    (body,) = bodies(lines)
    assert [(choice["index"], choice["text"]) for choice in body["choices"]] == list(
        enumerate(["one"] * 2 + ["two"] * 2)
    )


def test_embeddings(run):
    """A vector of length 1 for each text, as numbers or as base64; the tokens are counted."""
    asked = [
        line("e", "/v1/embeddings", input=["one", "two words"]),
        line("f", "/v1/embeddings", input="one", encoding_format="base64"),
    ]
    _, lines = run(asked, answer=lambda _: struct.pack("<2f", 3.0, 4.0))
    first, second = bodies(lines)
    assert [item["embedding"] for item in first["data"]] == [pytest.approx([0.6, 0.8])] * 2
    assert first["usage"]["prompt_tokens"] == 3
    vector = struct.unpack("<2f", base64.b64decode(second["data"][0]["embedding"]))
    assert vector == pytest.approx((0.6, 0.8))


def test_tool_calls_of_a_server_are_in_the_answer(run):
    """Servers report them beside the text."""
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    reply = Reply("", calls=(ToolCall("call_1", "weather", {"city": "Paris"}),))
    _, lines = run([chat("t", tools=[tool])], answer=lambda _: reply)
    (choice,) = bodies(lines)[0]["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls" and json.loads(call["function"]["arguments"]) == {"city": "Paris"}


def test_a_limit_of_the_request_is_no_failure(run):
    """An answer that is cut where the request does not say so is one: the code is 3, and the line has the reason."""
    done, lines = run([chat("a", "one two three", max_tokens=2)])
    assert done.code == 0 and bodies(lines)[0]["choices"][0]["finish_reason"] == "length"
    done, lines = run([chat("a", "one two three")], answer=lambda _: "word " * 90, context=64)
    assert done.code == 3 and bodies(lines)[0]["choices"][0]["finish_reason"] == "length"
    assert "line 1" in done.err


def test_a_server_answers(llm, server, write, tmp_path):
    """With the fields of each request; its tokens are counted, and a call of a tool is one in the answer."""
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    asked = [
        chat("a", model="big", temperature=0.5, max_tokens=9, stop=["x"]),
        chat("b", tools=[tool]),
        chat("c", logprobs=True),
        complete("d"),
    ]
    path, out = write("in.jsonl", "\n".join(asked)), tmp_path / "out.jsonl"
    run = llm("run-batch", "-i", path, "-o", str(out), "--base-url", server.url, "-m", "big", "--yes")
    lines = [json.loads(each) for each in out.read_text().splitlines()]
    assert run.code == 3 and [each["response"]["status_code"] for each in lines] == [200, 200, 501, 501], run.err
    first = next(body for body in server.chats() if body.get("stop"))
    assert (first["temperature"], first["stop"]) == (0.5, ["x"]) and 9 in first.values()
    assert bodies(lines)[0]["model"] == "big" and bodies(lines)[0]["usage"]["completion_tokens"]
    assert [body["tools"] for body in server.chats() if "tools" in body] == [
        [tool | {"function": {**tool["function"], "description": ""}}]
    ]


# ---- models --------------------------------------------------------------------------------------------------------


def test_the_first_request_names_the_model(llm, run, tiny):
    """Unless -m names one; requests for other models fail one by one, with the option that would accept them."""
    name = str(tiny("chatml"))
    done, lines = run([chat("a", model=name), chat("b", model="other"), chat("c")])
    assert done.code == 3 and [each["response"]["status_code"] for each in lines] == [200, 404, 200]
    assert bodies(lines)[1]["error"]["code"] == "model_not_found" and "--served-model-name" in done.err
    assert bodies(lines)[0]["model"] == name == done.backend.info().model


def test_a_model_may_have_served_names(run, tiny):
    """Requests written for another model are then answered, under the name that they use, or the first one."""
    argv = ["-m", str(tiny("llama")), "--served-model-name", "gpt-4o-mini", "--served-model-name", "small"]
    done, lines = run(
        [chat("a", model="small"), chat("b", model="gpt-4o-mini"), chat("c"), chat("d", model="x")], *argv
    )
    assert [body.get("model") for body in bodies(lines)] == ["small", "gpt-4o-mini", "gpt-4o-mini", None]
    assert done.code == 3 and "only gpt-4o-mini" in done.err


def test_a_model_that_is_not_here_ends_the_run(run):
    """Before anything is written."""
    done, lines = run([chat("a", model="gpt-4o")])
    assert done.code == 66 and lines == [] and "gpt-4o" in done.err


def test_requests_name_the_model_by_any_of_its_names(llm, run, tiny, monkeypatch, tmp_path):
    """Those that -m accepts and that llm serve has for clients; the name of another model on this machine fails."""
    file, other = tiny("llama"), tiny("chatml")
    monkeypatch.chdir(file.parent)
    assert llm("models", "alias", "short", str(file)).code == 0
    assert llm("models", "alias", "second", str(other)).code == 0
    names = ["short", str(file), f"./{file.name}", f"{file.parent}/../{file.parent.name}/{file.name}", file.name]
    for argv in ([], ["-m", str(file)], ["-m", "short"]):
        done, lines = run([chat(f"r{n}", model=name) for n, name in enumerate(names)], *argv)
        assert done.code == 0 and [body["model"] for body in bodies(lines)] == names, done.err
        (tmp_path / "out.jsonl").unlink()
    wrong = ["second", str(other), other.name, "nosuch", "~nosuch/m.gguf", "./a\0b.gguf", "./\ud83d", "x/y", "/", "."]
    done, lines = run([chat("first"), *(chat(f"r{n}", model=name) for n, name in enumerate(wrong))])
    assert [each["response"]["status_code"] for each in lines] == [200] + [404] * len(wrong), done.err


def test_the_first_request_may_have_the_name_that_clients_of_serve_use(llm, run, mine, tmp_path, monkeypatch):
    """The file name of the configured model, in whichever directory the command runs."""
    monkeypatch.chdir(tmp_path / "io")
    done, lines = run([chat("a", model="mine.gguf"), chat("b")], env={"LLMCLI_MODEL": str(mine)})
    assert done.code == 0 and bodies(lines)[0]["model"] == "mine.gguf", done.err
    (tmp_path / "out.jsonl").unlink()
    assert run([chat("a", model="mine.gguf")])[0].code == 66


def test_the_configured_model_does_not_answer_for_the_one_that_the_first_request_names(run, tiny):
    """Nor does the other one answer for it."""
    done, lines = run([chat("a", model=str(tiny("chatml"))), chat("b", model=str(tiny("llama")))])
    assert done.code == 3 and [each["response"]["status_code"] for each in lines] == [200, 404], done.err


def test_a_pulled_model_has_several_names(run, here):
    """With its quantization or without, with its file, and as an address of the Hub."""
    repo, _, _ = here.rpartition(":")
    names = [here, repo, f"{repo}/tiny.Q4_0.gguf", f"https://huggingface.co/{here}", f"hf.co/{here}"]
    done, lines = run([chat(f"r{n}", model=name) for n, name in enumerate([*names, f"{repo}:Q8_0"])])
    assert [each["response"]["status_code"] for each in lines] == [200] * len(names) + [404], done.err


# ---- failures ------------------------------------------------------------------------------------------------------

BAD_LINES = [
    ("{bad", None, "invalid_json_line"),
    ("[1]", None, "invalid_json_line"),
    ("{}", None, "missing_required_parameter"),
    (chat(""), None, "missing_required_parameter"),
    (chat(7), None, "missing_required_parameter"),
    (line("x", method="GET"), "x", "invalid_method"),
    (line("x", url="/v1/images"), "x", "invalid_url"),
    (line("x", url=["/v1/responses"]), "x", "invalid_url"),
    ('{"custom_id": "x", "method": "POST", "url": "/v1/responses", "body": []}', "x", "missing_required_parameter"),
    (chat("first"), "first", "duplicate_custom_id"),
]


@pytest.mark.parametrize(("bad", "custom_id", "code"), BAD_LINES)
def test_a_bad_line_becomes_an_error(run, bad, custom_id, code):
    """The others go on, and the exit code is 3; blank lines are no requests."""
    done, lines = run([chat("first", "one"), "", bad, chat("last", "two")])
    assert done.code == 3 and "line 3" in done.err
    assert [each["custom_id"] for each in lines] == ["first", custom_id, "last"]
    assert lines[1]["response"] is None and lines[1]["error"]["code"] == code and lines[1]["error"]["message"]
    assert [body["choices"][0]["message"]["content"] for body in bodies([lines[0], lines[2]])] == ["one", "two"]


@pytest.mark.parametrize("bad", [b"\xff", b"\0"])
def test_a_line_that_is_no_text_becomes_an_error(llm, write, bad):
    """Its message says so."""
    path = write("in.jsonl", chat("first").encode() + b"\n" + chat("last").encode().replace(b"last", bad))
    done = llm("run-batch", "-i", path, answer=last_message)
    error = json.loads(done.out.splitlines()[1])["error"]
    assert done.code == 3 and error == {"code": "invalid_json_line", "message": "the line is not UTF-8 text"}
    assert "line 2: the line is not UTF-8 text" in done.err


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"messages": []}, 400, "messages"),
        ({"messages": HELLO, "temperature": 9}, 400, "temperature"),
        ({"messages": HELLO, "nosuch": 1}, 400, "nosuch"),
        ({"messages": HELLO, "stream": True}, 400, "stream"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, 400, "messages"),
        ({"messages": HELLO, "logprobs": True}, 501, None),
    ],
)
def test_a_refused_request_has_the_response_of_the_server(run, body, status, param):
    """Its status and its error are those of the same request over HTTP."""
    done, lines = run([line("a", **body), chat("b")])
    assert done.code == 3 and [each["response"]["status_code"] for each in lines] == [status, 200]
    error = bodies(lines)[0]["error"]
    assert lines[0]["error"] is None and error["param"] == param and error["message"]


def test_tokens_are_no_input_of_embeddings_in_a_batch(run):
    """The backend embeds texts."""
    done, lines = run([line("e", "/v1/embeddings", input=[1, 2])])
    assert done.code == 3 and bodies(lines)[0]["error"]["param"] == "input"


def test_a_server_without_hidden_states_fails_embeddings_alone(run):
    """The other requests are answered."""
    done, lines = run([line("e", "/v1/embeddings", input="one"), chat("c")])
    assert done.code == 3 and [each["response"]["status_code"] for each in lines] == [501, 200]


def test_a_failure_of_the_backend_is_a_response(run):
    """Of the class of server errors."""
    done, lines = run([chat("a", "boom"), chat("b")], answer=broken)
    assert done.code == 3 and [each["response"]["status_code"] for each in lines] == [500, 200]


def broken(request):
    return InternalError(detail="boom") if "boom" in last_message(request) else last_message(request)


def test_a_file_of_bad_lines_is_written(run):
    """Its lines are the answer, though nothing was delivered."""
    done, lines = run(["{bad"])
    assert done.code == 3 and lines[0]["error"]["code"] == "invalid_json_line"


@pytest.mark.parametrize(("content", "code"), [(b"\x00\x01binary", 65), (None, 66)])
def test_a_damaged_input_is_refused(llm, write, tmp_path, content, code):
    """As the table of exit codes says; nothing is written."""
    path = str(tmp_path / "missing.jsonl") if content is None else write("in.jsonl", content)
    out = tmp_path / "out.jsonl"
    assert llm("run-batch", "-i", path, "-o", str(out)).code == code
    assert not out.exists()


def test_failed_requests_may_be_left_out_or_end_the_job(run, tmp_path):
    """As records."""
    done, lines = run([chat("a"), "{bad", chat("b")], "--on-error", "skip")
    assert done.code == 3 and [each["custom_id"] for each in lines] == ["a", "b"]
    (tmp_path / "out.jsonl").unlink()
    (tmp_path / "out.jsonl.job.json").unlink()
    done, lines = run([chat("a"), "{bad", chat("b")], "--on-error", "fail")
    assert done.code == 3 and lines == [] and "--resume" in done.err


# ---- jobs ----------------------------------------------------------------------------------------------------------


def test_failed_requests_are_retried(run):
    """--retry-failed answers them, and keeps all other lines as they are."""
    asked = [chat("a", "one"), "", chat("b", "boom"), chat("c", "three")]
    done, first = run(asked, answer=broken)
    assert done.code == 3
    done, second = run(asked, "--retry-failed")
    assert done.code == 0 and [last_message(request) for request in done.backend.requests] == ["boom"]
    assert (second[0], second[2]) == (first[0], first[2])
    assert bodies(second)[1]["choices"][0]["message"]["content"] == "boom"


def test_other_options_are_refused(run):
    """Answers of two settings are not mixed."""
    asked = [chat("a"), "{bad", chat("b")]
    assert run(asked, "--on-error", "fail")[0].code == 3
    done, _ = run(asked, "--on-error", "fail", "--resume", "--served-model-name", "x")
    assert done.code == 2 and "--served-model-name" in done.err


def test_a_pipe_is_answered(llm):
    """From standard input to standard output, with --json as well: each line is JSON."""
    for argv in ((), ("--json",)):
        done = llm("run-batch", "-i", "-", *argv, stdin=chat("a", "one").encode())
        assert done.code == 0 and json.loads(done.out)["custom_id"] == "a"


def test_shards_are_merged(llm, run, tmp_path, write):
    """The parts of a batch file become the output of one run, doubled ids of other shards included."""
    asked = [*(chat(f"r{n}", f"text {n}") for n in range(7)), "{bad", "", chat("r0")]
    _, whole = run(asked)
    path = write("in.jsonl", "".join(f"{each}\n" for each in asked))
    parts = [str(tmp_path / f"part-{n}.jsonl") for n in (1, 2)]
    for number, part in enumerate(parts, 1):
        llm("run-batch", "-i", path, "--shard", f"{number}/2", "-o", part)
    merged = tmp_path / "merged.jsonl"
    assert llm("merge", *parts, "-o", str(merged)).code == 3
    assert [_content(json.loads(each)) for each in merged.read_text().splitlines()] == [*map(_content, whole)]


def _content(row):
    """Return what of a line does not depend on the run."""
    response = row["response"]
    return row["custom_id"], row["error"], response and response["body"]["choices"][0]["message"]["content"]


def save_often():
    """Save a checkpoint after each record."""
    job_checkpoint._CHECKPOINT_S, job_checkpoint._MAX_CHECKPOINT_SHARE = 0.0, 1e9


def test_a_killed_batch_goes_on(tiny, write, tmp_path):
    """Wherever it is killed, the output has a line for each request, in their order, and none twice."""
    child = KilledRuns(broken, tiny("llama"), tmp_path / "messages")
    asked = [chat(f"r{n}", "boom" if n % 5 == 2 else f"text {n}") for n in range(12)] + ["{bad", chat("r3")]
    path, out = write("in.jsonl", "\n".join(asked)), tmp_path / "out.jsonl"
    chance, kills = random.Random(SEED), 0
    while kills < KILLS:
        code = child(
            "run-batch", "-i", path, "-o", str(out), "--resume", kill_at=chance.randrange(20, 120), prepare=save_often
        )
        if code != -signal.SIGKILL:
            break
        kills += 1
    assert kills and child("run-batch", "-i", path, "-o", str(out), "--resume") == 3, child.said()
    ids = [json.loads(each)["custom_id"] for each in out.read_text().splitlines()]
    assert ids == [*(f"r{n}" for n in range(12)), None, "r3"]


@pytest.mark.slow
def test_memory_is_flat(process, write, tmp_path):
    """Ten times as many requests take as much memory, the known ids included."""
    peaks = []
    for count in (3_000, 30_000):
        requests = "".join(line(f"request-{number}", "/v1/nosuch") + "\n" for number in range(count))
        out = tmp_path / f"{count}.jsonl"
        argv = ["run-batch", "-i", write("in.jsonl", requests), "-o", str(out), "-q", "--set", "worker=off"]
        child = process(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 3 and out.read_bytes().count(b"\n") == count
        peaks.append(usage.ru_maxrss)
    assert peaks[1] < 1.05 * peaks[0]
