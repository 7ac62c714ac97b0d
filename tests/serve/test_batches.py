"""``/v1/files`` and ``/v1/batches`` of ``llm serve --batches``, driven by OpenAI's own package for Python."""

from __future__ import annotations

import contextlib
import http.client
import json
import operator
import os
import re
import signal
import stat
import time
from pathlib import Path

import openai
import pytest
from waiting import wait_until

from .conftest import ROOT, TOKEN, serving
from .test_serve import HELLO

URL = "/v1/chat/completions"
WAIT_S = 60


IN_BACKGROUND = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from llmcli.cli.main import run; run()"
"""Begins as a process in the background of a script (``llm serve &``), which ignores Ctrl-C."""


@pytest.fixture(scope="module")
def batching(tiny):
    """A server with batches, one for all tests."""
    with serving(tiny("chatml"), "--batches", code=IN_BACKGROUND) as server:
        yield server


def connect(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0)


@pytest.fixture
def client(batching):
    with connect(batching) as made:
        yield made


def request(custom_id, url=URL, **body):
    """Return a line of a batch file."""
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body}) + "\n"


def chat(custom_id, **body):
    return request(custom_id, **{"messages": HELLO, "max_tokens": 4, "temperature": 0, **body})


def upload(client, *lines):
    return client.files.create(file=("requests.jsonl", "".join(lines).encode()), purpose="batch")


def submit(client, *lines, endpoint=URL, **how):
    file = upload(client, *lines)
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **how)


def wait_for(client, batch, *statuses):
    """Return the batch once it has one of these statuses."""
    end = time.monotonic() + WAIT_S
    while batch.status not in statuses and time.monotonic() < end:
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    assert batch.status in statuses, batch
    return batch


def read_lines(client, file_id):
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def test_a_batch_is_answered(client):
    """Answers and failures in a file each, in the order of the requests; the answer is that of the same request alone."""
    (model,) = client.models.list().data
    lines = [chat("b", model=model.id), chat("bad", model=model.id, temperature=9), chat("a", model=model.id, n=2)]
    batch = submit(client, *lines, metadata={"night": "1"})
    assert batch.status == "validating" and batch.metadata == {"night": "1"}
    batch = wait_for(client, batch, "completed", "failed")
    assert batch.status == "completed" and batch.model == model.id and batch.errors is None
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (3, 2, 1)
    answers, (failure,) = read_lines(client, batch.output_file_id), read_lines(client, batch.error_file_id)
    assert [each["custom_id"] for each in answers] == ["b", "a"] and failure["custom_id"] == "bad"
    assert failure["response"]["status_code"] == 400
    assert failure["response"]["body"]["error"]["param"] == "temperature"
    bodies = [openai.types.chat.ChatCompletion.model_validate(each["response"]["body"]) for each in answers]
    alone = client.chat.completions.create(model=model.id, messages=HELLO, max_tokens=4, temperature=0)
    assert bodies[0].choices[0].message.content == alone.choices[0].message.content
    assert bodies[0].usage == alone.usage.model_copy(
        update={"prompt_tokens_details": bodies[0].usage.prompt_tokens_details}
    )
    assert (bodies[0].model, len(bodies[1].choices)) == (model.id, 2)


