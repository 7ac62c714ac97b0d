"""The queue of batches without a server: its states, its files, and what a clock that is handed in does to them."""

from __future__ import annotations

import json
import os

import pytest

from llmcli.errors import MissingError
from llmcli.openai_api import batches
from llmcli.serve import batch_queue
from llmcli.serve.batch_queue import BatchQueue
from llmcli.serve.batch_store import LIFETIME_S, BatchStore

URL = "/v1/chat/completions"
HOUR = 3600


def line(custom_id="a", url=URL, method="POST", **body):
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": body}) + "\n"


class Process:
    """A process that answers what the test lets it answer."""

    def __init__(self, answers):
        self._partial = answers.with_name(f"{answers.name}.partial")
        self._answers = answers
        self.code = None
        self.asked = []
        self.counts = (0, 0)

    def answer(self, *ids, failed=()):
        with self._partial.open("a") as file:
            for each in ids:
                status = 400 if each in failed else 200
                file.write(json.dumps(batches.dump_batch_answer(each, status, {"id": each})) + "\n")

    def end(self, code=0):
        if code in {0, 3}:
            self._partial.replace(self._answers)
        self.code = code

    def poll(self):
        return self.code

    def count(self):
        return self.counts

    def finish(self):
        self.asked.append("finish")

    def stop(self):
        self.asked.append("stop")

    def failure(self):
        return "it broke"


class Runner:
    """Starts such processes."""

    def __init__(self):
        self.started = []
        self.models = []

    def start(self, requests, answers, model):
        if model == "missing":
            raise MissingError("missing", kind="model")
        assert requests.exists()
        self.models.append(model)
        self.started.append(Process(answers))
        return self.started[-1]

    @property
    def process(self):
        return self.started[-1]


@pytest.fixture
def clock():
    """Return a clock that a test sets."""

    def now():
        return now.time

    now.time = 1_000_000.0
    return now


@pytest.fixture
def store(tmp_path, clock):
    return BatchStore(tmp_path / "batches", clock)


@pytest.fixture
def runner():
    return Runner()


@pytest.fixture
def queue(store, runner):
    return BatchQueue(store, runner)


@pytest.fixture
def submit(store, queue):
    """Return a function that submits a batch with this content."""

    def call(content, endpoint=URL):
        with store.open_upload() as upload:
            upload.file.write(content.encode())
            stored = store.add_file(upload, "in.jsonl", "batch")
        return queue.submit(stored["id"], endpoint, {"k": "v"})["id"]

    return call


def content(store, file_id):
    """Return the ids of the lines of a file."""
    return [json.loads(each) for each in store.content_path(file_id).read_text().splitlines()]


def test_a_batch_is_checked_run_and_completed(store, queue, runner, submit, clock):
    """Successes and failures get a file each; counts and times follow."""
    batch_id = submit(line("a", model="m") + "\n" + line("b", model="m") + line("c", model="m"))
    assert store.find_batch(batch_id)["status"] == "validating"
    queue.advance()
    batch = store.find_batch(batch_id)
    assert (batch["status"], batch["model"], batch["request_counts"]["total"]) == ("in_progress", "m", 3)
    queue.advance()
    runner.process.counts = (1, 0)
    queue.advance()
    assert store.find_batch(batch_id)["request_counts"] == {"total": 3, "completed": 1, "failed": 0}
    clock.time += 60
    runner.process.answer("a", "b", "c", failed={"b"})
    runner.process.end(3)
    queue.advance()
    batch = store.find_batch(batch_id)
    assert batch["status"] == "completed" and batch["completed_at"] == clock.time == batch["in_progress_at"] + 60
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1} and batch["metadata"] == {"k": "v"}
    assert [each["custom_id"] for each in content(store, batch["output_file_id"])] == ["a", "c"]
    assert [each["custom_id"] for each in content(store, batch["error_file_id"])] == ["b"]
    assert store.find_file(batch["output_file_id"])["purpose"] == "batch_output"


