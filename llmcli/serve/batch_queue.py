"""The batches of ``llm serve --batches``: checked and run one after another, each by a process of ``llm run-batch``.

That process is a job over records: what it has answered survives a kill. A process that was killed is started again, by
this server or the next one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

from llmcli.errors import LlmError, PartialError, TemporaryFailure
from llmcli.errors.network_errors import BadBatchRequest
from llmcli.openai_api import batches
from llmcli.openai_api.http_errors import dump_exception
from llmcli.serve.batch_store import ApiObject, BatchStore, Upload, is_finished

MAX_REQUESTS = 50_000
"""Requests of one batch, as in the protocol."""
_TOO_MANY = "too_many_requests"
_MAX_ERRORS = 100
"""Errors of one input that are listed."""
_RETRY_S = 10.0
"""Seconds until batches go on after a failure that may pass."""
_MAX_KILLS = 3
"""Successive kills of a batch's process without progress in between after which the batch fails."""
_EXPIRY_INTERVAL_S = 60


class BatchProcess(Protocol):
    """The process of one batch."""

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""

    def count(self) -> tuple[int, int]:
        """Return how many requests have succeeded and failed so far."""

    def finish(self) -> None:
        """Let it end when the requests that run are answered."""

    def stop(self) -> None:
        """End it; what it has answered stays. Return when it has ended."""

    def failure(self) -> str:
        """Return why it has failed, in words."""


class BatchRunner(Protocol):
    """Starts the processes."""

    def start(self, requests: Path, answers: Path, model: str | None) -> BatchProcess:
        """Answer the requests of a file by a model (None: the default); go on where an earlier process has ended.

        The lines so far are in ``answers`` with the suffix ``.partial``; it gets its name when it is complete.
        Raises ``LlmError``.
        """


class _InputError(Exception):  # becomes the errors of the batch
    """The input of a batch cannot be run; ``errors`` are those of the protocol."""

    def __init__(self, errors: list[ApiObject]) -> None:
        super().__init__()
        self.errors = errors


