"""Requests to a server: temporary failures are retried, and fields that the server refuses are left out.

Servers of one protocol differ in the fields and paths they support. A field that improves an answer, but is not
essential, is left out once the server refused it, and so is a request to a path that is not essential. Refused fields
are kept in the cache for the next command.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from llmcli.backends.remote.answering_model import AnsweringModelCheck
from llmcli.backends.remote.protocols.answer_parser import AnswerParser
from llmcli.backends.remote.protocols.wire_protocol import ProtocolRequest, WireProtocol, clean_json, find_refused_field
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.http_client import HttpClient, HttpResponse
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.backends.remote.transport.retries import ConcurrencyLimiter, Retrier
from llmcli.errors import RemoteError, TemporaryFailure
from llmcli.errors.network_errors import BadRequest, ServerStalled
from llmcli.files import private_files
from llmcli.network.retry_policy import RetryPolicy
from llmcli.types import Event, Finished, Request, TextDelta

_MAX_AGE_S = 7 * 86_400
"""Seconds after which a server may support more fields."""


class ServerCapabilities:
    """The capabilities of ``model`` at ``base_url``; stored below ``cache``, None to store nothing."""

    def __init__(self, base_url: str, model: str, cache: Path | None, *, protocol: str) -> None:
        key = f"{base_url}\n{model}" if protocol == "openai" else f"{protocol}\n{base_url}\n{model}"
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        self._path = None if cache is None else cache / "servers" / f"{name}.json"
        self._lock = threading.Lock()
        self._has_unsaved_paths = False
        self.refused_fields = self._load_refused()
        """Fields that the server refuses, and paths, which begin with a slash."""

    def add_refused_field(self, field: str) -> None:
        """Leave ``field`` out from now on."""
        with self._lock:
            if field not in self.refused_fields:
                self.refused_fields = self.refused_fields | {field}
                self._save_refused()

    def add_refused_path(self, path: str) -> None:
        """Do without ``path`` from now on; the next command does too if the server answers in this one."""
        with self._lock:
            self.refused_fields = self.refused_fields | {path}
            self._has_unsaved_paths = True

    def record_answer(self) -> None:
        """Record that the server answers: the paths that it refused are missing, and not the server."""
        with self._lock:
            if self._has_unsaved_paths:
                self._has_unsaved_paths = False
                self._save_refused()

    def _load_refused(self) -> frozenset[str]:
        if self._path is None:
            return frozenset()
        try:
            kept = json.loads(self._path.read_bytes())
            fresh = 0 <= time.time() - kept["time"] < _MAX_AGE_S
            return frozenset(str(name) for name in kept["refused"]) if fresh else frozenset()
        except (OSError, ValueError, KeyError, TypeError):  # an unreadable file is built again
            return frozenset()

    def _save_refused(self) -> None:
        if self._path is None:
            return
        with suppress(OSError):  # the next command finds out again
            kept = {"time": time.time(), "refused": sorted(self.refused_fields)}
            private_files.replace_file(self._path, json.dumps(kept).encode())


_LINE_END = re.compile(r"\r\n|\r|\n")


class EventTooLong(Exception):
    """A line, or the data of an event, exceeds the limit."""


class EventStream:
    """Takes bytes as they arrive and yields the data of each complete event; ``max_chars``: its longest.

    An event without a blank line after it when the stream ends is discarded, as the standard says.
    """

    def __init__(self, max_chars: int = 1 << 20) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        self._max_chars = max_chars
        self._partial_line = ""
        self._data: list[str] = []
        self._data_chars = 0
        self._at_start = True

    def feed(self, block: bytes) -> Iterator[str]:
        """Yield the data of the events that ``block`` completes. Raises ``EventTooLong``, and ``UnicodeDecodeError``.

        The standard reads bytes that are not UTF-8 as U+FFFD, which would silently be a wrong answer.
        """
        text = self._partial_line + self._decode(block)
        if self._at_start and text:
            text, self._at_start = text.removeprefix("\ufeff"), False
        start = 0
        for end in _LINE_END.finditer(text):
            if end.group() == "\r" and end.end() == len(text):
                break  # a line feed may follow in the next block
            data = self._parse_line(text[start : end.start()])
            start = end.end()
            if data is not None:
                yield data
        self._partial_line = text[start:]
        if len(self._partial_line) > self._max_chars:
            raise EventTooLong

    def _parse_line(self, line: str) -> str | None:
        """Process one line; return the data of the event that it ends, or None."""
        if not line:
            data, self._data, self._data_chars = self._data, [], 0
            return "\n".join(data) if data else None
        name, _, value = line.partition(":")
        if name == "data":
            value = value.removeprefix(" ")
            self._data.append(value)
            self._data_chars += len(value)
            if self._data_chars > self._max_chars:
                raise EventTooLong
        return None  # a comment, or a field that says nothing about answers: event, id, retry


_MAX_FIELDS_LEFT_OUT = 32
"""Fields that one request may lose; no protocol has so many that are optional."""
_MAX_CHUNK_BYTES = 4096
"""Bytes that a chunk for one token may take, on average: with twenty alternatives it is about three quarters of
that."""
_EXTRA_CHUNKS = 1024
"""Chunks beyond one per token: keep-alives, the first and the last."""
_UNLIMITED_ANSWER_TOKENS = 1 << 17
"""Assumed length in tokens of an answer without a limit."""

T = TypeVar("T")


class ChatClient:
    """Sends requests for one model to one server, in its protocol. Safe to use from several threads."""

    def __init__(self, client: HttpClient, key: ApiKey, retry_policy: RetryPolicy, protocol: WireProtocol) -> None:
        self.http_client = client
        self.protocol = protocol
        self.server = client.server
        self.model_check = AnsweringModelCheck(client.server, key)
        self.limiter = ConcurrencyLimiter(self.server.concurrency, retry_policy.max_pause_s)
        self._retrier = Retrier(self.limiter, retry_policy)
        self._key = key

    def with_supported_fields(
        self,
        call: RemoteCall,
        capabilities: ServerCapabilities,
        make: Callable[[], ProtocolRequest],
        send: Callable[[ProtocolRequest], T],
    ) -> T:
        """Call ``send`` with the request that ``make`` returns, and again without a field that the server refuses.

        ``make`` leaves out the refused fields of ``capabilities``.
        """
        for _ in range(_MAX_FIELDS_LEFT_OUT):
            made = make()
            try:
                return self._retrier.run(call, lambda made=made: send(made))  # type: ignore[misc]  # mypy cannot infer the type of a lambda's default
            except BadRequest as refused:
                field = None if call.delivered else find_refused_field(refused, made.optional)
                if field is None:
                    raise
                capabilities.add_refused_field(field.name)
        raise AssertionError("each round leaves out one field more")

    # ---- asking ---------------------------------------------------------------------------------------------------

    def get_json(self, call: RemoteCall, path: str, *, root: bool = False) -> Any:
        """Return the JSON object at ``path``. Raises as ``HttpClient.open_response``."""
        return clean_json(self._retrier.run(call, lambda: self.http_client.request_json(call, "GET", path, root=root)))

    def post_json(self, call: RemoteCall, path: str, body: Mapping[str, Any], *, model: str, root: bool = False) -> Any:
        """Post a body; return the JSON object of the response. Raises as ``HttpClient.open_response``."""
        answer = self._retrier.run(
            call, lambda: self.http_client.request_json(call, "POST", path, body, root=root, model=model)
        )
        self.model_check.check(call, model, answer.get("model"))
        return answer

    def stream_events(
        self,
        call: RemoteCall,
        request: Request,
        capabilities: ServerCapabilities,
        model: str,
        put: Callable[[Event], None],
    ) -> Finished:
        """Pass the pieces of an answer to ``put`` as they arrive and return its end.

        Raises as ``HttpClient.open_response``; ``TemporaryFailure`` also for an answer that broke off after a piece of
        it was passed on.
        """
        return self.with_supported_fields(
            call,
            capabilities,
            lambda: self.protocol.build_request(request, model, capabilities.refused_fields),
            lambda made: self._send_once(call, request, made, put),
        )

    def collect_events(
        self,
        call: RemoteCall,
        request: Request,
        capabilities: ServerCapabilities,
        build: Callable[[], ProtocolRequest],
    ) -> tuple[list[Event], Finished]:
        """Send what ``build`` returns for a request; return the events of the whole answer and its end.

        A retry is possible at any time, as nothing is delivered.
        """
        events: list[Event] = []

        def send(made: ProtocolRequest) -> Finished:
            events.clear()
            return self._send_once(call, request, made, events.append, quiet=True)

        finished = self.with_supported_fields(call, capabilities, build, send)
        return events, finished

    def _send_once(
        self,
        call: RemoteCall,
        request: Request,
        made: ProtocolRequest,
        put: Callable[[Event], None],
        *,
        quiet: bool = False,
    ) -> Finished:
        """Send a request once; ``quiet``: pieces passed to ``put`` do not count as delivered."""
        reader = self.protocol.make_parser(request, self.server, self._key)
        is_first = True

        def hand_on(event: Event) -> None:
            nonlocal is_first
            if is_first:  # a warning comes before the text
                is_first = False
                self.model_check.check(call, made.model, reader.model)
            call.delivered = call.delivered or not quiet
            put(event)

        try:
            self._receive_events(call, request, made, reader, hand_on)
        except TemporaryFailure as error:
            if not reader.num_characters:
                raise
            kind = ServerStalled if isinstance(error, ServerStalled) else TemporaryFailure
            raise kind(self.server.label, detail=f"its answer broke off ({error.detail})") from error
        try:
            *pieces, finished = reader.finish()
        finally:
            call.settle(reader.usage)
        self.model_check.check(call, made.model, reader.model)
        for event in pieces:
            hand_on(event)
        assert isinstance(finished, Finished)
        return finished

    def _receive_events(
        self,
        call: RemoteCall,
        request: Request,
        made: ProtocolRequest,
        reader: AnswerParser,
        hand_on: Callable[[Event], None],
    ) -> None:
        """Send a request and pass on the pieces of its answer."""
        with self.http_client.open_response(call, "POST", made.path, made.body, model=made.model) as answer:
            if answer.content_type == "text/event-stream":
                self._read_stream(
                    call, answer, reader, (request.max_tokens or _UNLIMITED_ANSWER_TOKENS) + _EXTRA_CHUNKS, hand_on
                )
            elif answer.content_type == "application/json":  # a server that does not stream
                for event in reader.parse_response(self.http_client.parse_json(answer, answer.read_all())):
                    hand_on(event)
            else:
                kind = (
                    "a web page" if answer.content_type == "text/html" else f"an answer of type {answer.content_type}"
                )
                raise RemoteError(self.server.label, detail=f"it sent {kind} instead of an answer")

    def _read_stream(
        self, call: RemoteCall, answer: HttpResponse, reader: AnswerParser, chunks: int, put: Callable[[Event], None]
    ) -> None:
        stream, size, heard = EventStream(), 0, time.monotonic()
        for block in answer.iter_blocks():
            call.check()
            size += len(block)
            if size > chunks * _MAX_CHUNK_BYTES:
                raise RemoteError(self.server.label, detail=f"its answer does not end ({size:,} bytes so far)")
            known = reader.num_characters
            self._parse_block(stream, block, reader, put)
            if reader.is_done:
                if not reader.stopped_early:
                    answer.drain_end()
                return
            if reader.num_characters > known:
                heard = time.monotonic()
            if time.monotonic() - heard > self.server.timeout:
                raise ServerStalled(self.server.label, detail=f"it sent nothing for {self.server.timeout:g} seconds")

    def _parse_block(
        self, stream: EventStream, block: bytes, reader: AnswerParser, put: Callable[[Event], None]
    ) -> None:
        """Pass on the events that are complete with ``block``."""
        try:
            for data in stream.feed(block):
                for event in reader.parse_data(data):
                    put(event)
                if reader.is_done:
                    return
        except EventTooLong as error:
            raise RemoteError(self.server.label, detail="an event of its stream is too long") from error
        except UnicodeDecodeError as error:
            raise RemoteError(self.server.label, detail="its answer is not UTF-8") from error


def join_text(events: Iterable[Event]) -> str:
    """Return the text of an answer."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))