def test_everything_is_private_and_nothing_is_left(store, queue, runner, submit, tmp_path):
    """Mode 0600 in a directory of mode 0700; the work of a batch that has ended is removed."""
    before = os.umask(0)
    try:
        submit(line())
        queue.advance()
        queue.advance()
        runner.process.answer("a")
        runner.process.end()
        queue.advance()
    finally:
        os.umask(before)
    paths = [*(tmp_path / "batches").iterdir()]
    modes = {path.name: path.stat().st_mode & 0o777 for path in paths if ".answers" not in path.name}
    assert set(modes.values()) == {0o600} and (tmp_path / "batches").stat().st_mode & 0o777 == 0o700
    assert len(paths) == 5  # a batch; input and output, each with its object


def test_batches_run_one_after_another(queue, runner, submit, store, clock):
    """In their order; all with their own model."""
    first = submit(line(model="one"))
    clock.time += 1
    second = submit(line(model="two"))
    for _ in range(5):
        queue.advance()
    assert runner.models == ["one"] and store.find_batch(second)["status"] == "validating"
    runner.process.answer("a")
    runner.process.end()
    for _ in range(5):
        queue.advance()
    assert runner.models == ["one", "two"] and store.find_batch(first)["status"] == "completed"


@pytest.mark.parametrize(
    ("text", "code", "number"),
    [
        ("", "empty_file", None),
        ("\n", "empty_file", None),
        (line() + "{bad\n", "invalid_json_line", 2),
        (line() + "[]\n", "invalid_json_line", 2),
        (line() + "\n" + line(), "duplicate_custom_id", 3),
        (line(url="/v1/embeddings"), "invalid_url", 1),
        (line(url="/nosuch"), "invalid_url", 1),
        (line(method="GET"), "invalid_method", 1),
        (line(""), "missing_required_parameter", 1),
        (line("a", model="x") + line("b", model="y"), "mismatched_model", 2),
    ],
)
def test_a_bad_input_fails_the_batch(store, queue, runner, submit, text, code, number):
    """Before anything runs; the errors name the lines."""
    batch_id = submit(text)
    queue.advance()
    queue.advance()
    batch = store.find_batch(batch_id)
    (error,) = batch["errors"]["data"]
    assert (batch["status"], error["code"], error["line"]) == ("failed", code, number) and error["message"]
    assert batch["failed_at"] and runner.started == [] and batch["output_file_id"] is None


def test_a_batch_has_at_most_so_many_requests(store, queue, submit, monkeypatch):
    """So that what is known of their ids fits in memory."""
    monkeypatch.setattr(batch_queue, "MAX_REQUESTS", 3)
    batch_id = submit("".join(line(f"r{n}") for n in range(5)))
    queue.advance()
    (error,) = store.find_batch(batch_id)["errors"]["data"]
    assert (error["code"], error["line"]) == ("too_many_requests", 4)


def test_a_model_that_is_missing_fails_the_batch(store, queue, submit):
    """With the code of the protocol."""
    batch_id = submit(line(model="missing"))
    queue.advance()
    queue.advance()
    (error,) = store.find_batch(batch_id)["errors"]["data"]
    assert error["code"] == "model_not_found" and "missing" in error["message"]


def test_a_process_that_fails_fails_the_batch(store, queue, runner, submit):
    """What it has answered is there, without a line that was cut."""
    batch_id = submit(line("a") + line("b"))
    queue.advance()
    queue.advance()
    runner.process.answer("a")
    with runner.process._partial.open("a") as file:
        file.write('{"id": "cut')
    runner.process.end(71)
    queue.advance()
    batch = store.find_batch(batch_id)
    assert batch["status"] == "failed" and batch["errors"]["data"][0]["message"] == "it broke"
    assert [each["custom_id"] for each in content(store, batch["output_file_id"])] == ["a"]


def test_a_temporary_failure_is_tried_again(store, queue, runner, submit, clock):
    """As when the process of an earlier server still works on it."""
    batch_id = submit(line())
    queue.advance()
    queue.advance()
    runner.process.end(75)
    for _ in range(3):
        queue.advance()
    assert len(runner.started) == 1 and store.find_batch(batch_id)["status"] == "in_progress"
    clock.time += 11
    queue.advance()
    assert len(runner.started) == 2


def kill_repeatedly(queue, runner, clock, counts):
    """Let the process be killed after each of these numbers of answered requests, and the queue go on."""
    for done in counts:
        clock.time += 11
        queue.advance()
        runner.process.counts = (done, 0)
        runner.process.end(-9)
        queue.advance()