class BatchQueue:
    """Runs the batches of ``store``, the oldest first.

    ``advance`` is called again and again, by one thread at a time; it may take seconds. ``write_line`` takes a line
    about a problem of this machine.
    """

    def __init__(
        self, store: BatchStore, runner: BatchRunner, write_line: Callable[[str], object] = lambda _: None
    ) -> None:
        self.store = store
        self._runner = runner
        self._write_line = write_line
        self._process: BatchProcess | None = None
        self._batch_id = ""
        self._is_finishing = False
        self._kills = _Kills()
        self._pause_until = self._retry_at = self._expiry_at = 0.0
        self._is_idle = False
        self._lock = threading.Lock()
        self._closed = False

    def advance(self) -> None:
        """Do what is to be done now: remove what has expired, start the next batch, or attend to the one that runs."""
        with self._lock:
            if self._closed or self.store.now < self._pause_until:
                return
            try:
                self._advance()
            except (OSError, LlmError) as error:
                self._pause_until = self.store.now + _RETRY_S
                words = str(error) if isinstance(error, OSError) else dump_exception(error)[1]["error"]["message"]
                self._write_line(f"batches: {words}")

    def close(self) -> None:
        """End the process of the batch that runs, which goes on when the server is started again."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.stop()
                self._process = None

    def submit(self, input_file: str, endpoint: str, metadata: Mapping[str, str] | None) -> ApiObject:
        """Return a new batch, which waits for its turn. Raises ``OSError``."""
        batch = self.store.add_batch(input_file, endpoint, metadata)
        self._is_idle = False
        return batch

    def cancel(self, batch_id: str) -> ApiObject:
        """Ask a batch to end, unless it has; return it. Requests that run are answered first."""
        ended = ("completed", "failed", "expired", "cancelled", "finalizing")
        return self.store.update_batch(batch_id, unless=ended, status="cancelling")

    # ---- one step -------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        if self.store.now >= self._expiry_at:
            self._expiry_at = self.store.now + _EXPIRY_INTERVAL_S
            self.store.remove_expired()
        if self._process is not None:
            self._attend(self._process)
            return
        if self._is_idle or self.store.now < self._retry_at:
            return
        self._is_idle = True  # a batch may be added from now on
        batch = next((each for each in reversed(self.store.list_batches()) if not is_finished(each)), None)
        if batch is None:
            return
        self._is_idle = False
        if self._has_expired(batch) or batch["status"] == "cancelling":
            self._complete(batch, "expired" if self._has_expired(batch) else "cancelled")
        elif batch["status"] == "validating":
            self._validate(batch)
        else:
            self._start(batch)

    def _has_expired(self, batch: ApiObject) -> bool:
        return bool(batch["expires_at"] <= self.store.now)

    def _validate(self, batch: ApiObject) -> None:
        try:
            total, model = check_input(self.store.requests_path(batch["id"]), batch["endpoint"])
        except _InputError as problem:
            self._fail(batch, problem.errors)
            return
        counts = {**batch["request_counts"], "total": total}
        self.store.update_batch(
            batch["id"], unless=("cancelling",), status="in_progress", model=model, request_counts=counts
        )

    def _start(self, batch: ApiObject) -> None:
        batch_id = batch["id"]
        try:
            self._process = self._runner.start(
                self.store.requests_path(batch_id), self.store.answers_path(batch_id), batch["model"]
            )
        except LlmError as error:
            found = dump_exception(error)[1]["error"]
            self._fail(batch, [_dump_error(found["code"] or "internal_error", found["message"], param=found["param"])])
            return
        self._batch_id, self._is_finishing = batch_id, False

    def _attend(self, process: BatchProcess) -> None:
        """Follow the process of a batch, and complete the batch when it has ended."""
        batch = self.store.find_batch(self._batch_id)
        assert batch is not None
        expired, cancelled = self._has_expired(batch), batch["status"] == "cancelling"
        code = process.poll()
        if code is None:
            if (expired or cancelled) and not self._is_finishing:
                self._is_finishing = True
                process.finish()
            completed, failed = process.count()
            counts = {**batch["request_counts"], "completed": completed, "failed": failed}
            if counts != batch["request_counts"]:
                self.store.update_batch(batch["id"], request_counts=counts)
            return
        self._process = None
        if code in {0, PartialError.exit_code}:
            self._complete(batch, "completed")
        elif expired or cancelled:
            self._complete(batch, "expired" if expired else "cancelled")
        elif code == TemporaryFailure.exit_code:
            self._retry_at = self.store.now + _RETRY_S
        elif code < 0 and self._kills.count(batch["id"], sum(process.count())) < _MAX_KILLS:
            self._write_line(f"batches: {batch['id']}: {process.failure()}: it is started again")
            self._retry_at = self.store.now + _RETRY_S
        else:
            self._complete(batch, "failed", [_dump_error("internal_error", process.failure())])

    # ---- ends -----------------------------------------------------------------------------------------------------

    def _fail(self, batch: ApiObject, errors: list[ApiObject]) -> None:
        self.store.update_batch(batch["id"], status="failed", errors=_dump_errors(errors))
        self.store.remove_work(batch["id"])

    def _complete(self, batch: ApiObject, status: str, errors: list[ApiObject] | None = None) -> None:
        """Make the files of the answers and of the errors, and give the batch its last status."""
        batch_id = batch["id"]
        if status == "completed":
            self.store.update_batch(batch_id, status="finalizing")
        counts = {"total": batch["request_counts"]["total"], "completed": 0, "failed": 0}
        files: dict[str, Upload] = {}
        with ExitStack() as stack:
            for line, succeeded in self._result_lines(batch_id, is_expired=status == "expired"):
                counts["completed" if succeeded else "failed"] += 1
                name = "output" if succeeded else "error"
                if name not in files:
                    files[name] = stack.enter_context(self.store.open_upload())
                files[name].file.write(line)
            ids = {
                f"{name}_file_id": self.store.add_file(upload, f"{batch_id}_{name}.jsonl", "batch_output")["id"]
                for name, upload in files.items()
            }
        more: dict[str, Any] = {} if errors is None else {"errors": _dump_errors(errors)}
        self.store.update_batch(batch_id, status=status, request_counts=counts, **ids, **more)
        self.store.remove_work(batch_id)

    def _result_lines(self, batch_id: str, *, is_expired: bool) -> Iterator[tuple[bytes, bool]]:
        """Yield the lines of answers, and whether each is a success; of an expired batch, one for each request."""
        answers = self.store.answers_path(batch_id)
        count = 0
        for path in (answers, answers.with_name(f"{answers.name}.partial")):
            if path.exists():
                with path.open("rb") as file:
                    for line in file:
                        if line.endswith(b"\n"):  # else it was cut by a kill
                            count += 1
                            yield line, batches.is_batch_success(json.loads(line))
                break
        if is_expired:
            with self.store.requests_path(batch_id).open("rb") as file:
                for number, line in enumerate(each for each in file if each.strip()):
                    if number >= count:
                        yield _expired_line(line), False


class _Kills:
    """Kills of the process of one batch since it last made progress."""

    def __init__(self) -> None:
        self._batch_id, self._num_done, self._count = "", 0, 0

    def count(self, batch_id: str, num_done: int) -> int:
        """Count a kill after ``num_done`` answered requests; return how many there were without progress."""
        if batch_id == self._batch_id and num_done <= self._num_done:
            self._count += 1
        else:
            self._batch_id, self._num_done, self._count = batch_id, num_done, 1
        return self._count


def _expired_line(request: bytes) -> bytes:
    custom_id: str | None = None
    with suppress(ValueError, BadBatchRequest):  # the batch may expire before its input was checked
        custom_id = batches.parse_batch_request(json.loads(request)).custom_id
    words = "this request could not be executed before the completion window expired"
    return json.dumps(batches.dump_batch_error(custom_id, "batch_expired", words)).encode() + b"\n"


# ---- the input ----------------------------------------------------------------------------------------------------


def check_input(path: Path, endpoint: str) -> tuple[int, str | None]:
    """Return the number of requests of an input, and the model that all of them name. Raises ``_InputError``."""
    errors: list[ApiObject] = []
    requests = _InputRequests(endpoint)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                requests.add(line)
            except BadBatchRequest as error:
                errors.append(_dump_error(error.code, error.detail, param=error.param, line=number))
                if len(errors) == _MAX_ERRORS or error.code == _TOO_MANY:
                    break
    if not (errors or requests.ids):
        errors.append(_dump_error("empty_file", "the input has no requests"))
    if errors:
        raise _InputError(errors)
    return len(requests.ids), requests.models.pop()


class _InputRequests:
    """The ids and models of the requests of an input so far."""

    def __init__(self, endpoint: str) -> None:
        self.ids: set[str] = set()
        self.models: set[str | None] = set()
        self._endpoint = endpoint

    def add(self, line: bytes) -> None:
        """Add the request of a line. Raises ``BadBatchRequest``."""
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            raise BadBatchRequest(detail="the line is not valid JSON", code="invalid_json_line") from None
        request = batches.parse_batch_request(fields)
        if request.url != self._endpoint:
            words = f"url is {request.url}, and the endpoint of the batch {self._endpoint}"
            raise BadBatchRequest(detail=words, code="invalid_url", param="url")
        if request.custom_id in self.ids:
            raise batches.doubled_id_error()
        if len(self.ids) == MAX_REQUESTS:
            raise BadBatchRequest(detail=f"a batch has at most {MAX_REQUESTS} requests", code=_TOO_MANY)
        self.ids.add(request.custom_id)
        self.models.add(request.model)
        if len(self.models) > 1:
            words = "the requests of a batch name one model"
            raise BadBatchRequest(detail=words, code="mismatched_model", param="body.model")


def _dump_error(code: str, message: str, *, param: str | None = None, line: int | None = None) -> ApiObject:
    return {"code": code, "message": message, "param": param, "line": line}


def _dump_errors(errors: list[ApiObject]) -> ApiObject:
    return {"object": "list", "data": errors}