def test_the_example_of_the_documentation(client, tmp_path, monkeypatch, capsys):
    """Unchanged, but for the waiting."""
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(file = client\..*?)```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("requests.jsonl").write_text(chat("documented"), encoding="utf-8")
    before, _, after = example.partition("batch = client.batches.retrieve(")
    names = {"client": client}
    exec(before, names)
    wait_for(client, names["batch"], "completed")
    exec(f"batch = client.batches.retrieve({after}", names)
    assert json.loads(capsys.readouterr().out)["custom_id"] == "documented"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/responses", {"input": "Hello!", "max_output_tokens": 4}),
        ("/v1/embeddings", {"input": ["one", "two"]}),
        ("/v1/completions", {"prompt": "Once", "max_tokens": 4}),
    ],
)
def test_the_other_endpoints(batching, client, endpoint, body):
    """Embeddings are those of the same request alone, up to rounding."""
    batch = wait_for(client, submit(client, request("x", endpoint, **body), endpoint=endpoint), "completed", "failed")
    (answer,) = read_lines(client, batch.output_file_id)
    alone = batching.ask("POST", endpoint, body)[1]
    assert {*answer["response"]["body"]} == {*alone}
    if endpoint == "/v1/embeddings":
        vectors = [[item["embedding"] for item in body["data"]] for body in (answer["response"]["body"], alone)]
        assert [sum(map(operator.mul, *pair)) for pair in zip(*vectors, strict=True)] == [
            pytest.approx(1, abs=0.01)
        ] * 2


def test_a_bad_input_fails(client):
    """The package shows the lines."""
    batch = wait_for(client, submit(client, chat("a"), "{bad\n", chat("a")), "failed")
    assert [(error.code, error.line) for error in batch.errors.data] == [
        ("invalid_json_line", 2),
        ("duplicate_custom_id", 3),
    ]


def test_a_model_that_is_not_here(client):
    """Nothing is downloaded for a client."""
    batch = wait_for(client, submit(client, chat("a", model="qwen3-4b")), "failed")
    assert batch.errors.data[0].code == "model_not_found"


def test_a_batch_is_cancelled(client):
    """The requests that run are answered, and the answers so far are there."""
    batch = submit(client, *(chat(f"r{n}", max_tokens=300, ignore_eos=True) for n in range(400)))
    wait_for(client, batch, "in_progress")
    wait_until(lambda: client.batches.retrieve(batch.id).request_counts.completed, WAIT_S)
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = wait_for(client, batch, "cancelled")
    answers = read_lines(client, batch.output_file_id)
    assert [each["custom_id"] for each in answers] == [f"r{n}" for n in range(len(answers))] and len(answers) < 400
    assert batch.request_counts.completed == len(answers) > 0 and batch.request_counts.total == 400
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_files_are_listed_read_and_deleted(client):
    """As the package asks for it."""
    files = [upload(client, chat(f"file {n}")) for n in range(3)]
    assert client.files.retrieve(files[0].id) == files[0] and files[0].bytes == len(chat("file 0"))
    assert files[0].expires_at == files[0].created_at + 24 * 60 * 60 and files[0].filename == "requests.jsonl"
    listed = [each.id for each in client.files.list(purpose="batch", limit=2)]  # the package fetches all pages
    assert {each.id for each in files} <= {*listed} and len(listed) == len({*listed})
    assert client.files.content(files[1].id).text == chat("file 1")
    deleted = client.files.delete(files[1].id)
    assert deleted.deleted and deleted.id == files[1].id
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            ask(files[1].id)


def test_batches_are_listed_in_pages(client):
    """The newest first."""
    made = [submit(client, "{bad\n").id for _ in range(3)]
    first = client.batches.list(limit=2)
    assert len(first.data) == 2 and first.has_more
    everything = [batch.id for batch in client.batches.list(limit=2)]
    assert {*made} <= {*everything} and len(everything) == len({*everything})
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_none")


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"endpoint": "/v1/images"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"output_expires_after": {}}, "output_expires_after"),
    ],
)
def test_a_wrong_field_is_named(batching, client, changed, param):
    """400."""
    body = {"input_file_id": upload(client, chat("a")).id, "endpoint": URL, "completion_window": "24h", **changed}
    status, answer = batching.ask("POST", "/v1/batches", body)
    assert (status, answer["error"]["param"]) == (400, param)


def test_uploads_are_checked(client):
    """A purpose that is not batch, a lifetime, no file."""
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=("a", b"{}"), purpose="assistants")
    with pytest.raises(openai.BadRequestError, match="expires_after"):
        client.files.create(file=("a", b"{}"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})


def post(server, body, **headers):
    """Return status and error of an upload of raw bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/files", body, {"Authorization": f"Bearer {TOKEN}", **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["error"]["message"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"),
        (b"--b\r\n", "multipart/form-data; boundary=b"),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
        (b"--b\r\nX: y\r\n\r\n", "multipart/form-data; boundary=b"),
    ],
)
def test_a_malformed_upload_is_refused(batching, body, kind):
    """400, and nothing stays."""
    status, message = post(batching, body, **{"Content-Type": kind})
    assert status == 400 and message
    assert [*(Path(batching.environ["LLMCLI_DATA_DIR"]) / "batches").glob("*.upload")] == []


def test_a_file_may_be_larger_than_a_body(batching, client):
    """--max-body is about requests; the file goes to the disk while it arrives, so the server's memory stays."""
    line = chat("large", user="x" * 1000)
    upload(client, line)
    before, content = batching.memory(), line.encode() * 40_000
    file = client.files.create(file=("large.jsonl", content), purpose="batch")
    assert file.bytes == len(content) > 40 << 20 and batching.memory() < before + (12 << 20)
    client.files.delete(file.id)


def test_too_large_a_file_is_refused(batching):
    """413, before its bytes are read."""
    kind = "multipart/form-data; boundary=b"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", batching.port, timeout=60)) as connection:
        connection.putrequest("POST", "/v1/files")
        for name, value in {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": kind,
            "Content-Length": 1 << 40,
        }.items():
            connection.putheader(name, str(value))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_the_token_is_needed(batching):
    """For every path, as for all others."""
    for method, path in [("GET", "/v1/files"), ("POST", "/v1/files"), ("GET", "/v1/files/file-x/content"),
                         ("DELETE", "/v1/files/file-x"), ("GET", "/v1/batches"), ("POST", "/v1/batches"),
                         ("POST", "/v1/batches/batch_x/cancel")]:  # fmt: skip
        assert batching.ask(method, path, {} if method == "POST" else None, token="x")[0] == 401, path


def test_files_are_private(batching, client):
    """Other users cannot read the requests and the answers."""
    wait_for(client, submit(client, chat("a")), "completed")
    directory = Path(batching.environ["LLMCLI_DATA_DIR"]) / "batches"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_batches_are_off_by_default(served):
    """404, with the option that turns them on."""
    for method, path in [
        ("GET", "/v1/files"),
        ("POST", "/v1/files"),
        ("POST", "/v1/batches"),
        ("GET", "/v1/batches/x"),
    ]:
        status, answer = served.ask(method, path, {} if method == "POST" else None)
        assert status == 404 and "--batches" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files"),
        ("POST", "/v1/files"),
        ("GET", "/v1/files/x"),
        ("DELETE", "/v1/files/x"),
        ("GET", "/v1/files/x/content"),
        ("GET", "/v1/batches"),
        ("POST", "/v1/batches"),
        ("GET", "/v1/batches/x"),
        ("POST", "/v1/batches/x/cancel"),
    ],
)
def test_each_path_of_batches_needs_the_token(batching, method, path):
    """Another token is refused."""
    assert batching.ask(method, path, token="x")[0] == 401


def test_one_server_at_a_time_has_the_batches(batching):
    """Another one of the same user is refused, and leaves alone what is being uploaded."""
    upload = Path(batching.environ["LLMCLI_DATA_DIR"]) / "batches" / "a.upload"
    upload.touch(0o600)
    run = batching.llm("serve", "--port", "0", "--batches")
    assert run.returncode == 75 and b"another llm serve --batches" in run.stderr and upload.exists()
    upload.unlink()


@pytest.mark.slow
def test_a_batch_goes_on_when_the_server_is_started_again(tiny, tmp_path):
    """No answer is lost or doubled, and those from before stay."""
    data, count = {"LLMCLI_DATA_DIR": str(tmp_path / "data")}, 400
    asked = [chat(f"r{n}", max_tokens=300, ignore_eos=True) for n in range(count)]
    with serving(tiny("chatml"), "--batches", **data) as server, connect(server) as client:
        batch = wait_for(client, submit(client, *asked), "in_progress")
        assert wait_until(lambda: client.batches.retrieve(batch.id).request_counts.completed)
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(30) == -signal.SIGTERM
    (partial,) = (tmp_path / "data" / "batches").glob("*.partial")
    before = partial.read_bytes()
    with serving(tiny("chatml"), "--batches", **data) as server, connect(server) as client:
        batch = wait_for(client, batch, "completed")
        answers = client.files.content(batch.output_file_id).read()
    assert answers.startswith(before) and 0 < before.count(b"\n") < count
    assert [json.loads(line)["custom_id"] for line in answers.splitlines()] == [f"r{n}" for n in range(count)]


@pytest.mark.slow
def test_a_batch_whose_process_is_killed_is_resumed(tiny, tmp_path):
    """As by the system for lack of memory: no answer is lost or doubled."""
    data, count = {"LLMCLI_DATA_DIR": str(tmp_path / "data")}, 400
    asked = [chat(f"r{n}", max_tokens=300, ignore_eos=True) for n in range(count)]
    with serving(tiny("chatml"), "--batches", **data) as server, connect(server) as client:
        batch = wait_for(client, submit(client, *asked), "in_progress")
        wait_until(lambda: any(path.stat().st_size for path in (tmp_path / "data" / "batches").glob("*.partial")))
        os.kill(find_writer(tmp_path / "data" / "batches"), signal.SIGKILL)
        batch = wait_for(client, batch, "completed")
        answers = client.files.content(batch.output_file_id).read()
    assert [json.loads(line)["custom_id"] for line in answers.splitlines()] == [f"r{n}" for n in range(count)]


def find_writer(directory):
    """Return the process that writes the answers of a batch in a directory."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if link.readlink().parent == directory and link.readlink().name.endswith(".partial"):
                return int(link.parts[2])
    raise AssertionError("no process writes answers")