def test_a_killed_process_is_started_again(store, queue, runner, submit, clock):
    """After a pause, as long as each process makes progress."""
    batch_id = submit("".join(line(f"r{number}") for number in range(9)))
    queue.advance()
    kill_repeatedly(queue, runner, clock, [2, 2, 4, 5, 5, 8])
    assert store.find_batch(batch_id)["status"] == "in_progress" and len(runner.started) == 6
    clock.time += 11
    queue.advance()
    runner.process.answer(*(f"r{number}" for number in range(9)))
    runner.process.end()
    queue.advance()
    batch = store.find_batch(batch_id)
    assert batch["status"] == "completed" and batch["request_counts"]["completed"] == 9


def test_a_process_that_is_killed_again_and_again_fails_the_batch(store, queue, runner, submit, clock):
    """The third time without progress; the next batch then gets its own three."""
    first, second = submit(line("a") + line("b")), submit(line("c"))
    queue.advance()
    kill_repeatedly(queue, runner, clock, [1, 1, 1])
    batch = store.find_batch(first)
    assert batch["status"] == "failed" and batch["errors"]["data"][0]["message"] == "it broke"
    queue.advance()
    kill_repeatedly(queue, runner, clock, [0, 0])
    assert store.find_batch(second)["status"] == "in_progress"


def test_a_batch_whose_process_was_killed_goes_on_with_the_next_server(tmp_path, store, queue, runner, submit, clock):
    """The server ends before it has started the process again."""
    batch_id = submit(line("a") + line("b"))
    queue.advance()
    kill_repeatedly(queue, runner, clock, [1])
    queue.close()
    later = BatchQueue(BatchStore(tmp_path / "batches", clock), runner)
    later.advance()
    runner.process.answer("a", "b")
    runner.process.end()
    later.advance()
    assert store.find_batch(batch_id)["status"] == "completed"


def test_a_cancelled_batch_whose_process_is_killed_is_cancelled(store, queue, runner, submit):
    """It is not started again."""
    batch_id = submit(line())
    queue.advance()
    queue.advance()
    queue.cancel(batch_id)
    runner.process.end(-9)
    queue.advance()
    assert store.find_batch(batch_id)["status"] == "cancelled" and len(runner.started) == 1


def test_cancelling_finishes_what_runs(store, queue, runner, submit):
    """The answers so far are there; to cancel twice, or what has ended, changes nothing."""
    batch_id = submit(line("a") + line("b"))
    queue.advance()
    queue.advance()
    runner.process.answer("a")
    assert queue.cancel(batch_id)["status"] == "cancelling" and queue.cancel(batch_id)["cancelling_at"]
    queue.advance()
    queue.advance()
    assert runner.process.asked == ["finish"] and store.find_batch(batch_id)["status"] == "cancelling"
    runner.process.end(130)
    queue.advance()
    batch = store.find_batch(batch_id)
    assert batch["status"] == "cancelled" == queue.cancel(batch_id)["status"] and batch["cancelled_at"]
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 0} and batch["error_file_id"] is None


def test_a_batch_that_waits_can_be_cancelled(store, queue, runner, submit):
    """It never runs."""
    batch_id = submit(line())
    queue.cancel(batch_id)
    queue.advance()
    assert store.find_batch(batch_id)["status"] == "cancelled" and runner.started == []


def test_a_damaged_object_does_not_stop_the_others(store, queue, runner, submit, tmp_path):
    """A file on the disk that means nothing is no batch."""
    for number, content in enumerate([b"{", b"[]", b'{"id": "other"}', b"\xff"]):
        (store.requests_path("x").parent / f"batch_{number:032x}.json").write_bytes(content)
    batch_id = submit(line())
    assert [each["id"] for each in store.list_batches()] == [batch_id]
    queue.advance()
    queue.advance()
    assert len(runner.started) == 1


def test_a_server_that_starts_again_goes_on(tmp_path, store, queue, runner, submit, clock):
    """The end of the server ends the process; another one starts a process for the same files."""
    batch_id = submit(line("a") + line("b"))
    queue.advance()
    queue.advance()
    runner.process.answer("a")
    queue.close()
    queue.advance()
    assert runner.process.asked == ["stop"] and len(runner.started) == 1
    later = BatchQueue(BatchStore(tmp_path / "batches", clock), runner)
    later.advance()
    assert len(runner.started) == 2
    runner.process.answer("b")
    runner.process.end()
    later.advance()
    assert store.find_batch(batch_id)["request_counts"]["completed"] == 2


def test_a_kill_before_the_end_leaves_a_batch_that_ends(tmp_path, store, queue, runner, submit, clock, monkeypatch):
    """The process of a complete job ends at once, and the files are made again."""
    batch_id = submit(line())
    queue.advance()
    queue.advance()
    runner.process.answer("a")
    runner.process.end()
    monkeypatch.setattr(store, "add_file", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        queue.advance()
    assert store.find_batch(batch_id)["status"] == "finalizing"
    later = BatchQueue(BatchStore(tmp_path / "batches", clock), runner)
    later.advance()
    runner.process.code = 0
    later.advance()
    assert store.find_batch(batch_id)["status"] == "completed"


def test_a_batch_expires_after_a_day(store, queue, runner, submit, clock):
    """Its answers are there, and an error for each request that was not executed."""
    batch_id = submit(line("a") + "\n" + line("b") + line("c"))
    queue.advance()
    queue.advance()
    runner.process.answer("a")
    clock.time += LIFETIME_S
    queue.advance()
    assert runner.process.asked == ["finish"]
    runner.process.end(130)
    queue.advance()
    batch = store.find_batch(batch_id)
    assert batch["status"] == "expired" and batch["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
    lines = content(store, batch["error_file_id"])
    assert [(each["custom_id"], each["error"]["code"]) for each in lines] == [(i, "batch_expired") for i in "bc"]


def test_files_are_deleted_after_a_day(store, queue, runner, submit, clock, tmp_path):
    """A batch keeps its input as long as it needs it, and is itself kept for a day after its end."""
    batch_id = submit(line())
    (input_file,) = store.list_files()
    clock.time += 23 * HOUR
    queue.advance()
    queue.advance()
    clock.time += HOUR - 1
    assert store.find_file(input_file["id"])
    clock.time += 1
    assert store.find_file(input_file["id"]) is None and store.list_files() == []
    clock.time -= 1
    runner.process.answer("a")
    runner.process.end()
    queue.advance()
    batch = store.find_batch(batch_id)
    assert batch["status"] == "completed"
    clock.time += LIFETIME_S + 61
    queue.advance()
    assert store.find_batch(batch_id) is None and [*(tmp_path / "batches").iterdir()] == []


def test_a_deleted_input_is_still_answered(store, queue, runner, submit):
    """The batch has a link to its content."""
    batch_id = submit(line())
    assert store.delete_file(store.find_batch(batch_id)["input_file_id"])
    queue.advance()
    queue.advance()
    assert len(runner.started) == 1


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "file-..", "file-" + "0" * 31 + "/", "", "lock", "batch_" + "0" * 32]
)
def test_ids_are_no_paths(store, name):
    """Only what the store has made has a name."""
    assert store.find_file(name) is None and store.find_batch(name) is None and not store.delete_file(name)


def test_an_upload_that_ends_early_leaves_nothing(store, tmp_path):
    """Nor does one of a server that was killed."""
    with pytest.raises(ConnectionError), store.open_upload():
        raise ConnectionError
    (tmp_path / "batches" / "0.upload").write_text("x")
    BatchStore(tmp_path / "batches")
    assert [*(tmp_path / "batches").iterdir()] == []


def test_a_full_disk_is_reported(store, runner, submit, clock, monkeypatch):
    """Once; the queue goes on later."""
    said = []
    queue = BatchQueue(store, runner, said.append)
    batch_id = submit(line())
    with monkeypatch.context() as patched:
        patched.setattr(store, "update_batch", lambda *_, **__: open("/nonexistent/x"))  # noqa: PTH123, SIM115 (it raises OSError)
        for _ in range(5):
            queue.advance()
    assert len(said) == 1 and "/nonexistent/x" in said[0]
    clock.time += 11
    queue.advance()
    assert store.find_batch(batch_id)["status"] == "in_progress"
